"""What a model answers, whichever way it is asked."""

from dataclasses import dataclass, field

import numpy as np

from zoo.card import Card


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
