"""A walk through a folder, and which source an image of the gallery is from."""

import json
import os
from pathlib import Path

import pytest

from retrieval.galleries import open_gallery
from retrieval.sources.folder import walk_images
from tests.retrieval.conftest import draw_vehicle
from tests.retrieval.test_ingest import run
from zoo.errors import UserError
from zoo.preprocess import ImageError, read_image


def save(path: Path, vehicle: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_vehicle(vehicle, 1, size=32).save(path, "PNG")


def keys_of(gallery: Path) -> list[str]:
    with open_gallery(gallery) as opened:
        return sorted(opened.sample_keys(100))


def test_what_is_passed_over_is_counted_and_listed(tmp_path: Path, bundle: Path, capsys) -> None:
    folder = tmp_path / "pictures"
    for name in ("a.jpg", "b.JFIF", "c.jpe", ".hidden.jpg", ".cache/d.jpg", "@eaDir/a.jpg", "x/Thumbs/a.jpg"):
        save(folder / name)
    for name in ("notes.txt", "more.txt", "phone.heic", "none"):
        (folder / name).write_text("no image")
    code, summary, stderr = run(capsys, "--images", folder, "--gallery", tmp_path / "g", "--encoder", bundle)
    assert (code, summary["added"]) == (0, 3)
    report = json.loads((tmp_path / "g" / "ingest-report.json").read_text(encoding="utf-8"))
    assert report["passed_over"] == {
        "folder of thumbnails": {"count": 2, "first": ["@eaDir", "x/Thumbs"]},
        "hidden": {"count": 2, "first": [".cache", ".hidden.jpg"]},
        "unknown ending (none)": {"count": 1, "first": ["none"]},
        "unknown ending .heic": {"count": 1, "first": ["phone.heic"]},
        "unknown ending .txt": {"count": 2, "first": ["more.txt", "notes.txt"]},
    }
    assert "passed over: 2 x unknown ending .txt, such as more.txt" in stderr


def test_links_are_followed_once(tmp_path: Path) -> None:
    folder, other = tmp_path / "pictures", tmp_path / "other"
    save(folder / "real" / "1.jpg")
    save(other / "2.jpg")
    # A link that comes first by name does not take the name of what is there itself.
    (folder / "again").symlink_to(folder / "real")
    (folder / "linked").symlink_to(other)
    (folder / "twice").symlink_to(other)
    (other / "circle").symlink_to(folder)
    (folder / "self").symlink_to(folder)
    (folder / "above").symlink_to("/")
    walk = walk_images(folder)
    assert [file.key for file in walk.files] == ["linked/2.jpg", "real/1.jpg"]
    (paths,) = walk.passed_over.values()
    assert sorted(paths) == ["above", "again", "linked/circle", "self", "twice"]


def test_pipes_and_devices_are_passed_over(tmp_path: Path) -> None:
    """Opening the one waits for ever, reading the other never ends."""
    (tmp_path / "a.jpg").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    walk = walk_images(tmp_path)
    assert [file.key for file in walk.files] == ["a.jpg", "gone.jpg"]
    assert walk.passed_over == {"pipe, socket or device": ["pipe.jpg", "zero.jpg"]}
    with pytest.raises(ImageError, match=r"zero\.jpg: more than the limit"):
        read_image(tmp_path / "zero.jpg")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    save(tmp_path / "1.jpg")
    (tmp_path / "closed").mkdir(mode=0)
    assert walk_images(tmp_path).passed_over == {"folder that cannot be read (Permission denied)": ["closed"]}


def test_nothing_to_take_says_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "1.heic").write_text("x")
    with pytest.raises(UserError, match=r"passed over: 1 x unknown ending \.heic, such as 1\.heic"):
        walk_images(tmp_path)


def test_another_source_of_the_same_names_replaces_nothing(tmp_path: Path, bundle: Path, capsys) -> None:
    for number in (1, 2, 3):
        save(tmp_path / "monday" / "north" / f"{number}.jpg", number)
        save(tmp_path / "tuesday" / "north" / f"{number}.jpg", number + 3)
    gallery = tmp_path / "g"

    def ingest(folder: str) -> tuple[int, int, int]:
        code, summary, _ = run(
            capsys, "--images", tmp_path / folder, "--gallery", gallery, "--encoder", bundle
        )
        assert code == 0
        return summary["added"], summary["known"], summary["size"]

    assert ingest("monday/north") == (3, 0, 3)
    assert ingest("tuesday/north") == (3, 0, 6)
    assert ingest("monday/north") == (0, 3, 6)
    assert ingest("tuesday/north") == (0, 3, 6)
    # A changed file replaces its own entry, wherever that is.
    save(tmp_path / "monday" / "north" / "1.jpg", 6)
    save(tmp_path / "tuesday" / "north" / "1.jpg", 1)
    assert ingest("monday/north") == (1, 2, 6)
    assert ingest("tuesday/north") == (1, 2, 6)
    plain, qualified = keys_of(gallery)[:3], keys_of(gallery)[3:]
    assert plain == ["1.jpg", "2.jpg", "3.jpg"]
    assert len({key.split("/")[0] for key in qualified}) == 1
    assert all(key.startswith("north~") for key in qualified)
    with open_gallery(gallery, writable=True) as opened:
        entry = opened.get(qualified[0])
        assert entry is not None
        assert entry.source == str(tmp_path / "tuesday" / "north" / "1.jpg")
        opened.remove(plain)
    # The names are free again, and what has another one keeps it.
    assert ingest("tuesday/north") == (0, 3, 3)


def test_a_folder_that_moved_is_the_same(tmp_path: Path, bundle: Path, capsys, monkeypatch) -> None:
    save(tmp_path / "here" / "1.jpg")
    monkeypatch.chdir(tmp_path)
    arguments = ("--gallery", "g", "--encoder", bundle)
    assert run(capsys, "--images", "here", *arguments)[1]["added"] == 1
    assert run(capsys, "--images", tmp_path / "here", *arguments)[1]["known"] == 1
    (tmp_path / "here").rename(tmp_path / "there")
    assert run(capsys, "--images", "there", *arguments)[1]["known"] == 1


def test_older_galleries_hold_paths_as_they_were_given(tmp_path: Path, bundle: Path, capsys) -> None:
    folder = tmp_path / "pictures"
    save(folder / "1.jpg")
    arguments = ("--images", folder, "--gallery", tmp_path / "g", "--encoder", bundle)
    assert run(capsys, *arguments)[1]["added"] == 1
    with open_gallery(tmp_path / "g", writable=True) as gallery:
        entry = gallery.get("1.jpg")
        assert entry is not None
        vars(entry)["source"] = "../pictures/1.jpg"
        gallery.add([entry])
    save(folder / "1.jpg", 2)
    _, summary, _ = run(capsys, *arguments)
    assert (summary["added"], summary["size"]) == (1, 1)


def test_a_table_of_another_folder_replaces_only_what_it_names(tmp_path: Path, bundle: Path, capsys) -> None:
    for number, place in enumerate(("a", "b"), 1):
        save(tmp_path / place / "1.jpg", number)
        save(tmp_path / place / "2.jpg", number)
        (tmp_path / place / "table.csv").write_text("image,key\n1.jpg,\n2.jpg,own\n")
    sizes = []
    for place in ("a", "b", "a"):
        _, summary, _ = run(
            capsys,
            *("--manifest", tmp_path / place / "table.csv"),
            *("--gallery", tmp_path / "g", "--encoder", bundle),
        )
        sizes.append((summary["added"], summary["size"]))
    # `own` is what the tables' maker calls it, and means to replace.
    assert sizes == [(2, 2), (2, 3), (1, 3)]


def test_boxes_over_the_edge_are_clipped_on_all_sides(tmp_path: Path, bundle: Path, capsys) -> None:
    save(tmp_path / "1.jpg")
    (tmp_path / "table.csv").write_text(
        "image,left,top,right,bottom\n1.jpg,-5,-7,20,20\n1.jpg,10,10,40,99\n1.jpg,-5,-5,99,99\n1.jpg,-9,0,-2,9\n"
    )
    code, summary, stderr = run(
        capsys, "--manifest", tmp_path / "table.csv", "--gallery", tmp_path / "g", "--encoder", bundle
    )
    assert (code, summary["added"], summary["bad"]) == (0, 3, 1)
    assert "the box -9,0,-2,9 holds nothing" in stderr
    with open_gallery(tmp_path / "g") as gallery:
        boxes = {entry.box for batch in gallery.entries() for entry in batch}
    assert boxes == {(0, 0, 20, 20), (10, 10, 32, 32), (0, 0, 32, 32)}
