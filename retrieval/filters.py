"""Filters: which images of the gallery a search may return."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from retrieval.clock import format_time
from retrieval.entries import Camera
from retrieval.geography import Near
from retrieval.table import Table
from zoo.card import Card
from zoo.errors import UserError


@dataclass(frozen=True)
class Filters:
    """Conditions that a result has to meet, all of them; an empty one does not filter.

    An image whose colour, type, camera, time or place is unknown does not meet a condition on it.

    Attributes:
        colors: any of these colour names.
        types: any of these type names.
        cameras: any of these camera ids.
        after: seconds; the image's time is this or later.
        before: seconds; the image's time is this or earlier.
        vehicles: any of these vehicle ids.
        near: the image, or its camera where the image has no place of its own, is in this circle.
        color_confidence: the image's colour has at least this probability.
        type_confidence: likewise its type.
    """

    colors: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    cameras: tuple[int, ...] = ()
    after: float | None = None
    before: float | None = None
    vehicles: tuple[int, ...] = ()
    near: Near | None = None
    color_confidence: float = 0.0
    type_confidence: float = 0.0

    def check(self, card: Card) -> None:
        """Tell what is wrong with the conditions.

        Raises:
            UserError: a colour or type that the card does not have, a time range that ends too early, no
                circle, or no probability.
        """
        class_indices("colour", self.colors, card.colors)
        class_indices("type", self.types, card.types)
        if self.after is not None and self.before is not None and self.after > self.before:
            raise UserError(
                f"the time range ends ({format_time(self.before)}) before it begins "
                f"({format_time(self.after)}); swap them"
            )
        if self.near is not None:
            self.near.check()
        for what, value in (("colour", self.color_confidence), ("type", self.type_confidence)):
            if not 0 <= value <= 1:
                raise UserError(f"a {what} confidence of {value:g}: a probability from 0 to 1 is expected")

    def mask(self, table: Table, card: Card, cameras: Sequence[Camera]) -> np.ndarray | None:
        """Which rows of `table` meet every condition, bool [N]; None where all of them do.

        Args:
            cameras: where they stand.

        Raises:
            UserError: see `check`.
        """
        self.check(card)
        mask: np.ndarray | None = table["alive"].copy() if table.dead else None
        for meets in self._conditions(table, card, cameras):
            mask = meets if mask is None else mask & meets
        return mask

    def _conditions(self, table: Table, card: Card, cameras: Sequence[Camera]) -> Iterable[np.ndarray]:
        if self.colors:
            yield np.isin(table["color"], class_indices("colour", self.colors, card.colors))
        if self.types:
            yield np.isin(table["type"], class_indices("type", self.types, card.types))
        if self.cameras:
            yield np.isin(table["camera"], self.cameras)
        if self.vehicles:
            yield np.isin(table["vehicle"], self.vehicles)
        # NaN, an unknown value, compares false with everything.
        if self.after is not None:
            yield table["time"] >= self.after
        if self.before is not None:
            yield table["time"] <= self.before
        if self.color_confidence:
            yield table["color_confidence"] >= np.float32(self.color_confidence)
        if self.type_confidence:
            yield table["type_confidence"] >= np.float32(self.type_confidence)
        if self.near is not None:
            standing = [camera for camera in cameras if camera.latitude is not None]
            places = np.array([(c.latitude, c.longitude) for c in standing], np.float64).reshape(-1, 2)
            inside = self.near.holds(places[:, 0], places[:, 1])
            chosen = [camera.id for camera, holds in zip(standing, inside, strict=True) if holds]
            own = ~np.isnan(table["latitude"])
            yield np.where(
                own,
                self.near.holds(table["latitude"], table["longitude"]),
                np.isin(table["camera"], chosen),
            )


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
