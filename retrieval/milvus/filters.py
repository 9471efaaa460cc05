"""Filters as an expression that Milvus evaluates inside its search."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from retrieval.gallery.entries import Camera
from retrieval.gallery.filters import Filters, class_indices
from retrieval.gallery.geography import Near
from retrieval.milvus.rows import UNKNOWN_NUMBER
from zoo.card import Card

METRES_A_DEGREE = 111_000.0
"""Of latitude, a little less than there are, so that a box around a circle is a little too large."""

IS_TIME_KNOWN = f"time > {UNKNOWN_NUMBER!r}"


def expression_of(filters: Filters, card: Card, cameras: Sequence[Camera]) -> str:
    """The expression; empty where nothing is filtered.

    It consists of numbers alone, so that nothing has to be quoted. Of a place, Milvus is asked for a box
    around the circle, and for all images of the cameras inside: `holds` has the last word.

    Raises:
        UserError: see `Filters.check`.
    """
    filters.check(card)
    terms = []
    if filters.colors:
        terms.append(_any("color", class_indices("colour", filters.colors, card.colors)))
    if filters.types:
        terms.append(_any("type", class_indices("type", filters.types, card.types)))
    if filters.cameras:
        terms.append(_any("camera", filters.cameras))
    if filters.vehicles:
        terms.append(_any("vehicle_id", filters.vehicles))
    if filters.after is not None:
        terms.append(f"time >= {float(filters.after)!r}")
    if filters.before is not None:
        terms.append(f"{IS_TIME_KNOWN} and time <= {float(filters.before)!r}")
    for name in ("color_confidence", "type_confidence"):
        if least := getattr(filters, name):
            # The field is of single precision, and so is what it is compared with in a folder.
            terms.append(f"{name} >= {float(np.float32(least))!r}")
    if filters.near is not None:
        near = _cameras_inside(filters.near, cameras)
        standing = f" or {_any('camera', near)}" if near else ""
        terms.append(f"(({_box(filters.near)}){standing})")
    return " and ".join(terms)


def holds(near: Near, row: dict[str, Any]) -> bool:
    """Whether a row that met the expression lies in the circle itself."""
    if row["latitude"] is None:
        return True
    return bool(near.holds(np.array(row["latitude"]), np.array(row["longitude"])))


def _any(name: str, values: Sequence[int]) -> str:
    return f"{name} in [{', '.join(str(int(value)) for value in values)}]"


def _cameras_inside(near: Near, cameras: Sequence[Camera]) -> list[int]:
    standing = [camera for camera in cameras if camera.latitude is not None]
    places = np.array([(c.latitude, c.longitude) for c in standing], np.float64).reshape(-1, 2)
    inside = near.holds(places[:, 0], places[:, 1])
    return [camera.id for camera, holds in zip(standing, inside, strict=True) if holds]


def _box(near: Near) -> str:
    reach = near.radius / METRES_A_DEGREE
    south, north = near.latitude - reach, near.latitude + reach
    box = f"latitude >= {south!r} and latitude <= {north!r}"
    if south <= -89 or north >= 89:
        return box  # all longitudes are near where a pole is
    # Meridians are nearest to each other at the end that lies nearer to a pole.
    wide = reach / math.cos(math.radians(max(abs(south), abs(north))))
    if wide >= 180:
        return box
    west, east = near.longitude - wide, near.longitude + wide
    if west < -180:
        return f"{box} and (longitude >= {west + 360!r} or longitude <= {east!r})"
    if east > 180:
        return f"{box} and (longitude >= {west!r} or longitude <= {east - 360!r})"
    return f"{box} and longitude >= {west!r} and longitude <= {east!r}"
