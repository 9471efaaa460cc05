"""Maps drawn from keypoints: equal to the formula, to each other on every road, and to maps from folders."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from training.data.batches import Batch
from training.data.pose_drawing import (
    draw_heatmaps,
    draw_segments,
    expand_heat,
    expand_segments,
    heat_tables,
    segment_tables,
    spread,
)
from training.data.pose_maps import PoseInputs, PoseMaps
from training.data.transforms import Geometry
from training.datasets.records import Record
from training.synthesize.vehicle_pictures import write_heatmaps, write_segments
from zoo.pose import SEGMENTS, visible_segments

CPU = torch.device("cpu")
SIZE = (40, 56)


def random_points(count: int, seed: int = 0) -> torch.Tensor:
    """Like real labels: some outside of the image, confidences from near 0 to 1.12."""
    rng = np.random.default_rng(seed)
    low, high = (-8, -6, 0.2), (SIZE[1] + 8, SIZE[0] + 6, 1.12)
    return torch.from_numpy(rng.uniform(low, high, (count, 36, 3)).astype(np.float32))


def random_spreads(count: int) -> torch.Tensor:
    rng = np.random.default_rng(1)
    return torch.from_numpy(rng.uniform(0.8, 3.0, (count, 2)).astype(np.float32))


def test_heatmaps_are_the_formula() -> None:
    points, spreads = random_points(3), random_spreads(3)
    maps = draw_heatmaps(points, spreads, SIZE, CPU)
    assert (maps.shape, maps.dtype) == ((3, *SIZE, 36), torch.uint8)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    for n, k in np.ndindex(3, 36):
        x, y, confidence = points[n, k].double().tolist()
        down, across = spreads[n].double().tolist()
        bell = np.exp(-((rows - y) ** 2) / (2 * down**2) - (columns - x) ** 2 / (2 * across**2))
        expected = 255 * min(1.0, confidence) * bell
        assert np.abs(maps[n, ..., k].numpy() - expected).max() < 0.5 + 1e-3


def test_segments_are_the_inside_of_their_corners() -> None:
    points = random_points(20)
    maps = draw_segments(points, SIZE, CPU).numpy()
    assert set(np.unique(maps)) == {0, 255}
    shown = visible_segments(points.numpy())
    assert 0.05 < shown.mean() < 0.95
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    for n, (k, corners) in ((n, segment) for n in range(20) for segment in enumerate(SEGMENTS)):
        inside = np.zeros(SIZE, bool)
        quad = points[n, list(corners)].double().numpy()
        for (x0, y0, _), (x1, y1, _) in zip(quad, np.roll(quad, -1, axis=0), strict=True):
            crosses = (y0 <= rows) != (y1 <= rows)
            inside ^= crosses & (x0 + (rows - y0) * (x1 - x0) / (y1 - y0) > columns)
        assert ((maps[n, ..., k] == 255) == (inside & shown[n, k])).all()


def test_a_square_covers_its_pixels() -> None:
    points = torch.zeros(1, 36, 3)
    points[..., 2] = 0.9
    for index, (x, y) in zip(SEGMENTS[0], ((10, 5), (20, 5), (20, 15), (10, 15)), strict=True):
        points[0, index, :2] = torch.tensor([x, y])
    assert draw_segments(points, SIZE, CPU)[0, ..., 0].count_nonzero() == 10 * 10
    points[0, SEGMENTS[0][2], 2] = 0.49
    assert not draw_segments(points, SIZE, CPU)[0, ..., 0].any()


def test_an_accelerator_draws_the_same_bytes() -> None:
    """The dense road that accelerators take, here on the CPU."""
    points, spreads = random_points(6), random_spreads(6)
    dense = expand_heat(*heat_tables(points, spreads, SIZE))
    assert torch.equal(dense, draw_heatmaps(points, spreads, SIZE, CPU))
    assert torch.equal(
        expand_segments(segment_tables(points, SIZE), SIZE[1]), draw_segments(points, SIZE, CPU)
    )
    assert dense.any()


def test_a_batch_is_its_images() -> None:
    points, spreads = random_points(5), random_spreads(5)
    kept = points.clone()
    together = draw_heatmaps(points, spreads, SIZE, CPU), draw_segments(points, SIZE, CPU)
    for n in range(5):
        one = slice(n, n + 1)
        assert torch.equal(together[0][one], draw_heatmaps(points[one], spreads[one], SIZE, CPU))
        assert torch.equal(together[1][one], draw_segments(points[one], SIZE, CPU))
    assert torch.equal(points, kept)


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry((96, 80), (96, 80)),
        Geometry((96, 80), (108, 90), 5, 7),
        Geometry((96, 80), (108, 90), 12, 0, flip=True),
    ],
    ids=["plain", "crop", "crop and flip"],
)
def test_drawn_maps_are_what_folders_give(tmp_path: Path, geometry: Geometry) -> None:
    """Folders are written at the picture's size, stored as JPEG, resized, cut and mirrored."""
    shape = (150, 120)
    rng = np.random.default_rng(2)
    points = rng.uniform((10, 10, 0.45), (110, 140, 1.1), (36, 3)).astype(np.float32)
    record = Record(tmp_path / "image_train" / "0001_c001_00000001_0.jpg", 1, 1, keypoints=points)
    write_heatmaps(tmp_path / "heatmap_train" / record.path.stem, points, shape)
    write_segments(tmp_path / "segment_train" / record.path.stem, points, shape)
    pose = PoseInputs(heatmaps=True, segments=True)
    read = PoseMaps([record], pose, "auto").sample(record, geometry, shape)
    travelling = PoseMaps([record], pose, "drawn").sample(record, geometry, shape)
    assert set(travelling) == {"heatmap_points", "segment_points", "spread"}
    image = torch.zeros(1, *geometry.size, 3, dtype=torch.uint8)
    label = torch.zeros(1, dtype=torch.int64)
    points_of = {name: torch.from_numpy(values[None]) for name, values in travelling.items()}
    drawn = Batch(image, label, label, label, **points_of).to(CPU)
    assert drawn.heatmap_points is None
    assert drawn.heatmaps is not None
    assert drawn.segments is not None
    heat = np.abs(drawn.heatmaps[0].numpy().astype(int) - read["heatmaps"])
    assert heat.mean() < 1.0
    assert heat.max() < 26
    ours, theirs = drawn.segments[0].numpy() // 255, (read["segments"] > 127).astype(np.uint8)
    assert (ours.any((0, 1)) == theirs.any((0, 1))).all()
    # They differ on outlines alone: a folder's quads have corners on whole pixels, and their rim drawn.
    band = np.ones((5, 5), np.uint8)
    assert (cv2.erode(theirs, band) <= ours).all()
    assert (ours <= cv2.dilate(theirs, band)).all()
    assert (ours & theirs).sum() > 0.9 * (ours | theirs).sum()


def test_spread_follows_the_picture() -> None:
    assert spread((100, 200), (50, 50)).tolist() == pytest.approx([2.5, 1.25])
