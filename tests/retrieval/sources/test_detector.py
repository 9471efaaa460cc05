"""Detectors: which forms are understood, what is refused, and what a real one finds."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retrieval.galleries import open_gallery
from retrieval.sources.decoding import VideoFrame, decode, open_video
from retrieval.sources.detector import Detector, find_detector, suppress
from retrieval.sources.type_prior import with_prior
from tests.retrieval.conftest import draw_vehicle
from tests.retrieval.sources.detectors import CELLS, SIZE, write_constant_detector, write_detector
from tests.retrieval.test_ingest import run
from zoo.errors import UserError
from zoo.labels import TYPES

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
REAL = DATA / "detector" / "yolox_nano.onnx"


@pytest.fixture(scope="module")
def real() -> Detector:
    if not REAL.is_file():
        pytest.skip(f"needs {REAL}, a real detector that is not part of the repository")
    # From straight above, where that video was taken, it takes cars for mobile phones: COCO's class 67.
    return Detector(REAL, ["car", "bus", "truck", 67])


def test_scene_is_made_to_fit_the_detector_and_boxes_back(tmp_path: Path) -> None:
    detector = Detector(write_detector(tmp_path / "detector.onnx"), classes=(1,), confidence=0.01)
    # Twice as large, and taller than the model's form, so that there is gray at the sides.
    scene = np.zeros((640, 640, 3), np.uint8)
    scene[:, :, 0] = 255
    first, *_ = detector.find(scene)
    # 160/640 of the size, 80 columns of gray to the left: (32 - 80) * 4 is cut off at 0.
    assert first.box == (0, 128, 192, 512)


def test_one_box_a_vehicle() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [6, 0, 16, 10], [0, 0, 10, 10]], float)
    assert suppress(boxes, np.array([0.5, 0.9, 0.3, 0.9]), 0.5) == [1, 2]
    assert suppress(boxes[:0], np.zeros(0), 0.5) == []


def test_a_front_beside_its_whole_vehicle_is_no_second_one(tmp_path: Path) -> None:
    """A vehicle's front, half of it, that a detector finds as well is left out; a neighbour is not."""
    output = np.zeros((1, 6, CELLS))
    output[0, :4, :3] = np.array([[80, 80, 96, 96], [80, 104, 96, 48], [150, 80, 96, 96]]).T
    output[0, 5, :3] = [0.9, 0.8, 0.7]
    detector = Detector(write_constant_detector(tmp_path / "detector.onnx", output), classes=(1,))
    found = detector.find(np.zeros((160, 320, 3), np.uint8))
    assert [round(each.score, 1) for each in found] == [0.9, 0.7]


def yolox(is_raw: bool) -> np.ndarray:
    """A bus at 160, 80 of 64 by 32, said by the cell in row 5, column 10 of the stride 16."""
    output = np.zeros((1, CELLS, 85))
    columns, rows, strides = (np.concatenate(each) for each in zip(*_cells(), strict=True))
    if not is_raw:
        output[0, :, :4] = np.stack([columns * strides, rows * strides, strides, strides], axis=1)
    cell = int(np.flatnonzero((columns == 10) & (rows == 5) & (strides == 16))[0])
    output[0, cell, :4] = (0, 0, np.log(4), np.log(2)) if is_raw else (160, 80, 64, 32)
    output[0, cell, 4], output[0, cell, 5 + 5], output[0, cell, 5 + 7] = 0.9, 0.8, 0.5
    return output


def _cells() -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    cells = []
    for stride in (8, 16, 32):
        rows, columns = np.mgrid[: SIZE[0] // stride, : SIZE[1] // stride]
        cells.append((columns.reshape(-1), rows.reshape(-1), np.full(rows.size, stride)))
    return cells


@pytest.mark.parametrize("is_raw", [True, False])
def test_yolox_is_understood_raw_and_decoded(tmp_path: Path, is_raw: bool) -> None:
    detector = Detector(write_constant_detector(tmp_path / "x.onnx", yolox(is_raw)), min_size=16)
    # Half the input's size: the scene lies in its corner, twice as large.
    (found,) = detector.find(np.zeros((80, 160, 3), np.uint8))
    assert found.box == (64, 32, 96, 48)
    assert (found.label, round(found.score, 4)) == ("bus", 0.72)


def test_least_size(tmp_path: Path) -> None:
    path = write_constant_detector(tmp_path / "x.onnx", yolox(True))
    scene = np.zeros((80, 160, 3), np.uint8)
    assert [each.box for each in Detector(path, min_size=16).find(scene)] == [(64, 32, 96, 48)]
    assert Detector(path, min_size=17).find(scene) == []


def test_ssd_is_understood(tmp_path: Path) -> None:
    output = np.zeros((1, 1, 4, 7))
    output[0, 0] = [
        [0, 1, 0.9, 0.1, 0.2, 0.5, 0.8],
        [0, 2, 0.8, -0.1, 0.2, 0.05, 0.8],
        [0, 1, 0.3, 0.6, 0.2, 0.9, 0.8],
        [-1, 0, 0, 0, 0, 0, 0],
    ]
    path = write_constant_detector(tmp_path / "s.onnx", output)
    scene = np.zeros((1000, 1000, 3), np.uint8)
    assert [(each.box, each.label) for each in Detector(path).find(scene)] == [
        ((100, 200, 500, 800), "1"),
        ((0, 200, 50, 800), "2"),
    ]
    assert [each.label for each in Detector(path, classes=["2"]).find(scene)] == ["2"]


def test_colours_go_in_the_order_that_the_form_wants(tmp_path: Path) -> None:
    scene = np.zeros((*SIZE, 3), np.uint8)
    scene[:, :, 0] = 255  # red
    for name, output, channel, full in (
        ("yolox", yolox(True) * 0.01, 2, 255.0),
        ("yolov8", np.zeros((1, 84, CELLS)), 0, 1.0),
    ):
        red = np.zeros_like(output)
        row = red[0, 0] if name == "yolox" else red[0, :, 0]
        output[0] *= 0
        box = (2, 2, 3, 3) if name == "yolox" else (80, 80, 64, 64)
        (output[0, 0] if name == "yolox" else output[0, :, 0])[:4] = box
        row[4 if name == "yolox" else 6] = 0.9 / full
        if name == "yolox":
            output[0, 0, 7] = 1
        path = write_constant_detector(tmp_path / f"{name}.onnx", output, red=red, channel=channel)
        (found,) = Detector(path, confidence=0.5).find(scene)
        assert (found.label, round(found.score, 2)) == ("car", 0.9), name


@pytest.mark.parametrize(
    ("shape", "metadata"),
    [
        ((1, 300, 6), {}),
        ((1, 25200, 85), {}),
        ((1, 85, CELLS + 1), {}),
        ((1, CELLS, 5), {}),
        ((1, 4, CELLS), {}),
        ((2, 84, CELLS), {}),
        ((1, 84), {}),
        ((1, 3, 10, 20, 85), {}),
        ((1, 56, CELLS), {"task": "pose"}),
    ],
)
def test_other_forms_are_refused_by_their_shape(tmp_path: Path, shape: tuple[int, ...], metadata) -> None:
    path = write_constant_detector(tmp_path / "o.onnx", np.zeros(shape), metadata=metadata)
    with pytest.raises(UserError, match="not a detector of a form") as told:
        Detector(path)
    assert str(list(shape)) in str(told.value)


def test_classes_by_name_and_number(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "d.onnx", {"names": "{0: 'person', 1: 'car'}", "task": "detect"})
    scene = np.zeros((*SIZE, 3), np.uint8)
    scene[:, :, 0] = 255
    for classes in (None, ["car"], ["1"], [1], ["person", "car"]):
        assert [each.label for each in Detector(path, classes, 0.01).find(scene)] == ["car"]
    assert Detector(path, ["person"], 0.01).find(scene) == []
    for wrong in ("bus", "2", "-1", "1.5"):
        with pytest.raises(UserError, match=f"has no class {wrong}; it has person, car"):
            Detector(path, [wrong])
    other = write_detector(tmp_path / "o.onnx", {"names": "['cat', 'dog']"})
    with pytest.raises(UserError, match="say with --detector-classes"):
        Detector(other)


def test_a_detector_that_was_not_fetched(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VEHICLE_REID_CACHE", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("yolox-nano", "detector.yolox-nano"):
        with pytest.raises(UserError, match=r"run `python -m zoo fetch detector\.yolox-nano`"):
            find_detector(name)


@pytest.mark.parametrize(
    ("label", "score", "expected"),
    [
        ("car", 0.9, "suv"),
        ("bus", 0.9, "bus"),
        ("truck", 0.9, "truck"),
        ("car", 0.1, "truck"),
        ("7", 0.9, "truck"),
    ],
)
def test_the_detectors_class_is_a_prior_of_the_type(label: str, score: float, expected: str) -> None:
    probs = np.zeros(len(TYPES), np.float32)
    for name, value in (("truck", 0.6), ("suv", 0.3), ("bus", 0.1)):
        probs[TYPES.index(name)] = value
    weighted = with_prior(probs, TYPES, label, score)
    assert TYPES[int(weighted.argmax())] == expected
    assert weighted.sum() == pytest.approx(1)
    assert np.array_equal(with_prior(probs, tuple("abcdefghi"), label, score), probs)
    assert with_prior(probs[:0], (), label, score).size == 0


def test_a_real_detector_finds_real_cars(real: Detector) -> None:
    with open_video(str(DATA / "video" / "car-detection.mp4")) as container:
        frames = [found for found in decode(container, 1) if isinstance(found, VideoFrame)]
    found = [each for frame in frames for each in real.find(frame.pixels)]
    # Some cars are in sight at whole seconds; those that the edge cuts are mostly missed.
    assert 5 <= len(found) <= 15
    assert all(min(each.box[2] - each.box[0], each.box[3] - each.box[1]) >= real.min_size for each in found)


def test_scenes_among_pictures_are_cut_and_crops_are_not(tmp_path: Path, bundle: Path, capsys) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    scene = Image.new("RGB", (640, 320), "black")
    scene.paste(draw_vehicle(1, 1, size=192), (64, 64))
    scene.save(folder / "scene.png")
    Image.new("RGB", (640, 320), "black").save(folder / "street.png")
    draw_vehicle(2, 1).save(folder / "crop.png")
    (folder / "broken.png").write_bytes(b"")
    detector = write_detector(tmp_path / "d.onnx")
    arguments = ("--images", folder, "--gallery", tmp_path / "g", "--encoder", bundle)
    options = ("--detector", detector, "--detector-classes", 1)
    for added in (2, 0):
        code, summary, _ = run(capsys, *arguments, *options)
        assert (code, summary["added"], summary["known"], summary["bad"]) == (0, added, 2 - added, 2)
    with open_gallery(tmp_path / "g") as gallery:
        assert sorted(gallery.sample_keys(9)) == ["crop.png", "scene.png#64,64,256,256"]
        entry = gallery.get("scene.png#64,64,256,256")
    assert entry is not None
    assert entry.box == (64, 64, 256, 256)
