"""What a model answers, whichever way it is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from zoo.card import Card
from zoo.errors import UserError


@dataclass(frozen=True)
class Predictions:
    """What a model answers for N images.

    Attributes:
        embedding: float32 [N, D].
        color_probs: float32 [N, 10]; [N, 0] from a model without that output.
        type_probs: float32 [N, 9]; [N, 0] from a model without that output.
        errors: row -> why that image could not be used; its rows above are NaN.
    """

    embedding: np.ndarray
    color_probs: np.ndarray
    type_probs: np.ndarray
    errors: dict[int, str] = field(default_factory=dict)

    @classmethod
    def empty(cls, card: Card, count: int) -> "Predictions":
        """Make predictions of `count` rows of NaN, to be filled in."""
        embedding, color_probs, type_probs = (
            np.full((count, card.outputs.get(name, 0)), np.nan, np.float32)
            for name in ("embedding", "color_probs", "type_probs")
        )
        return cls(embedding, color_probs, type_probs)

    def fill(
        self, rows: Sequence[int], values: Mapping[str, np.ndarray], model: str, names: Sequence[str]
    ) -> None:
        """Write what a model answered for some rows. Where an embedding is all zeros, it is an error of that
        image: whoever kept it would find it as near to everything as to nothing.

        Args:
            rows: which, M of them.
            values: the model's outputs by name, float32 [M, dimension].
            model: what error messages call it.
            names: what they call the images, M of them.

        Raises:
            UserError: an answer that no sound model gives.
        """
        for name, value in values.items():
            if not np.isfinite(value).all():
                raise UserError(
                    f"{model}: answered {name} with values that are not finite; the model is damaged, or "
                    "does not suit the engine that runs it: export it again"
                )
        told = np.any(values["embedding"] != 0, axis=1)
        for row, name, is_told in zip(rows, names, told, strict=True):
            if not is_told:
                self.errors[row] = (
                    f"{name}: {model} answered an embedding of zeros; where it does for every image, it is "
                    "damaged: export it again"
                )
        good = np.asarray(rows)[told]
        for name, value in values.items():
            getattr(self, name)[good] = value[told]
