"""The fields in which the page shows filters, by the names of `gallery.filters.FIELDS`."""

from collections.abc import Mapping
from datetime import tzinfo
from typing import Any

from retrieval.gallery.clock import format_time, parse_time
from retrieval.gallery.filters import FIELDS, Filters, Kind

_EMPTY: dict[Kind, Any] = {"class": [], "camera": [], "probability": 0}
EMPTY = {field.name: _EMPTY.get(field.kind, "") for field in FIELDS}
"""What each field holds where nothing is asked for."""


def contents(filters: Filters, zone: tzinfo) -> dict[str, Any]:
    """What the fields of these conditions hold, times in a zone; those of no condition are left out."""
    values = filters.parameters()
    for field in FIELDS:
        if field.name in values and field.kind == "time":
            values[field.name] = format_time(values[field.name], zone)
        elif field.name in values and field.kind == "id":
            values[field.name] = ", ".join(map(str, values[field.name]))
    return values


def from_fields(values: Mapping[str, Any], zone: tzinfo) -> Filters:
    """Read the fields, None for one never shown; times are of a zone, unless they name another.

    Raises:
        UserError: one cannot be read.
    """
    times = {field.name for field in FIELDS if field.kind == "time"}
    texts = {field.name for field in FIELDS if field.kind == "id"}
    return Filters.read(
        {
            name: value.replace(",", " ").split()
            if name in texts and value
            else parse_time(value, zone)
            if name in times and value and value.strip()
            else value
            for name, value in values.items()
        }
    )
