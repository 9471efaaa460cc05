"""The list of what can be fetched, as it is shipped."""

import re
from pathlib import Path

import pytest

from zoo.errors import UserError
from zoo.importing import ARCH
from zoo.remote import REMOTE, find_remote, list_remote, recognise


@pytest.mark.parametrize("entry", list_remote(), ids=lambda entry: entry.name)
def test_every_entry_is_complete(entry) -> None:
    assert re.fullmatch(r"[0-9a-f]{40}", entry.source.commit)
    assert entry.url.startswith(f"{entry.source.home}/raw/{entry.source.commit}/")
    assert entry.url.startswith("https://")
    assert entry.url.endswith(entry.path)
    assert entry.source.licence
    assert entry.notes
    assert entry.kind in ("checkpoint", "file")
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


def test_the_host_is_named_once() -> None:
    assert REMOTE.read_text(encoding="utf-8").count("://") == 1


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
