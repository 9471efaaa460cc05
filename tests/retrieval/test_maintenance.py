"""`gallery check` on whole and damaged galleries, and galleries whose files are not where they were."""

import json
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrieval.galleries import open_gallery
from retrieval.gallery.entries import Entry, GalleryModel
from retrieval.local import checksums, locks
from retrieval.local.index_policy import IndexPolicy
from retrieval.local.table import NO_ID
from retrieval.maintenance import main
from retrieval.sources.source import display_jpeg
from retrieval.transfer import main as transfer
from zoo.card import Card
from zoo.errors import UserError

DIMENSION = 8
MODEL = GalleryModel(Card("tiny.one", (32, 32), {"embedding": DIMENSION}), "hash")
PICTURE = display_jpeg(np.zeros((8, 8, 3), np.uint8))
POLICY = IndexPolicy("exact", snapshot_rows=50)


def entries(count: int) -> list[Entry]:
    return [Entry(f"{n}", np.full(DIMENSION, n or 0.5, np.float32), picture=PICTURE) for n in range(count)]


def fill(folder: Path, count: int = 60) -> Path:
    with open_gallery(folder, model=MODEL, writable=True, policy=POLICY) as gallery:
        gallery.add(entries(count))
    return folder


def test_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fill(tmp_path / "g")
    assert main(["check", "--gallery", str(folder), "--json"]) == 0
    expected = {"images": 60, "damaged": [], "database": [], "derived": "whole", "removed": []}
    assert json.loads(capsys.readouterr().out) == expected
    (vectors,) = (folder / "derived").glob("vectors-*")
    vectors.write_bytes(bytes(vectors.stat().st_size))
    assert main(["check", "--gallery", str(folder)]) == 2
    assert "damaged: derived files; the same command with --repair" in capsys.readouterr().err
    assert main(["check", "--gallery", str(folder), "--repair"]) == 0
    assert main(["check", "--gallery", str(tmp_path / "absent"), "--repair"]) == 2
    assert not (tmp_path / "absent").exists()


def test_check_compares_the_table_with_the_database(tmp_path: Path) -> None:
    folder = fill(tmp_path / "g")
    manifest = json.loads((folder / "derived" / "current.json").read_text())
    table = folder / "derived" / manifest["table"]
    with np.load(table) as arrays:
        changed = dict(arrays)
    assert "camera" not in changed  # no image has one
    changed["camera"] = np.full(len(changed["ids"]), NO_ID)
    changed["camera"][7] = 3
    np.savez(table, **changed)
    manifest["table_checksum"] = checksums.of_file(table)
    del manifest["checksum"]
    manifest["checksum"] = checksums.of_values(json.dumps(manifest, sort_keys=True))
    (folder / "derived" / "current.json").write_text(json.dumps(manifest))
    # Every checksum is right: only who compares with the database sees it.
    assert main(["check", "--gallery", str(folder)]) == 2
    assert main(["check", "--gallery", str(folder), "--repair"]) == 0
    with open_gallery(folder, writable=True, policy=POLICY) as gallery:
        gallery.remove(["3"])
        gallery.add(entries(62))
    assert main(["check", "--gallery", str(folder)]) == 0


def test_check_decodes_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fill(tmp_path / "g")
    with open_gallery(folder, writable=True, policy=POLICY) as gallery:
        gallery.add([replace(entries(8)[7], picture=PICTURE[:-60]), replace(entries(9)[8], picture=b"")])
    assert main(["check", "--gallery", str(folder)]) == 2
    assert "1 images (7)" in capsys.readouterr().err
    assert main(["check", "--gallery", str(folder), "--repair"]) == 0


def test_a_damaged_image_is_refused_and_taken_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fill(tmp_path / "g")
    shutil.rmtree(folder / "derived")
    database = sqlite3.connect(folder / "gallery.sqlite")
    with database:
        database.execute("UPDATE images SET embedding = zeroblob(32) WHERE key = '7'")
    database.close()
    with pytest.raises(UserError, match=r"the image '7' is not as it was written.*check --repair") as refusal:
        open_gallery(folder)
    assert main(["check", "--gallery", str(folder)]) == 2
    assert "1 images (7)" in capsys.readouterr().err
    # The cure that the message names is a command.
    command = str(refusal.value).split("`")[1].split()
    cured = subprocess.run([sys.executable, *command[1:]], capture_output=True, text=True, check=False)
    assert cured.returncode == 0, cured.stderr
    assert "ingest them again: 7" in cured.stdout
    with open_gallery(folder, writable=True) as gallery:
        assert len(gallery) == 59
        gallery.add(entries(60))
        assert len(gallery) == 60


@pytest.mark.parametrize("writable", [True, False])
def test_files_that_were_replaced_are_no_longer_served(tmp_path: Path, writable: bool) -> None:
    folder = fill(tmp_path / "g")
    other = fill(tmp_path / "other", 5)
    with open_gallery(folder, writable=writable, policy=POLICY) as gallery:
        assert len(gallery) == 60
        folder.rename(tmp_path / "away")
        questions = [lambda: len(gallery), lambda: gallery.search(np.ones(DIMENSION, np.float32), 1)]
        if writable:
            questions += [lambda: gallery.add(entries(61)), lambda: gallery.remove(["3"])]
        for question in questions:
            with pytest.raises(UserError, match="deleted or replaced"):
                question()
        shutil.copytree(other, folder)
        for question in questions:
            with pytest.raises(UserError, match="deleted or replaced"):
                question()
        shutil.rmtree(folder)
        (tmp_path / "away").rename(folder)
        assert len(gallery) == 60


def test_a_writer_whose_lock_is_gone_writes_no_more(tmp_path: Path) -> None:
    folder = fill(tmp_path / "g")
    with open_gallery(folder, writable=True, policy=POLICY) as gallery:
        (folder / "writer.lock").unlink()
        with open_gallery(folder, writable=True, policy=POLICY) as second:
            assert second.add(entries(61)) == 1
            with pytest.raises(UserError, match=r"writer\.lock: has been deleted or replaced"):
                gallery.add(entries(62))


def test_a_folder_that_cannot_be_written_to_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path / "g")
    # Root may write everywhere; what SQLite is told is the same.
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with open_gallery(folder) as gallery:
        assert gallery.search(np.full(DIMENSION, 9, np.float32), 1)[0].key == "9"
        assert {path.name for path in folder.iterdir()} == {"gallery.sqlite", "writer.lock", "derived"}
        monkeypatch.undo()
        fill(folder, 70)
        monkeypatch.setattr("os.access", lambda path, mode: False)
        assert len(gallery) == 70


def test_a_file_system_without_locks_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: object, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with pytest.raises(UserError, match=r"gives no locks \(No locks available\)"):
        open_gallery(tmp_path / "g", model=MODEL, writable=True)


def test_snapshots_go_on_when_derived_files_are_taken_away(tmp_path: Path) -> None:
    folder = fill(tmp_path / "g")
    with open_gallery(folder, writable=True, policy=POLICY) as gallery:
        shutil.rmtree(folder / "derived")
        gallery.add(entries(120))
    assert main(["check", "--gallery", str(folder)]) == 0
    with open_gallery(folder, policy=POLICY) as gallery:
        assert gallery.search(np.full(DIMENSION, 9, np.float32), 1)[0].key == "9"


def test_a_gallery_is_not_copied_onto_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """However its place is spelled."""
    folder = fill(tmp_path / "g", 3)
    (tmp_path / "link").symlink_to(folder)
    for other in (tmp_path / "x" / ".." / "g", tmp_path / "link"):
        assert transfer(["--from", str(folder), "--to", str(other)]) == 2
        assert main(["reembed", "--gallery", str(folder), "--to", str(other)]) == 2
        assert capsys.readouterr().err.count("is the gallery to") == 2
