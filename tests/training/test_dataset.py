"""Batches: the same whatever the workers, the encoder's where nothing is varied, clear on bad images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.training.veri_layout import make_maps
from training.dataset import Batch, PoseInputs, TrainingSet, collate, raise_failures
from training.datasets import read_split
from training.extract import EvaluationSet
from training.records import label_map
from training.sampler import Draw, IdentitySampler
from training.transforms import Augmentation
from zoo.errors import UserError
from zoo.pose import FLIP_KEYPOINTS, scale_keypoints
from zoo.preprocess import prepare

SIZE = (32, 40)
PLAIN = Augmentation(crop=0.0, flip=0.0)


def training_set(
    root: Path, augmentation: Augmentation | None = None, pose: PoseInputs | None = None
) -> TrainingSet:
    records = read_split(root, "train")
    return TrainingSet(
        records, label_map(records), SIZE, augmentation or Augmentation(erasing=0.5, jitter=0.2), 3, pose
    )


def batches(data: TrainingSet, workers: int = 0) -> list[Batch]:
    sampler = IdentitySampler([data.labels[r.vehicle_id] for r in data.records], 4, 2, 0)
    loader = DataLoader(data, batch_sampler=list(sampler.draws(1)), num_workers=workers, collate_fn=collate)  # type: ignore[arg-type]
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
        for sample in (data[Draw(0, 0, index)], evaluation[index]):
            assert (sample["image"] == expected).all()  # type: ignore[index]
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
