"""The fields in which the page shows filters, under the names that the REST interface takes."""

from collections.abc import Sequence
from typing import Any

from retrieval.gallery.clock import format_time, parse_time
from retrieval.gallery.filters import Filters
from retrieval.gallery.geography import parse_near
from zoo.errors import UserError

EMPTY: dict[str, Any] = {
    **{"color": [], "type": [], "camera": [], "after": "", "before": "", "near": "", "vehicle": ""},
    **{"color_confidence": 0, "type_confidence": 0},
}
"""Name -> what the field holds where nothing is asked for, in the page's order."""


def as_field(name: str, value: Any) -> Any:
    """A filter's value as its field shows it."""
    if name in ("after", "before"):
        return format_time(value)
    return ", ".join(map(str, value)) if name == "vehicle" else value


def from_fields(values: Sequence[Any]) -> Filters:
    """Read the fields, None for one never shown.

    Raises:
        UserError: one cannot be read.
    """
    given = {name: EMPTY[name] if value is None else value for name, value in zip(EMPTY, values, strict=True)}
    try:
        vehicles = tuple(int(part) for part in given["vehicle"].replace(",", " ").split())
    except ValueError:
        raise UserError(f"{given['vehicle']!r} are no vehicle ids; write whole numbers") from None
    return Filters(
        colors=tuple(given["color"]),
        types=tuple(given["type"]),
        cameras=tuple(given["camera"]),
        after=parse_time(given["after"]) if given["after"].strip() else None,
        before=parse_time(given["before"]) if given["before"].strip() else None,
        vehicles=vehicles,
        near=parse_near(given["near"]) if given["near"].strip() else None,
        color_confidence=float(given["color_confidence"]),
        type_confidence=float(given["type_confidence"]),
    )
