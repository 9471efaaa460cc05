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

    def fill(self, rows: Sequence[int], values: Mapping[str, np.ndarray], model: str) -> None:
        """Write what a model answered for some rows.

        Args:
            rows: which, M of them.
            values: the model's outputs by name, float32 [M, dimension].
            model: what error messages call it.

        Raises:
            UserError: an answer that no sound model gives; whoever kept it would find it near everything, or
                nothing.
        """
        for name, value in values.items():
            if not np.isfinite(value).all():
                raise UserError(f"{model}: answered {name} with values that are not finite; {_CURE}")
            if name == "embedding" and not value.any(axis=1).all():
                raise UserError(f"{model}: answered an embedding of zeros; {_CURE}")
            getattr(self, name)[rows] = value


_CURE = "the model is damaged or does not suit the engine that runs it: export it again"
