"""Records to batches: what a training step is fed with."""

import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from training.data.images import ImageStore
from training.data.pose_drawing import draw_heatmaps, draw_segments
from training.data.pose_maps import MapSource, PoseInputs, PoseMaps
from training.data.sampler import Draw
from training.data.transforms import Augmentation, Size, draw_geometry, vary_pixels
from training.datasets.records import VERI, Classes, Record, keypoints_of
from zoo.errors import UserError
from zoo.pose import scale_keypoints


@dataclass(frozen=True)
class Batch:
    """Tensors of N images. Pixels travel as bytes, maps that are not read as keypoints; drawing and
    normalisation are the device's work.

    Attributes:
        image: uint8 [N, H, W, 3] RGB.
        label: int64 [N], class of the identity classifier.
        color: int64 [N], -1 where unknown.
        type: int64 [N], -1 where unknown.
        keypoints: float32 [N, 108] or None.
        heatmaps: uint8 [N, H, W, 36] or None.
        segments: uint8 [N, H, W, 13] or None.
        heatmap_points: float32 [N, 36, 3] of x, y in pixels of `image` and confidence, which `to` draws
            `heatmaps` from, or None.
        segment_points: likewise for `segments`.
        spread: float32 [N, 2], see `training.data.pose_drawing.spread`; there with either of them.
        teacher: float32 [N, D], the embeddings that the run's teacher has of these images, or None.
    """

    image: Tensor
    label: Tensor
    color: Tensor
    type: Tensor
    keypoints: Tensor | None = None
    heatmaps: Tensor | None = None
    segments: Tensor | None = None
    heatmap_points: Tensor | None = None
    segment_points: Tensor | None = None
    spread: Tensor | None = None
    teacher: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """Copy to a device, where maps that travelled as keypoints are drawn."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _DRAWN_FROM}
        moved = {k: v.to(device, non_blocking=True) for k, v in tensors.items() if v is not None}
        size = (self.image.shape[1], self.image.shape[2])
        if self.heatmap_points is not None:
            assert self.spread is not None
            moved["heatmaps"] = draw_heatmaps(self.heatmap_points, self.spread, size, device)
        if self.segment_points is not None:
            moved["segments"] = draw_segments(self.segment_points, size, device)
        return Batch(**moved)

    def __len__(self) -> int:
        return len(self.image)


_DRAWN_FROM = ("heatmap_points", "segment_points", "spread")


@dataclass(frozen=True)
class Failure:
    """A sample or batch that could not be made. It travels as a value, because an error that leaves a
    loader's worker process arrives with that process's traceback as its message."""

    message: str


Sample = dict[str, np.ndarray | int]


class TrainingSet(Dataset[Sample | Failure]):
    """Augmented training images. An item is asked for by its `Draw`, which alone (with the seed) decides its
    chance: whatever the number of workers, and wherever a run is taken up again, the same draw gives the
    same bytes.

    Attributes:
        teacher: float32 [images, D], what the run's teacher sees in each image, for the batches; or None.
    """

    def __init__(
        self,
        records: Sequence[Record],
        labels: Mapping[int, int],
        size: Size,
        augmentation: Augmentation,
        seed: int,
        pose: PoseInputs | None = None,
        map_source: MapSource = "auto",
        classes: Classes = VERI,
        antialias: bool = True,
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            records: the training split.
            labels: vehicle id -> class.
            size: (height, width) of the batches; may be changed between epochs.
            augmentation: how images are varied.
            seed: the run's seed.
            pose: the pose inputs wanted.
            map_source: where heatmaps and segments come from.
            classes: the colours and types that the model learns.
            antialias: how images are resized: see `zoo.preprocess.resize`.
        """
        self.records, self.labels = list(records), labels
        self.colors, self.types = (classes.indices(self.records, name) for name in ("color", "type"))
        self.size, self.augmentation, self.seed = size, augmentation, seed
        self.pose = pose or PoseInputs()
        self.images = ImageStore([record.path for record in self.records], quick=True, antialias=antialias)
        self.maps = PoseMaps(self.records, self.pose, map_source, antialias)
        self.teacher: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.records)

    def preload(self, threads: int = 2) -> None:
        """Keep all images in memory, at the two sizes that the present `size` needs."""
        sizes = [self.size]
        if self.augmentation.crop:
            sizes.append(self.augmentation.enlarged(self.size))
        self.images.preload(sizes, threads)

    def __getitem__(self, draw: Draw) -> Sample | Failure:
        try:
            return self._sample(draw)
        except UserError as error:
            return Failure(str(error))

    def _sample(self, draw: Draw) -> Sample:
        rng = np.random.default_rng([self.seed, draw.epoch, draw.position, draw.index])
        record = self.records[draw.index]
        geometry = draw_geometry(rng, self.size, self.augmentation)
        pixels, source_size = self.images.get(draw.index, geometry.resized)
        sample: Sample = {
            "image": vary_pixels(geometry.apply(pixels), rng, self.augmentation),
            "label": self.labels[record.vehicle_id],
            "color": int(self.colors[draw.index]),
            "type": int(self.types[draw.index]),
        }
        if self.teacher is not None:
            sample["teacher"] = self.teacher[draw.index]
        if self.pose.keypoints:
            keypoints = geometry.apply_to_keypoints(keypoints_of(record), source_size)
            sample["keypoints"] = scale_keypoints(keypoints, self.size, self.size)
        return sample | self.maps.sample(record, geometry, source_size)


def collate(samples: list[Sample | Failure]) -> Batch | Failure:
    """Stack samples to a batch; the first failure among them fails it."""
    good: list[Sample] = []
    for sample in samples:
        if isinstance(sample, Failure):
            return sample
        good.append(sample)
    # torch's own stacks straight into the memory that a worker shares with the main process.
    return Batch(**default_collate(good))


def raise_failures(batches: Iterable[Batch | Failure]) -> Iterator[Batch]:
    """Pass batches on, and turn a failure into the error that it was.

    Raises:
        UserError: an image cannot be used.
    """
    for batch in _start(batches):
        if isinstance(batch, Failure):
            raise UserError(batch.message)
        yield batch


def _start(batches: Iterable[Batch | Failure]) -> Iterator[Batch | Failure]:
    """Start a loader with Ctrl-C held back until its processes are there.

    They keep the handler that they start with: deaf, they end when this process does, instead of each with a
    traceback of its own. And an interrupt that came while Python forks would be lost in a hook that swallows
    it.
    """
    if threading.current_thread() is not threading.main_thread():
        return iter(batches)
    pressed: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        return iter(batches)
    finally:
        signal.signal(signal.SIGINT, handler)
        if pressed:
            raise KeyboardInterrupt
