"""How an entry lies in a row of `gallery.sqlite`, and what a result is made of."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from retrieval.gallery.entries import Box, Camera, Entry, Result, camera_of, likeliest
from zoo.card import Card

CONTENT = (
    "vehicle_id, camera, time, color, type, color_probs, type_probs, color_confidence, type_confidence, "
    "track_id, latitude, longitude, box_left, box_top, box_right, box_bottom, source, digest, embedding"
)
"""The columns of an image, besides its id, key and picture."""


RESULT = (
    "key, vehicle_id, track_id, camera, time, latitude, longitude, color, color_confidence, type, "
    "type_confidence, box_left, box_top, box_right, box_bottom"
)
"""The columns that a result is made of."""


def values_of(image: Entry, card: Card) -> tuple[Any, ...]:
    """The values of `CONTENT`."""
    color, kind = likeliest(image.color_probs), likeliest(image.type_probs)
    return (
        image.vehicle_id,
        image.camera,
        image.time,
        None if color is None else card.colors[color[0]],
        None if kind is None else card.types[kind[0]],
        _blob(image.color_probs),
        _blob(image.type_probs),
        None if color is None else color[1],
        None if kind is None else kind[1],
        image.track_id,
        image.latitude,
        image.longitude,
        *(image.box or (None,) * 4),
        image.source,
        image.digest,
        _blob(image.embedding),
    )


def entry_of(key: str, picture: bytes, values: tuple[Any, ...]) -> Entry:
    """The entry whose values of `CONTENT` these are."""
    (vehicle, camera, time, _, _, color_probs, type_probs, _, _, track, latitude, longitude, *box) = values[
        :16
    ]
    source, digest, embedding = values[16:]
    return Entry(
        key=key,
        embedding=np.frombuffer(embedding, "<f4"),
        color_probs=np.frombuffer(color_probs, "<f4"),
        type_probs=np.frombuffer(type_probs, "<f4"),
        picture=picture,
        vehicle_id=vehicle,
        track_id=track,
        camera=camera,
        time=time,
        latitude=latitude,
        longitude=longitude,
        box=_box(box),
        source=source,
        digest=digest,
    )


def result_of(
    values: tuple[Any, ...],
    cameras: Mapping[int, Camera],
    rank: int,
    score: float | None = None,
    distance: float | None = None,
) -> Result:
    """The result whose values of `RESULT` these are."""
    key, vehicle, track, camera, time, latitude, longitude, color, color_sure, kind, type_sure, *box = values
    return Result(
        key,
        rank,
        score,
        distance,
        color=color,
        color_confidence=color_sure,
        type=kind,
        type_confidence=type_sure,
        seen_by=camera_of(camera, cameras),
        vehicle_id=vehicle,
        track_id=track,
        camera=camera,
        time=time,
        latitude=latitude,
        longitude=longitude,
        box=_box(box),
    )


def _box(sides: list[float | None]) -> Box | None:
    left, top, right, bottom = sides
    if left is None or top is None or right is None or bottom is None:
        return None
    return left, top, right, bottom


def _blob(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array, "<f4").tobytes()
