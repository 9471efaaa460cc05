"""Images that are old, or gone where they came from, leave a gallery for good."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from retrieval.galleries import open_gallery
from retrieval.gallery.entries import Entry
from retrieval.ingest import main as ingest
from retrieval.maintenance import main
from retrieval.sources.source import file_of
from tests.retrieval.test_maintenance import DIMENSION, MODEL, PICTURE

HOUR = 3600.0
MAY = 1777593600.0
"""2026-05-01, UTC."""


def prune(*arguments: object, code: int = 0) -> None:
    assert main(["prune", *map(str, arguments)]) == code


def dated(folder: Path) -> Path:
    times = [MAY - 2 * HOUR, MAY - HOUR / 2, MAY, MAY + 1, None]
    with open_gallery(folder, model=MODEL, writable=True) as gallery:
        gallery.add(
            Entry(
                f"secret-{n}",
                np.full(DIMENSION, 1000 + n, np.float32),
                picture=PICTURE,
                source=f"/somewhere/{n}.jpg",
                time=time,
            )
            for n, time in enumerate(times)
        )
    return folder


def test_old_images_go_with_their_traces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = dated(tmp_path / "g")
    prune("--gallery", folder, code=2)
    prune("--gallery", folder, "--older-than", "2026-05-01", "--dry-run")
    assert "2 of 5 images would go: 2 old, 0 missing (secret-0, secret-1); 1 have no time and stay" in (
        capsys.readouterr().out
    )
    prune("--gallery", folder, "--older-than", "2026-05-01", "--zone", "Europe/Berlin", "--json")
    content = json.loads(capsys.readouterr().out)
    # There, May begins two hours earlier; what is of that very moment stays.
    assert (content["old"], content["removed"], content["size"]) == ([], 0, 5)
    prune("--gallery", folder, "--older-than", "2026-05-01")
    with open_gallery(folder) as gallery:
        assert sorted(gallery.sample_keys(9)) == ["secret-2", "secret-3", "secret-4"]
    assert main(["check", "--gallery", str(folder)]) == 0
    bytes_of_all = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"secret-2" in bytes_of_all
    assert b"secret-1" not in bytes_of_all
    assert np.full(DIMENSION, 1001, np.float32).tobytes() not in bytes_of_all
    with open_gallery(folder, writable=True):
        prune("--gallery", folder, "--older-than", "2026-05-02", code=2)
    assert "is writing to this gallery" in capsys.readouterr().err


def test_what_is_gone_from_its_folder_goes(
    tmp_path: Path, images: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, data = tmp_path / "g", tmp_path / "cars at gate"
    shutil.copytree(images / "image_test", data)
    assert ingest(["--images", str(data), "--gallery", str(folder), "--encoder", str(bundle)]) == 0
    with open_gallery(folder, writable=True) as gallery:
        there = gallery.get(gallery.sample_keys(1)[0])
        assert there is not None
        gallery.add([Entry("posted", there.embedding, there.color_probs, there.type_probs)])
    gone = sorted(data.iterdir())[:3]
    for path in gone:
        path.unlink()
    prune("--gallery", folder, "--missing-from", data, "--json")
    content = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert content["missing"] == [path.name for path in gone]
    assert (content["elsewhere"], content["size"]) == (1, 22)
    # An empty folder is a disk that is not mounted, another one a mistake: nothing goes.
    prune("--gallery", folder, "--missing-from", tmp_path, "--dry-run")
    prune("--gallery", folder, "--missing-from", images, code=2)
    assert "no image of" in capsys.readouterr().err
    data.rename(tmp_path / "away")
    prune("--gallery", folder, "--missing-from", data, code=2)
    data.mkdir()
    prune("--gallery", folder, "--missing-from", data, code=2)
    assert "has none of the 21 files" in capsys.readouterr().err
    assert len(open_gallery(folder)) == 22


@pytest.mark.parametrize(
    "origin",
    ["/a at b/c.jpg", "/a at b/c.jpg at 1,2.5,30,40", "/a at b/c.jpg at 3.000 s",
     "/a at b/c.jpg at 3.000 s, the best of 12 boxes"],
)  # fmt: skip
def test_the_file_of_an_origin(origin: str) -> None:
    assert file_of(origin) == "/a at b/c.jpg"
