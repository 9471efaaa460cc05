"""Filters as a mask over the rows of a table in memory."""

from collections.abc import Iterable, Sequence

import numpy as np

from retrieval.gallery.entries import Camera
from retrieval.gallery.filters import Filters, class_indices
from retrieval.local.table import Table
from zoo.card import Card


def mask_of(filters: Filters, table: Table, card: Card, cameras: Sequence[Camera]) -> np.ndarray | None:
    """Which rows of `table` meet every condition, bool [N]; None where all of them do.

    Args:
        cameras: where they stand.

    Raises:
        UserError: see `Filters.check`.
    """
    filters.check(card)
    mask: np.ndarray | None = table["alive"].copy() if table.dead else None
    for meets in _conditions(filters, table, card, cameras):
        mask = meets if mask is None else mask & meets
    return mask


def _conditions(
    filters: Filters, table: Table, card: Card, cameras: Sequence[Camera]
) -> Iterable[np.ndarray]:
    if filters.colors:
        yield np.isin(table["color"], class_indices("colour", filters.colors, card.colors))
    if filters.types:
        yield np.isin(table["type"], class_indices("type", filters.types, card.types))
    if filters.cameras:
        yield np.isin(table["camera"], filters.cameras)
    if filters.vehicles:
        yield np.isin(table["vehicle"], filters.vehicles)
    # NaN, an unknown value, compares false with everything.
    if filters.after is not None:
        yield table["time"] >= filters.after
    if filters.before is not None:
        yield table["time"] <= filters.before
    if filters.color_confidence:
        yield table["color_confidence"] >= np.float32(filters.color_confidence)
    if filters.type_confidence:
        yield table["type_confidence"] >= np.float32(filters.type_confidence)
    if filters.near is not None:
        standing = [camera for camera in cameras if camera.latitude is not None]
        places = np.array([(c.latitude, c.longitude) for c in standing], np.float64).reshape(-1, 2)
        inside = filters.near.holds(places[:, 0], places[:, 1])
        chosen = [camera.id for camera, holds in zip(standing, inside, strict=True) if holds]
        own = ~np.isnan(table["latitude"])
        yield np.where(
            own,
            filters.near.holds(table["latitude"], table["longitude"]),
            np.isin(table["camera"], chosen),
        )
