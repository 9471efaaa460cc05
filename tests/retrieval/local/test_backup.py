"""Backups of galleries that are written to meanwhile, and restoring them, killed at any instant."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from retrieval.cases.case import Case, new_id
from retrieval.cases.store import CaseStore
from retrieval.galleries import open_gallery
from retrieval.gallery.base import CASES_FOLDER, LINKS_FILE
from retrieval.gallery.entries import Entry
from retrieval.journeys.store import LinkStore
from retrieval.local import backup as backups
from retrieval.local.examination import examine
from retrieval.maintenance import main
from tests.retrieval.test_maintenance import DIMENSION, MODEL, PICTURE, POLICY, fill
from zoo.errors import UserError

ADDED_AT_ONCE = 7


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_a_backup_of_a_gallery_that_is_written_to(tmp_path: Path) -> None:
    folder, copy = tmp_path / "g", tmp_path / "backups" / "monday"
    fill(folder, 2000)
    stop, sizes = threading.Event(), []

    def write() -> None:
        with open_gallery(folder, writable=True, policy=POLICY) as gallery:
            while not stop.is_set():
                first = len(gallery)
                numbers = range(first, first + ADDED_AT_ONCE)
                gallery.add(
                    [Entry(f"{n}", np.full(DIMENSION, n + 1, np.float32), picture=PICTURE) for n in numbers]
                )
                sizes.append(len(gallery))

    writer = threading.Thread(target=write)
    writer.start()
    while not sizes:
        time.sleep(0.001)
    before = sizes[-1]
    made = backups.back_up(folder, copy)
    after = sizes[-1]
    stop.set()
    writer.join()
    assert after > before, "nothing was written meanwhile"
    # Whole commits, and none that came later.
    assert before <= made.images <= after + ADDED_AT_ONCE
    assert (made.images - 2000) % ADDED_AT_ONCE == 0
    assert sorted(path.name for path in copy.iterdir()) == ["backup.json", "gallery.sqlite"]
    assert run("restore", "--from", copy, "--gallery", tmp_path / "r") == 0
    with open_gallery(tmp_path / "r") as restored, open_gallery(folder) as original:
        assert len(restored) == made.images
        numbers = [0, 1999, made.images - 1]
        keys = [str(number) for number in numbers]
        assert np.array_equal(restored.embeddings(keys), original.embeddings(keys))
        assert restored.pictures(keys) == original.pictures(keys)
    assert examine(tmp_path / "r").is_whole


def test_cases_come_along(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, copy, restored = tmp_path / "g", tmp_path / "copy", tmp_path / "r"
    fill(folder, 10)
    store = CaseStore(folder)
    kept, gone = (store.put(Case(new_id(), name), "ann") for name in ("red van", "bus"))
    assert run("backup", "--gallery", folder, "--to", copy) == 0
    store.delete(gone.id)
    assert run("restore", "--from", copy, "--gallery", restored) == 0
    assert {case.name for case in CaseStore(restored).list()[0]} == {"red van", "bus"}
    (copy / CASES_FOLDER / f"{kept.id}.json").write_text("{}")
    assert run("restore", "--from", copy, "--gallery", tmp_path / "again") == 2
    assert "is not what was written" in capsys.readouterr().err
    assert not (tmp_path / "again").exists()


def test_what_people_said_of_links_comes_along(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, copy, restored = tmp_path / "g", tmp_path / "copy", tmp_path / "r"
    fill(folder, 10)
    LinkStore(folder).mark("1", "2", "confirmed", "ann")
    assert run("backup", "--gallery", folder, "--to", copy) == 0
    LinkStore(folder).mark("1", "2", "cut")
    assert run("restore", "--from", copy, "--gallery", restored) == 0
    assert LinkStore(restored).link("1", "2").mark == "confirmed"
    (copy / LINKS_FILE).write_bytes(b"something else")
    assert run("restore", "--from", copy, "--gallery", tmp_path / "again") == 2
    assert f"{copy / LINKS_FILE}: is not what was written" in capsys.readouterr().err
    assert not (tmp_path / "again").exists()
    (folder / LINKS_FILE).write_bytes(b"damaged" * 1000)
    assert run("backup", "--gallery", folder, "--to", tmp_path / "none") == 2
    assert f"{folder / LINKS_FILE}: cannot be copied" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_restored_gallery_is_written_and_backed_up_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fill(tmp_path / "g")
    assert run("backup", "--gallery", folder, "--to", tmp_path / "b", "--json") == 0
    content = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (content["images"], content["model"]) == (60, "tiny.one")
    assert run("restore", "--from", tmp_path / "b", "--gallery", tmp_path / "r", "--json") == 0
    content = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert content == {"images": 60, "gallery": str(tmp_path / "r"), "replaced": None}
    fill(tmp_path / "r", 70)
    assert run("backup", "--gallery", tmp_path / "r", "--to", tmp_path / "c") == 0
    assert run("backup", "--gallery", tmp_path / "r", "--to", tmp_path / "c") == 2
    assert "c: is there already; name another folder" in capsys.readouterr().err


def test_a_gallery_makes_way_only_when_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, copy = fill(tmp_path / "g"), tmp_path / "b"
    assert run("backup", "--gallery", folder, "--to", copy) == 0
    fill(folder, 80)
    restore = ("restore", "--from", copy, "--gallery", folder)
    assert run(*restore) == 2
    assert (
        "is there already; name another folder, or let it make way with --replace" in capsys.readouterr().err
    )
    with open_gallery(folder, writable=True):
        assert run(*restore, "--replace") == 2
        assert "another process" in capsys.readouterr().err
    assert len(open_gallery(folder)) == 80
    assert run(*restore, "--replace") == 0
    with open_gallery(folder) as gallery, open_gallery(tmp_path / "g.replaced") as old:
        assert (len(gallery), len(old)) == (60, 80)
    assert run(*restore, "--replace") == 2
    assert "g.replaced: is there already" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").touch()
    assert run("restore", "--from", copy, "--gallery", tmp_path / "mine", "--replace") == 2
    assert "is no gallery" in capsys.readouterr().err
    assert not list(tmp_path.glob(".*"))


def test_where_folders_cannot_be_exchanged_they_are_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, copy = fill(tmp_path / "g"), tmp_path / "b"
    backups.back_up(folder, copy)
    fill(folder, 80)
    monkeypatch.setattr(backups.ctypes, "CDLL", lambda *_, **__: object())
    assert backups.restore(copy, folder, replace=True) == tmp_path / "g.replaced"
    assert len(open_gallery(folder)) == 60


def test_what_is_damaged_is_neither_backed_up_nor_restored(tmp_path: Path) -> None:
    folder, copy = fill(tmp_path / "g"), tmp_path / "b"
    backups.back_up(folder, copy)
    with open(copy / "gallery.sqlite", "r+b") as file:
        file.seek(9000)
        file.write(b"x")
    with pytest.raises(UserError, match="SHA-256 differs"):
        backups.restore(copy, tmp_path / "r")
    (copy / "gallery.sqlite").unlink()
    with pytest.raises(UserError, match="cannot be read"):
        backups.restore(copy, tmp_path / "r")
    (copy / "backup.json").write_text('{"format": 2}')
    with pytest.raises(UserError, match="update the program"):
        backups.restore(copy, tmp_path / "r")
    with pytest.raises(UserError, match="no backup there"):
        backups.restore(folder, tmp_path / "r")
    database = sqlite3.connect(folder / "gallery.sqlite")
    with database:
        database.execute("UPDATE images SET embedding = zeroblob(32) WHERE key = '7'")
    database.close()
    with pytest.raises(UserError, match=r"the image '7'.*check --repair"):
        backups.back_up(folder, tmp_path / "b2")
    assert {path.name for path in tmp_path.iterdir()} == {"g", "b"}


@pytest.mark.parametrize("kills", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_a_restore_that_is_killed(tmp_path: Path, kills: int) -> None:
    folder, copy, half = fill(tmp_path / "g", 3000), tmp_path / "b", tmp_path / ".g.new"
    backups.back_up(folder, copy)
    fill(folder, 3010)
    command = [sys.executable, "-m", "retrieval.maintenance", "restore", "--replace"]
    command += ["--from", str(copy), "--gallery", str(folder)]
    chance, killed = random.Random(3), 0
    for _ in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # From its first file on, at any instant.
        while process.poll() is None and not (half / "gallery.sqlite").exists():
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        is_done = (tmp_path / "g.replaced").exists()
        with open_gallery(folder) as gallery:
            assert len(gallery) in ((3000,) if is_done else (3010, 3000))
        assert examine(folder, decode=False).is_whole
        if is_done or not (half / ".unfinished").exists():
            break
        killed += 1
    assert killed, "every restore was quicker than its kill"
    if killed == kills:
        assert subprocess.run(command, check=False, capture_output=True).returncode == 0
        assert len(open_gallery(folder)) == 3000
        assert not half.exists()


def test_what_kills_leave_beside(tmp_path: Path) -> None:
    """Half of a copy, or a whole one, goes; a gallery that made way does not."""
    folder, half = fill(tmp_path / "g", 3), tmp_path / ".b.new"
    half.mkdir()
    backups.back_up(folder, tmp_path / "b")
    (tmp_path / "b").rename(half)
    (half / ".unfinished").touch()
    backups.back_up(folder, tmp_path / "b")
    assert not half.exists()
    assert not (tmp_path / "b" / ".unfinished").exists()
    folder.rename(tmp_path / ".g.new")
    with pytest.raises(UserError, match="the gallery that made way"):
        backups.restore(tmp_path / "b", folder)
    with open_gallery(tmp_path / ".g.new") as left:
        assert len(left) == 3


def test_milvus_has_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    for action in (["check"], ["backup", "--to", "b"], ["restore", "--from", "b"]):
        assert main([*action, "--gallery", "milvus:cars.db"]) == 2
        assert "--gallery milvus:cars.db: is in Milvus, which" in capsys.readouterr().err


def test_a_model_is_told(tmp_path: Path) -> None:
    made = backups.back_up(fill(tmp_path / "g"), tmp_path / "b")
    assert (made.model, made.model_hash) == (MODEL.card.name, MODEL.hash)
