"""Batches: the same whatever the workers, the encoder's where nothing is varied, clear on bad images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.training.veri_layout import make_maps
from training.data.batches import Batch, PoseInputs, TrainingSet, collate, raise_failures
from training.data.pose_maps import MapSource
from training.data.sampler import Draw, IdentitySampler, rank_draws
from training.data.transforms import Augmentation
from training.datasets import read_split
from training.datasets.records import label_map
from training.evaluation.extract import EvaluationSet
from zoo.errors import UserError
from zoo.pose import FLIP_KEYPOINTS, scale_keypoints
from zoo.preprocess import prepare

CPU = torch.device("cpu")
SIZE = (32, 40)
PLAIN = Augmentation(crop=0.0, flip=0.0)


def training_set(
    root: Path,
    augmentation: Augmentation | None = None,
    pose: PoseInputs | None = None,
    map_source: MapSource = "auto",
) -> TrainingSet:
    records = read_split(root, "train")
    augmentation = augmentation or Augmentation(erasing=0.5, jitter=0.2)
    return TrainingSet(records, label_map(records), SIZE, augmentation, 3, pose, map_source)


def batches(data: TrainingSet, workers: int = 0) -> list[Batch]:
    sampler = IdentitySampler([data.labels[r.vehicle_id] for r in data.records], 4, 2, 0)
    loader = DataLoader(
        data, batch_sampler=rank_draws(sampler, 1, "random"), num_workers=workers, collate_fn=collate
    )  # type: ignore[arg-type]
    return list(raise_failures(loader))


def test_same_bytes_with_workers_and_from_memory(veri_root: Path) -> None:
    pose = PoseInputs(keypoints=True)
    plain = batches(training_set(veri_root, pose=pose))
    kept = training_set(veri_root, pose=pose)
    kept.preload()
    for others in (batches(training_set(veri_root, pose=pose), workers=2), batches(kept), batches(kept)):
        for one, other in zip(plain, others, strict=True):
            assert torch.equal(one.image, other.image)
            assert torch.equal(one.label, other.label)
            assert one.keypoints is not None
            assert other.keypoints is not None
            assert torch.equal(one.keypoints, other.keypoints)


def test_a_batch(veri_root: Path) -> None:
    data = training_set(veri_root, pose=PoseInputs(keypoints=True))
    batch = batches(data)[0]
    assert (batch.image.shape, batch.image.dtype) == ((8, *SIZE, 3), torch.uint8)
    assert batch.keypoints is not None
    assert (batch.keypoints.shape, batch.keypoints.dtype) == ((8, 108), torch.float32)
    assert (batch.label.dtype, batch.heatmaps, batch.segments) == (torch.int64, None, None)
    assert len(batch) == 8


def test_draws_differ_between_positions_and_epochs(veri_root: Path) -> None:
    data = training_set(veri_root)
    images = [data[Draw(epoch, position, 0)]["image"] for epoch in (0, 1) for position in (0, 1)]  # type: ignore[index]
    assert len({image.tobytes() for image in images}) == 4


def test_unvaried_images_are_the_encoders(veri_root: Path) -> None:
    data = training_set(veri_root, PLAIN, PoseInputs(keypoints=True))
    evaluation = EvaluationSet(data.records, SIZE, data.pose)
    for index in (0, 17):
        record = data.records[index]
        expected = prepare(record.path.read_bytes(), SIZE)
        assert record.keypoints is not None
        numbers = scale_keypoints(record.keypoints, (48, 56), SIZE)
        assert (evaluation[index]["image"] == expected).all()  # type: ignore[index]
        # Training resizes with weights of less precision.
        quick = data[Draw(0, 0, index)]["image"].astype(int)  # type: ignore[index,union-attr]
        assert np.abs(quick - expected).max() <= 1
        for sample in (data[Draw(0, 0, index)], evaluation[index]):
            assert sample["keypoints"] == pytest.approx(numbers, abs=1e-5)  # type: ignore[index]


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_maps_follow_the_image(own_root: Path, flip: float) -> None:
    make_maps(own_root, "train", "heatmap", 36)
    make_maps(own_root, "train", "segment", 13)
    data = training_set(own_root, Augmentation(crop=0.0, flip=flip), PoseInputs(heatmaps=True, segments=True))
    sample = data[Draw(0, 0, 0)]
    heatmaps, segments = sample["heatmaps"], sample["segments"]  # type: ignore[index]
    assert (heatmaps.shape, segments.shape) == ((*SIZE, 36), (*SIZE, 13))
    bright, dark = (30, 5) if flip else (5, 30)
    channel = FLIP_KEYPOINTS[30] if flip else 30
    assert heatmaps[5, bright, channel] == pytest.approx(180, abs=4)
    assert heatmaps[5, dark, channel] == pytest.approx(90, abs=4)
    # Confidences are random here: some of a segment's four keypoints is nearly always below 0.5.
    assert (segments.reshape(-1, 13).max(0) == 0).sum() >= 6


def test_a_missing_map_is_named(own_root: Path) -> None:
    make_maps(own_root, "train", "heatmap", 35)
    with pytest.raises(UserError, match=r"35.jpg: missing or damaged \(35 of 36 maps"):
        batches(training_set(own_root, pose=PoseInputs(heatmaps=True)))


def test_maps_are_drawn_where_there_are_no_folders(veri_root: Path) -> None:
    pose = PoseInputs(heatmaps=True, segments=True)
    kept = training_set(veri_root, pose=pose)
    kept.preload()
    plain = [batch.to(CPU) for batch in batches(training_set(veri_root, pose=pose))]
    for others in (batches(training_set(veri_root, pose=pose), workers=2), batches(kept)):
        for one, other in zip(plain, others, strict=True):
            # Little travels from a worker; the maps are there after the step to the device.
            assert (other.heatmaps, other.segments) == (None, None)
            drawn = other.to(CPU)
            assert one.heatmaps is not None and drawn.heatmaps is not None
            assert one.segments is not None and drawn.segments is not None
            assert torch.equal(one.heatmaps, drawn.heatmaps)
            assert torch.equal(one.segments, drawn.segments)
    assert (plain[0].heatmaps.shape, plain[0].segments.shape) == ((8, *SIZE, 36), (8, *SIZE, 13))  # type: ignore[union-attr]


def test_a_drawn_heatmap_peaks_at_its_keypoint(veri_root: Path) -> None:
    pose = PoseInputs(keypoints=True, heatmaps=True)
    for batch in batches(training_set(veri_root, Augmentation(crop=0.5, flip=0.5), pose)):
        drawn = batch.to(CPU)
        assert drawn.heatmaps is not None and drawn.keypoints is not None
        points = (drawn.keypoints.view(-1, 36, 3) + 0.5).numpy() * (SIZE[1], SIZE[0], 1.0)
        found = 0
        for maps, keypoints in zip(drawn.heatmaps.numpy(), points, strict=True):
            for index, (x, y, confidence) in enumerate(keypoints):
                if confidence > 0.3 and 1 < x < SIZE[1] - 2 and 1 < y < SIZE[0] - 2:
                    row, column = np.unravel_index(maps[..., index].argmax(), SIZE)
                    assert abs(row - y) <= 1 and abs(column - x) <= 1
                    found += 1
        assert found > 50


def test_the_source_of_maps_can_be_chosen(own_root: Path) -> None:
    make_maps(own_root, "train", "heatmap", 36)
    pose = PoseInputs(heatmaps=True)
    assert "heatmaps" in training_set(own_root, pose=pose)[Draw(0, 0, 0)]  # type: ignore[operator]
    drawn = training_set(own_root, pose=pose, map_source="drawn")[Draw(0, 0, 0)]
    assert "heatmap_points" in drawn  # type: ignore[operator]
    with pytest.raises(UserError, match=r"\d\d.jpg: missing or damaged .* pose_maps = "):
        batches(training_set(own_root, pose=PoseInputs(segments=True), map_source="folders"))


def test_maps_without_folders_and_keypoints_are_refused(veri_root: Path) -> None:
    data = training_set(veri_root, pose=PoseInputs(segments=True))
    data.records = [replace(record, keypoints=None) for record in data.records]
    with pytest.raises(UserError, match=r"\d_0.jpg: has no keypoint labels"):
        batches(data)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("damage", "message"), [(lambda data: b"", "0 bytes"), (lambda data: data[:400], "truncated")]
)
def test_a_bad_image_is_named_in_one_line(own_root: Path, workers: int, damage, message: str) -> None:
    path = own_root / "image_train" / "0002_c002_00000200_0.jpg"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError) as raised:
        batches(training_set(own_root), workers)
    assert str(path) in str(raised.value)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match="0002_c002"):
        training_set(own_root).preload()


def test_batches_survive_a_read_only_store(veri_root: Path) -> None:
    """What the store keeps must not change under a training pass."""
    data = training_set(veri_root)
    data.preload()
    before = [data.images.get(i, SIZE)[0].copy() for i in range(len(data))]
    batches(data)
    assert all((data.images.get(i, SIZE)[0] == kept).all() for i, kept in enumerate(before))
    assert np.shape(before) == (len(data), *SIZE, 3)
