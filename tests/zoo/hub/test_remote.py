"""The list of what can be fetched, as it is shipped."""

import re
from pathlib import Path

import pytest

from zoo.errors import UserError
from zoo.hub.remote import REMOTE, find_remote, list_remote, recognise
from zoo.importing import ARCH


@pytest.mark.parametrize("entry", list_remote(), ids=lambda entry: entry.name)
def test_every_entry_is_complete(entry) -> None:
    if entry.source.commit:
        assert re.fullmatch(r"[0-9a-f]{40}", entry.source.commit)
        assert entry.url.startswith(f"{entry.source.home}/raw/{entry.source.commit}/")
    else:
        # Nothing but the digest holds such an address to one file.
        assert entry.digest.algorithm == "sha256"
        assert entry.url == f"{entry.source.home}/{entry.path}"
    assert entry.url.startswith("https://")
    assert entry.url.endswith(entry.path)
    assert entry.source.licence
    assert entry.notes
    assert entry.kind in ("checkpoint", "network", "file")
    assert bool(entry.pixels) == (entry.kind == "network")
    if entry.kind == "checkpoint":
        assert entry.name.partition(".")[0] == ARCH
        assert entry.path.endswith(".pth.tar")
    for part in (
        entry.path,
        entry.source.home,
        entry.source.commit,
        entry.digest.value,
        f"zoo fetch {entry.name}",
    ):
        assert part in entry.manual_steps()


def test_each_host_is_named_once() -> None:
    text = REMOTE.read_text(encoding="utf-8")
    assert all(text.count(home) == 1 for home in {entry.source.home for entry in list_remote()})


def test_no_two_entries_are_the_same_file() -> None:
    entries = list_remote()
    assert len({entry.digest for entry in entries}) == len({entry.url for entry in entries}) == len(entries)


def test_an_address_is_built_from_repository_commit_and_path() -> None:
    assert find_remote("densenet121.pamtri-veri-multitask").url == (
        "https://github.com/NVlabs/PAMTRI/raw/25564bbebd3ccf11d853a345522e2d8c221b275d/"
        "MultiTaskNet/models/densenet121-xent-htri-veri-multitask/model_best.pth.tar"
    )


def test_unknown_names() -> None:
    with pytest.raises(UserError, match=r"did you mean .*densenet121\.pamtri-veri-multitask"):
        find_remote("densenet121.pamtri-veri-multitsk")
    with pytest.raises(UserError, match=r"^x: nothing of that name can be fetched; known are "):
        find_remote("x")


def test_other_files_are_not_recognised(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"other")
    assert recognise(path) is None
    with pytest.raises(UserError, match="cannot be read"):
        recognise(tmp_path / "absent")


def test_the_published_files_are_the_ones_meant() -> None:
    """Path -> git blob id at the pinned commit, written down a second time: a slip in either place shows."""
    models, labels = "MultiTaskNet/models/densenet121-xent-htri", "MultiTaskNet/data/veri/label"
    published = {
        f"{models}-veri-multitask/model_best.pth.tar": "ded6a323480ede987a6950f7c3e2e79360330743",
        f"{models}-veri-heatmapaware/model_best.pth.tar": "07cea28f5b708b4e2d6a8a77cbad5bcc25be8607",
        f"{models}-cityflow-multitask/model_best.pth.tar": "fb368a1c622023c60bec3358d13e8a16b327a633",
        f"{models}-cityflow-heatmapaware/model_best.pth.tar": "11a0fca7f1df7974545eebabf20c58cec4ff623a",
        f"{labels}_train.csv": "72a95e7f4f7041b70d0e0642cfec2e5a30af9316",
        f"{labels}_query.csv": "9f086f27dd1d940dcc5a5f547fe656af9e74c707",
        f"{labels}_test.csv": "bfc30324a5515b19afbfa2c56500e2f693b6a7b2",
    }
    entries = [entry for entry in list_remote() if "PAMTRI" in entry.source.home]
    assert {entry.path: entry.digest.value for entry in entries} == published
    assert {entry.digest.algorithm for entry in entries} == {"git"}
    assert {entry.source.commit for entry in entries} == {"25564bbebd3ccf11d853a345522e2d8c221b275d"}
    assert all(entry.source.non_commercial for entry in entries)
