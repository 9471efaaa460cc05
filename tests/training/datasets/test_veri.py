"""Reading VeRi's layouts: what they give, and what is said of a data set that is not whole."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.datasets.layouts import write_release
from tests.training.veri_layout import label_row, make_veri, read_rows, write_labels
from training.datasets import read_split
from training.datasets.records import label_map
from zoo.errors import UserError
from zoo.labels import COLORS, TYPES

REAL_LABELS = Path(os.environ.get("VERI_QUERY_LABELS", ""))
"""VeRi's own label_query.csv, which cannot be committed here."""


def with_images(root: Path, labels: Path, split: str = "query") -> None:
    """Give a label file its (empty) images: reading a split opens none."""
    folder = root / f"image_{split}"
    folder.mkdir()
    shutil.copy(labels, root / f"label_{split}.csv")
    for row in read_rows(labels):
        (folder / row[0]).touch()


def test_reads_every_split(veri_root: Path) -> None:
    train, query, gallery = (read_split(veri_root, split) for split in ("train", "query", "test"))
    assert (len(train), len(query), len(gallery)) == (48, 5, 25)
    first = train[0]
    assert (first.path.name, first.vehicle_id, first.camera_id, first.frame) == (
        "0001_c001_00000100_0.jpg",
        1,
        1,
        100,
    )
    assert first.path.is_file()
    row = read_rows(veri_root / "label_train.csv")[0]
    assert (first.color, first.type) == (COLORS[int(row[2]) - 1], TYPES[int(row[3]) - 1])
    assert first.keypoints is not None
    assert first.keypoints.dtype == np.float32
    assert first.keypoints[35].tolist() == pytest.approx([float(value) for value in row[-3:]])


def test_rows_like_the_real_ones(tmp_path: Path) -> None:
    row = label_row("0005_c019_00030600_0.jpg", 5, 10, 9, (100, 100), np.random.default_rng(0))
    row[4:7] = ["-12.5", "-0.001", "1.123"]
    write_labels(tmp_path / "labels.csv", [row])
    with_images(tmp_path, tmp_path / "labels.csv")
    (record,) = read_split(tmp_path, "query")
    assert record.keypoints is not None
    assert record.keypoints[0].tolist() == pytest.approx([-12.5, -0.001, 1.123])
    assert (record.camera_id, record.color, record.type) == (19, "black", "estate")


@pytest.mark.skipif(
    not REAL_LABELS.is_file(), reason="VERI_QUERY_LABELS does not name VeRi's own label_query.csv"
)
def test_the_real_query_labels(tmp_path: Path) -> None:
    with_images(tmp_path, REAL_LABELS)
    records = read_split(tmp_path, "query")
    assert len(records) == 1678
    assert len(label_map(records)) == 200
    assert len({record.camera_id for record in records}) == 19
    assert len({record.type for record in records}) == 8
    keypoints = np.stack([record.keypoints for record in records])  # type: ignore[arg-type]
    assert keypoints[..., 2].max() == pytest.approx(1.123)
    assert keypoints[..., :2].min() < 0


def test_the_three_untyped_suvs(own_root: Path) -> None:
    rows = read_rows(own_root / "label_train.csv")
    for row in rows:
        if row[1] == "3":
            row[3] = "0"
    write_labels(own_root / "label_train.csv", rows)
    types = {record.type for record in read_split(own_root, "train") if record.vehicle_id == 3}
    assert types == {"suv"}


def test_label_map_is_sorted(veri_root: Path) -> None:
    assert label_map(read_split(veri_root, "train")[::-1]) == {
        vehicle: vehicle - 1 for vehicle in range(1, 9)
    }


def test_unlabelled_images_are_ignored_with_a_note(own_root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (own_root / "image_train" / "0099_c001_00000001_0.jpg").touch()
    (own_root / "image_train" / "Thumbs.db").touch()
    assert len(read_split(own_root, "train")) == 12
    assert "1 images without a row" in caplog.text
    assert "0099_c001" in caplog.text


def change(column: int, value: str):
    def apply(row: list[str]) -> None:
        row[column] = value

    return apply


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda row: row.pop(), "label_train.csv:2: 111 fields where 112"),
        (lambda row: row.append("1"), "label_train.csv:2: 113 fields where 112"),
        (change(0, "car7.jpg"), "label_train.csv:2: 'car7.jpg' is not a name"),
        (
            change(0, "0001_c001_00000100_0.jpg"),
            "label_train.csv:2: 0001_c001_00000100_0.jpg is labelled twice",
        ),
        (change(2, "11"), "label_train.csv:2: colour 11 is not in 1..10"),
        (change(2, "0"), "label_train.csv:2: colour 0"),
        (change(3, "0"), "label_train.csv:2: type 0 is not in 1..9"),
        (change(3, "10"), "label_train.csv:2: type 10"),
        (change(1, "two"), "label_train.csv:2: a field is not a number"),
        (change(9, "x"), "label_train.csv:2: a field is not a number"),
        (change(9, "nan"), "label_train.csv:2: a keypoint is not finite"),
    ],
)
def test_a_wrong_row_is_named(own_root: Path, fault, message: str) -> None:
    rows = read_rows(own_root / "label_train.csv")
    fault(rows[1])
    write_labels(own_root / "label_train.csv", rows)
    with pytest.raises(UserError) as raised:
        read_split(own_root, "train")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_missing_root_and_folders(own_root: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such folder.*training.synthesize"):
        read_split(own_root / "nowhere", "train")
    shutil.rmtree(own_root / "image_test")
    with pytest.raises(UserError, match=r"image_test: missing; .* holds 5 of the 6 expected entries"):
        read_split(own_root, "test")
    (own_root / "label_query.csv").unlink()
    with pytest.raises(UserError, match=r"label_query.csv: missing; .* holds 4 of the 6"):
        read_split(own_root, "query")


def test_half_copied_images_are_counted(own_root: Path) -> None:
    for path in sorted((own_root / "image_train").iterdir())[:5]:
        path.unlink()
    with pytest.raises(
        UserError, match=r"image_train: holds 7 of the 12 images .* missing 0001_c001.* and 2 more"
    ):
        read_split(own_root, "train")


def test_empty_and_binary_label_files(own_root: Path) -> None:
    (own_root / "label_train.csv").write_bytes(b"")
    with pytest.raises(UserError, match="holds no rows"):
        read_split(own_root, "train")
    (own_root / "label_train.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(UserError, match="not a label file"):
        read_split(own_root, "train")


@pytest.fixture
def release(tmp_path: Path) -> tuple[Path, Path]:
    """The same data set in PAMTRI's layout and in the authors' own."""
    pamtri = make_veri(tmp_path / "pamtri", train_ids=4, test_ids=2, images=3)
    return pamtri, write_release(pamtri, tmp_path / "release")


@pytest.mark.parametrize("split", ["train", "query", "test"])
def test_both_layouts_give_equal_records(release: tuple[Path, Path], split) -> None:
    pamtri, own = release
    theirs = read_split(own, split)
    assert theirs == [
        replace(record, path=own / record.path.relative_to(pamtri)) for record in read_split(pamtri, split)
    ]
    assert all(record.keypoints is None for record in theirs)


def test_keypoints_are_read_where_both_layouts_lie_together(release: tuple[Path, Path]) -> None:
    pamtri, own = release
    for labels in pamtri.glob("label_*.csv"):
        shutil.copy(labels, own)
    assert read_split(own, "train")[0].keypoints is not None


def test_tracks(release: tuple[Path, Path]) -> None:
    _, own = release
    gallery = read_split(own, "test")
    assert {record.track for record in gallery} == {None}
    names = [record.path.name for record in gallery]
    (own / "test_track.txt").write_text(f"{names[1]} {names[0]} \n{names[2]}\n")
    assert [record.track for record in read_split(own, "test")] == [1, 1, 2, None]
    assert {record.track for record in read_split(own, "train")} == {None}


def test_queries_that_the_release_does_not_label(release: tuple[Path, Path]) -> None:
    pamtri, own = release
    text = (own / "test_label.xml").read_text(encoding="gb2312").splitlines(keepends=True)
    queries = (own / "name_query.txt").read_text().split()
    (own / "test_label.xml").write_text("".join(line for line in text if not any(q in line for q in queries)))
    found = [(r.vehicle_id, r.camera_id, r.color, r.type, r.frame) for r in read_split(own, "query")]
    assert found == [
        (r.vehicle_id, r.camera_id, r.color, r.type, r.frame) for r in read_split(pamtri, "query")
    ]


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("train_label.xml", 'typeID="', 'typeID="10', "train_label.xml:4: type 10"),
        ("train_label.xml", 'colorID="', 'colorID="x', "train_label.xml:4: colorID 'x"),
        ("train_label.xml", "cameraID=", "camera=", "train_label.xml:4: has no cameraID"),
        ("train_label.xml", "<Item imageName", "<Item <imageName", "train_label.xml:4: not XML"),
        (
            "train_label.xml",
            'encoding="gb2312"',
            'encoding="klingon"',
            "train_label.xml: not in the encoding",
        ),
        (
            "name_train.txt",
            "0001_c001_00000100_0.jpg",
            "car.jpg",
            "name_train.txt:1: 'car.jpg' is not a name",
        ),
        ("name_train.txt", "0001_c001_00000100_0", "0099_c001_00000100_0", "name_train.txt:1: 0099_c001"),
    ],
)
def test_a_wrong_line_of_the_release_is_named(
    release: tuple[Path, Path], file: str, old: str, new: str, message: str
) -> None:
    path = release[1] / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError) as raised:
        read_split(f"veri:{release[1]}", "train")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_release_without_its_query_list(release: tuple[Path, Path]) -> None:
    (release[1] / "name_query.txt").unlink()
    with pytest.raises(UserError, match=r"name_query.txt: missing"):
        read_split(release[1], "query")
