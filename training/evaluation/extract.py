"""Embeddings and attribute outputs of many images, through the model as it is deployed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from training.data.batches import Failure, Sample, collate, raise_failures
from training.data.images import ImageStore
from training.data.pose_maps import MapSource, PoseInputs, PoseMaps
from training.data.transforms import Geometry, Size
from training.datasets.records import UNKNOWN, Record, keypoints_of
from training.distributed.devices import begin_loading, kind_of, loader_context
from training.distributed.ranks import Ranks
from zoo.errors import UserError
from zoo.inference import InferenceModel, OnnxInference
from zoo.pose import scale_keypoints


@dataclass(frozen=True)
class Extracted:
    """What a model says of N images.

    Attributes:
        embedding: float32 [N, D].
        color_probs: float32 [N, colours], or None where the model tells no colours.
        type_probs: float32 [N, types], likewise.
    """

    embedding: np.ndarray
    color_probs: np.ndarray | None = None
    type_probs: np.ndarray | None = None

    @property
    def color(self) -> np.ndarray:
        """The likeliest colour's index, int64 [N]; `UNKNOWN` where the model tells no colours."""
        return self._likeliest(self.color_probs)

    @property
    def type(self) -> np.ndarray:
        """The likeliest type's index, likewise."""
        return self._likeliest(self.type_probs)

    def _likeliest(self, probabilities: np.ndarray | None) -> np.ndarray:
        if probabilities is None:
            return np.full(len(self.embedding), UNKNOWN, np.int64)
        return probabilities.argmax(1)


class EvaluationSet(Dataset[Sample | Failure]):
    """Images as the encoder prepares them: no augmentation."""

    def __init__(
        self,
        records: Sequence[Record],
        size: Size,
        pose: PoseInputs | None = None,
        images: ImageStore | None = None,
        map_source: MapSource = "auto",
        antialias: bool = True,
    ) -> None:
        """Prepare; `images` are those of the records, where a caller keeps them from one evaluation to the
        next; `antialias` is the card's."""
        self.records, self.size, self.pose = list(records), size, pose or PoseInputs()
        self.images = images or ImageStore([record.path for record in self.records], antialias=antialias)
        self.maps = PoseMaps(self.records, self.pose, map_source, antialias)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample | Failure:
        try:
            record = self.records[index]
            pixels, source_size = self.images.get(index, self.size)
            # What is labelled is compared by name, when all is told.
            sample: Sample = {"image": pixels, "label": index, "color": UNKNOWN, "type": UNKNOWN}
            if self.pose.keypoints:
                sample["keypoints"] = scale_keypoints(keypoints_of(record), source_size, self.size)
            return sample | self.maps.sample(record, Geometry(self.size, self.size), source_size)
        except UserError as error:
            return Failure(str(error))


def extract(
    model: InferenceModel | OnnxInference,
    data: EvaluationSet,
    batch_size: int = 64,
    workers: int = 0,
    description: str = "extract",
) -> Extracted:
    """Run a model over images, in order, in fp32.

    Args:
        model: on its device.
        data: the images.
        batch_size: images at a time.
        workers: processes that load images.
        description: of the progress bar.

    Raises:
        UserError: an image cannot be used.
    """
    device = model.device
    if isinstance(model, InferenceModel):
        model.normalise.channels_last = kind_of(device).channels_last
    parts: tuple[list[np.ndarray], ...] = ([], [], [])
    loader = DataLoader(
        data,
        batch_size,
        num_workers=workers,
        collate_fn=collate,
        multiprocessing_context=loader_context(device, workers),
        worker_init_fn=begin_loading,
    )
    with torch.inference_mode(), tqdm(total=len(data), desc=description, unit="img", leave=False) as bar:
        for loaded in raise_failures(loader):
            batch = loaded.to(device)
            outputs = model(batch.image, batch.keypoints, batch.heatmaps, batch.segments)
            for part, values in zip(parts, outputs, strict=True):
                if values is not None:
                    part.append(values.cpu().numpy())
            bar.update(len(batch))
    embedding, *attributes = (np.concatenate(part) if part else None for part in parts)
    assert embedding is not None, "every model gives an embedding"
    return Extracted(embedding, *attributes)


def own_share(records: Sequence[Record], ranks: Ranks) -> list[Record]:
    """This rank's images: equally many on all ranks, the last ones filled up with the first images again."""
    count = -(-len(records) // ranks.world_size)
    indices = np.resize(np.arange(len(records)), ranks.world_size * count)
    return [records[i] for i in indices[ranks.rank * count : (ranks.rank + 1) * count]]


def extract_shared(
    model: InferenceModel | OnnxInference,
    share: EvaluationSet,
    total: int,
    ranks: Ranks,
    workers: int,
    description: str,
) -> Extracted:
    """Run a model over images, on each rank over its own share.

    Args:
        model: on its device.
        share: of the records that `own_share` gave.
        total: images of all ranks, none counted twice.
        ranks: those that take part.
        workers: processes that load images.
        description: of the progress bar.

    Raises:
        UserError: an image cannot be used.
    """
    own = extract(model, share, workers=workers, description=description)

    def whole(part: np.ndarray) -> np.ndarray:
        return ranks.gather(torch.from_numpy(part))[:total].numpy()

    return Extracted(
        whole(own.embedding),
        color_probs=None if own.color_probs is None else whole(own.color_probs),
        type_probs=None if own.type_probs is None else whole(own.type_probs),
    )
