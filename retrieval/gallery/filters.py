"""Filters: which images of the gallery a search may return, and how people say so."""

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from retrieval.gallery.clock import format_time, parse_time
from retrieval.gallery.geography import Near, parse_near
from zoo.card import Card
from zoo.errors import UserError
from zoo.numbers import plain

INT64 = {"ge": -(2**63), "le": 2**63 - 1}

Kind = Literal["class", "camera", "id", "time", "place", "probability"]


@dataclass(frozen=True)
class FilterField:
    """A condition as people give it: over REST, on the page, on the command line, in plain words.

    Attributes:
        name: over REST; on the command line with dashes.
        kind: what its values are.
        help: what it asks for.
        form: how a value is written.
    """

    name: str
    kind: Kind
    help: str
    form: str

    @property
    def is_multiple(self) -> bool:
        """Whether several values may be given, one of which has to be met."""
        return self.kind in ("class", "camera", "id")

    @property
    def attribute(self) -> str:
        """Its name in `Filters`."""
        return f"{self.name}s" if self.is_multiple else self.name

    def read(self, value: Any) -> Any:
        """One value, of a text or of what already is one.

        Raises:
            UserError: it cannot be read.
        """
        if self.kind in ("camera", "id"):
            return _id(value, self.name)
        return _READ[self.kind](value) if isinstance(value, str) else value

    def write(self, value: Any) -> Any:
        """What `Filters` holds, as JSON; None where it does not filter."""
        if self.is_multiple:
            return list(value) or None
        if isinstance(value, Near):
            return f"{value.latitude},{value.longitude},{value.radius:g}"
        return value or None if self.kind == "probability" else value


def _id(value: Any, what: str) -> int:
    try:
        number = int(plain(value))
    except ValueError:
        number = INT64["le"] + 1
    if not INT64["ge"] <= number <= INT64["le"]:
        raise UserError(f"{value} is not a {what} id; write a whole number of 64 bits")
    return number


def _probability(text: str) -> float:
    try:
        return float(plain(text))
    except ValueError:
        raise UserError(f"{text!r} is not a probability; write a number from 0 to 1") from None


_READ: dict[Kind, Callable[[Any], Any]] = {
    "class": str,
    "time": parse_time,
    "place": parse_near,
    "probability": _probability,
}

FIELDS = (
    FilterField("color", "class", "any of these colours", "NAME"),
    FilterField("type", "class", "any of these types", "NAME"),
    FilterField("camera", "camera", "any of these camera ids", "ID"),
    FilterField("after", "time", "this time or later: seconds, 8:05:30, or an ISO date", "TIME"),
    FilterField("before", "time", "this time or earlier, written likewise", "TIME"),
    FilterField("near", "place", "the image or its camera is in this circle", "LATITUDE,LONGITUDE,METRES"),
    FilterField("vehicle", "id", "any of these vehicle ids", "ID"),
    FilterField("color_confidence", "probability", "the colour's least probability", "P"),
    FilterField("type_confidence", "probability", "the type's least probability", "P"),
)


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

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "Filters":
        """Read conditions by the names of `FIELDS`; empty ones do not filter.

        Raises:
            UserError: a value that cannot be read, or a name that is none of them.
        """
        fields = {field.name: field for field in FIELDS}
        read: dict[str, Any] = {}
        for name, value in values.items():
            if name not in fields:
                raise UserError(unknown_field(name, fields))
            if value in (None, [], ()) or (isinstance(value, str) and not value.strip()):
                continue
            field = fields[name]
            read[field.attribute] = tuple(map(field.read, value)) if field.is_multiple else field.read(value)
        return cls(**read)

    def parameters(self) -> dict[str, Any]:
        """The conditions by the names of `FIELDS`, as JSON; those that do not filter are left out."""
        values = {field.name: field.write(getattr(self, field.attribute)) for field in FIELDS}
        return {name: value for name, value in values.items() if value is not None}

    def check(self, card: Card) -> None:
        """Tell what is wrong with the conditions.

        Raises:
            UserError: a condition on what the model does not predict, which no image could meet; a colour or
                type that the card does not have, a time range that ends too early, no
                circle, or no probability.
        """
        for what, output, asked in (
            ("colour", "color_probs", self.colors or self.color_confidence),
            ("type", "type_probs", self.types or self.type_confidence),
        ):
            if asked and output not in card.outputs:
                raise UserError(f"{card.name} predicts no {what}; leave out the filter on it")
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


def unknown_field(name: str, known: Collection[str]) -> str:
    """Say that there is no such field, and which one may be meant."""
    near = difflib.get_close_matches(name, known, n=1)
    meant = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known)) or 'none here'}"
    return f"there is no field {name!r}; {meant}"
