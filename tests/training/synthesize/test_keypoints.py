"""Keypoints of a known box: where they are drawn, and which of them can be seen."""

from pathlib import Path

import cv2
import numpy as np

from training.synthesize.difficulty import DIFFICULTIES
from training.synthesize.renderer.camera import Camera, Crop
from training.synthesize.renderer.keypoint_labels import OCCLUDED, OUTSIDE, VISIBLE, label_keypoints
from training.synthesize.renderer.mesh import Mesh, MeshBuilder, Vehicle, box
from training.synthesize.renderer.render import Placed, render
from training.synthesize.renderer.shading import Light
from training.synthesize.scene import Stage
from training.synthesize.street.camera_site import draw_camera_site
from training.synthesize.vehicle_pictures import write_heatmaps, write_segments
from zoo.pose import SEGMENTS

LENGTH, WIDTH, HEIGHT = 4.0, 1.8, 1.5


def box_mesh() -> Mesh:
    builder = MeshBuilder()
    low, high = (-LENGTH / 2, -WIDTH / 2, 0.0), (LENGTH / 2, WIDTH / 2, HEIGHT)
    builder.add_quads(box(low, high), np.full((6, 4, 2), 0.5), gloss=0.0)
    texture = np.zeros((8, 8, 4), np.uint8)
    texture[..., 0] = 255
    return builder.finish(texture)


def box_vehicle() -> Vehicle:
    """A red box with keypoints in the middle of its left, right, front, rear and top faces."""
    normals = np.array([(0, 1, 0), (0, -1, 0), (1, 0, 0), (-1, 0, 0), (0, 0, 1)], np.float32)
    middle = np.array([0, 0, HEIGHT / 2], np.float32)
    points = middle + normals * np.array([LENGTH, WIDTH, HEIGHT], np.float32) / 2
    return Vehicle(box_mesh(), points.astype(np.float32), normals, 4, 0, (LENGTH, WIDTH, HEIGHT))


CAMERA = Camera(height=5.0, pitch=np.arctan2(4.2, 12.0), roll=0.02, focal=1500, distortion=-0.1)
LIGHT = Light(
    sun=np.array([0, 0, 1], np.float32),
    sun_color=np.full(3, 0.5, np.float32),
    sky_color=np.full(3, 0.5, np.float32),
    ground_color=np.zeros(3, np.float32),
    environment=np.zeros((4, 4, 3), np.float32),
    dapple=np.ones((2, 2), np.float32),
    dapple_metres=10.0,
)


def label(crop: Crop, others: list[Placed], hidden: np.ndarray | None = None) -> np.ndarray:
    vehicle = box_vehicle()
    # Coming towards the camera and turned so that it shows its front and its left side (right in the image).
    placed = Placed(vehicle.mesh, 12, 0, np.pi - 0.5)
    canvas = render([placed, *others], CAMERA, crop, LIGHT)
    if hidden is None:
        hidden = np.zeros((crop.height, crop.width), bool)
    return label_keypoints(vehicle, placed, CAMERA, crop, canvas, hidden, np.random.default_rng(0))


def is_in(confidence: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    return (confidence >= bounds[0]) & (confidence <= bounds[1])


WHOLE = Crop(left=600, top=280, scale=0.25, width=180, height=130)


def test_the_sides_that_face_the_camera_are_visible_and_the_others_are_not() -> None:
    confidence = label(WHOLE, [])[:, 2]
    left, right = is_in(confidence, VISIBLE)[:2]
    assert left != right
    assert is_in(confidence, VISIBLE)[[2, 4]].all()
    assert is_in(confidence, OCCLUDED)[3]
    seen_side = 0 if left else 1
    assert is_in(confidence, OCCLUDED)[1 - seen_side]


def test_labels_are_where_the_points_are_drawn() -> None:
    labels = label(WHOLE, [])
    vehicle = box_vehicle()
    expected, _ = CAMERA.project(Placed(vehicle.mesh, 12, 0, np.pi - 0.5).to_site(vehicle.keypoints))
    assert np.allclose(labels[:, :2], (expected - (600, 280)) * 0.25, atol=1e-3)


def test_a_point_that_the_crop_cuts_off_has_no_confidence() -> None:
    labels = label(Crop(left=600, top=280, scale=0.25, width=85, height=130), [])
    outside = labels[:, 0] >= 85
    assert outside.any()
    assert not outside.all()
    assert is_in(labels[outside, 2], OUTSIDE).all()
    assert not is_in(labels[~outside, 2], OUTSIDE).any()


def test_another_vehicle_or_a_pole_in_front_hides_points() -> None:
    wall = Placed(box_mesh(), 8.5, 0, np.pi / 2)
    assert is_in(label(WHOLE, [])[:, 2], VISIBLE)[2]
    assert is_in(label(WHOLE, [wall])[:, 2], OCCLUDED)[2]
    behind_pole = label(WHOLE, [], np.ones((130, 180), bool))
    assert is_in(behind_pole[:, 2], OCCLUDED).all()


def test_a_photograph_puts_its_keypoints_on_the_vehicle() -> None:
    """Through crop, resolution and resizing: the box is red where its visible points are said to be."""
    strengths = DIFFICULTIES["easy"]
    stage = Stage(draw_camera_site(0, 3, strengths), strengths, 128, [])
    checked = 0
    for seed in range(8):
        view = stage.photograph(box_vehicle(), 0, 0.0, 0, np.random.default_rng(seed))
        assert max(view.picture.shape[:2]) == 128
        for x, y, confidence in view.keypoints:
            if confidence >= VISIBLE[0]:
                red, green, blue = view.picture[round(y), round(x)].astype(int)
                assert red > 1.5 * max(green, blue)
                checked += 1
    assert checked >= 16


def test_heatmaps_peak_at_the_keypoint_and_segments_vanish_without_confidence(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    keypoints = np.column_stack([rng.uniform(5, 90, 36), rng.uniform(5, 60, 36), np.full(36, 0.9)])
    keypoints[SEGMENTS[3][0], 2] = 0.3
    write_heatmaps(tmp_path / "heat", keypoints, (64, 96))
    write_segments(tmp_path / "segment", keypoints, (64, 96))
    heatmaps = sorted((tmp_path / "heat").iterdir())
    segments = sorted((tmp_path / "segment").iterdir())
    assert [path.name for path in heatmaps] == [f"{index:02d}.jpg" for index in range(36)]
    assert [path.name for path in segments] == [f"{index:02d}.jpg" for index in range(13)]
    for index in (0, 17, 35):
        heat = cv2.imread(str(heatmaps[index]), cv2.IMREAD_GRAYSCALE)
        assert heat.shape == (64, 96)
        row, column = np.unravel_index(np.argmax(cv2.GaussianBlur(heat, (0, 0), 1)), heat.shape)
        assert np.hypot(column - keypoints[index, 0], row - keypoints[index, 1]) < 2
    for index, path in enumerate(segments):
        shown = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).max() > 128
        assert shown == (SEGMENTS[3][0] not in SEGMENTS[index])
