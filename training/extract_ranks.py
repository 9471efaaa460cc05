"""Extraction shared out to the ranks: each takes a part of the images, and all get the whole."""

from collections.abc import Sequence

import numpy as np
import torch

from training.extract import EvaluationSet, Extracted, extract
from training.ranks import Ranks
from training.records import Record
from zoo.inference import InferenceModel


def own_share(records: Sequence[Record], ranks: Ranks) -> list[Record]:
    """This rank's images: equally many on all ranks, the last ones filled up with the first images again."""
    count = -(-len(records) // ranks.world_size)
    indices = np.resize(np.arange(len(records)), ranks.world_size * count)
    return [records[i] for i in indices[ranks.rank * count : (ranks.rank + 1) * count]]


def extract_shared(
    model: InferenceModel, share: EvaluationSet, total: int, ranks: Ranks, workers: int, description: str
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

    attributes = (own.color_probs, own.type_probs)
    return Extracted(whole(own.embedding), *(None if part is None else whole(part) for part in attributes))
