"""Filters: which images of the gallery a search may return."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from retrieval.clock import format_time
from retrieval.table import Table
from zoo.card import Card
from zoo.errors import UserError


@dataclass(frozen=True)
class Filters:
    """Conditions that a result has to meet, all of them; an empty one does not filter.

    An image whose colour, type, camera or time is unknown does not meet a condition on it.

    Attributes:
        colors: any of these colour names.
        types: any of these type names.
        cameras: any of these camera ids.
        after: seconds; the image's time is this or later.
        before: seconds; the image's time is this or earlier.
    """

    colors: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    cameras: tuple[int, ...] = ()
    after: float | None = None
    before: float | None = None

    def check(self, card: Card) -> None:
        """Tell what is wrong with the conditions.

        Raises:
            UserError: a colour or type that the card does not have, or a time range that ends too early.
        """
        class_indices("colour", self.colors, card.colors)
        class_indices("type", self.types, card.types)
        if self.after is not None and self.before is not None and self.after > self.before:
            raise UserError(
                f"the time range ends ({format_time(self.before)}) before it begins "
                f"({format_time(self.after)}); swap them"
            )

    def rows(self, table: Table, card: Card) -> np.ndarray | None:
        """Return the positions in `table` that meet every condition, int64 [M]; None where nothing filters.

        Raises:
            UserError: see `check`.
        """
        self.check(card)
        mask: np.ndarray | None = None
        for meets in self._conditions(table, card):
            mask = meets if mask is None else mask & meets
        return None if mask is None else np.flatnonzero(mask)

    def _conditions(self, table: Table, card: Card) -> Iterable[np.ndarray]:
        if self.colors:
            yield np.isin(table.color, class_indices("colour", self.colors, card.colors))
        if self.types:
            yield np.isin(table.type, class_indices("type", self.types, card.types))
        if self.cameras:
            yield np.isin(table.camera, self.cameras)
        # NaN, an unknown time, compares false with everything.
        if self.after is not None:
            yield table.time >= self.after
        if self.before is not None:
            yield table.time <= self.before


def class_indices(what: str, names: Iterable[str], known: tuple[str, ...]) -> list[int]:
    """Turn class names into indices.

    Raises:
        UserError: a name that is not `known`.
    """
    indices = []
    for name in names:
        if name not in known:
            raise UserError(f"no {what} is named {name!r}; choose from {', '.join(known)}")
        indices.append(known.index(name))
    return indices
