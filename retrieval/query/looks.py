"""Soft attributes: what colour and type say of the order of the first results; nothing is hidden for them.

A filter on what a model predicts hides the images that it is wrong about. As evidence, an image whose colour
is c with probability q(c), searched for with p(c) of C colours, moves by the log-likelihood ratio of showing
the same, log(C sum p(c) q(c)). What that is worth beside the distance is fitted with the model's sameness
calibration. Of an image, galleries keep the likeliest class and its probability; the rest is shared out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from retrieval.gallery.entries import Result
from retrieval.gallery.filters import Filters
from zoo.card import Card
from zoo.sameness import agreement

HEAD = 200
"""Of the nearest images, so many are put in order."""


@dataclass(frozen=True)
class Looks:
    """Colours and types that order the first results and hide none, by name.

    Where none is named of the colours or the types, what the model says of the query stands in their place.
    """

    colors: tuple[str, ...] = ()
    types: tuple[str, ...] = ()

    @classmethod
    def of(cls, filters: Filters) -> "Looks":
        """Those that filters name, which then hide nothing; see `without_looks`."""
        return cls(filters.colors, filters.types)

    def check(self, card: Card) -> None:
        """Raise `UserError` where the model does not tell such a colour or type."""
        Filters(self.colors, self.types).check(card)

    def beside(self, filters: Filters) -> "Looks | None":
        """What is left of them beside filters, which hide the other colours or types; None for nothing."""
        left = Looks(() if filters.colors else self.colors, () if filters.types else self.types)
        is_nothing_left = left == Looks() and self != left
        return None if is_nothing_left else left


def without_looks(filters: Filters | None) -> Filters:
    """The conditions without colours and types."""
    return replace(filters or Filters(), colors=(), types=())


def stated(names: Sequence[str], predicted: Mapping[str, float]) -> Mapping[str, float]:
    """What is looked for: the names that somebody gave, else what the model says of the query."""
    return dict.fromkeys(names, 1 / len(names)) if names else predicted


def by_looks(
    found: list[Result],
    colors: Mapping[str, float],
    types: Mapping[str, float],
    classes: tuple[int, int],
    worth: tuple[float, float],
) -> list[Result]:
    """Put the first results in order by distance and looks.

    Args:
        found: nearest first.
        colors, types: that are looked for, by name, with probabilities.
        classes: how many colours and types the model knows.
        worth: see `zoo.sameness.Sameness.looks`.
    """
    head, rest = found[:HEAD], found[HEAD:]
    place = np.log(np.maximum([result.distance or 0.0 for result in head], 1e-12))
    for wanted, known, share, told in (
        (colors, classes[0], worth[0], [(each.color, each.color_confidence) for each in head]),
        (types, classes[1], worth[1], [(each.type, each.type_confidence) for each in head]),
    ):
        for row, (name, confidence) in enumerate(told):
            if wanted and name is not None and confidence is not None:
                place[row] -= share * float(agreement(wanted.get(name, 0.0), confidence, known))
    return [head[row] for row in np.argsort(place, kind="stable")] + rest
