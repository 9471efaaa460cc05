"""How an entry lies in a row of `gallery.sqlite`."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from retrieval.gallery.crops import PassCrop
from retrieval.gallery.entries import PLAIN_FACTS, Entry, box_of, likeliest
from zoo.card import Card

CONTENT = (
    "vehicle_id, camera, time, color, type, color_probs, type_probs, color_confidence, type_confidence, "
    "track_id, latitude, longitude, box_left, box_top, box_right, box_bottom, source, digest, embedding"
)
"""The columns of an image, besides its id, key and picture."""


def values_of(image: Entry, card: Card) -> tuple[Any, ...]:
    """The values of `CONTENT`, as SQLite gives them back."""
    color, kind = likeliest(image.color_probs), likeliest(image.type_probs)
    return (
        image.vehicle_id,
        image.camera,
        _real(image.time),
        None if color is None else card.colors[color[0]],
        None if kind is None else card.types[kind[0]],
        _blob(image.color_probs),
        _blob(image.type_probs),
        None if color is None else color[1],
        None if kind is None else kind[1],
        image.track_id,
        *map(_real, (image.latitude, image.longitude, *(image.box or (None,) * 4))),
        image.source,
        image.digest,
        _blob(image.embedding),
    )


def entry_of(key: str, picture: bytes, row: Mapping[str, Any], crops: tuple[PassCrop, ...] = ()) -> Entry:
    """The entry whose values of `CONTENT` these are, by name."""
    return Entry(
        key=key,
        embedding=np.frombuffer(row["embedding"], "<f4"),
        color_probs=np.frombuffer(row["color_probs"], "<f4"),
        type_probs=np.frombuffer(row["type_probs"], "<f4"),
        picture=picture,
        source=row["source"],
        digest=row["digest"],
        box=box_of(row),
        crops=crops,
        **{name: row[name] for name in PLAIN_FACTS},
    )


def _real(value: float | None) -> float | None:
    """SQLite keeps neither NaN nor the sign of zero."""
    return None if value is None or math.isnan(value) else float(value) + 0.0


def _blob(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array, "<f4").tobytes()
