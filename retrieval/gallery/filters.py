"""Filters: which images of the gallery a search may return."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from retrieval.gallery.clock import format_time
from retrieval.gallery.geography import Near
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


def as_parameters(filters: Filters) -> dict[str, Any]:
    """Filters under the names that the REST interface takes; those that do not filter are left out."""
    near = filters.near
    values = {
        "color": list(filters.colors),
        "type": list(filters.types),
        "camera": list(filters.cameras),
        "after": filters.after,
        "before": filters.before,
        "vehicle": list(filters.vehicles),
        "near": None if near is None else f"{near.latitude},{near.longitude},{near.radius:g}",
        "color_confidence": filters.color_confidence or None,
        "type_confidence": filters.type_confidence or None,
    }
    return {name: value for name, value in values.items() if value is not None and value != []}
