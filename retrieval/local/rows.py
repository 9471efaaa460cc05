"""How an entry lies in a row of `gallery.sqlite`."""

from typing import Any

import numpy as np

from retrieval.gallery.entries import Entry, likeliest
from zoo.card import Card

CONTENT = (
    "vehicle_id, camera, time, color, type, color_probs, type_probs, color_confidence, type_confidence, "
    "track_id, latitude, longitude, box_left, box_top, box_right, box_bottom, source, digest, embedding"
)
"""The columns of an image, besides its id, key and picture."""


def values_of(image: Entry, card: Card) -> tuple[Any, ...]:
    """The values of `CONTENT`."""
    color, kind = likeliest(image.color_probs), likeliest(image.type_probs)
    return (
        *(image.vehicle_id, image.camera, image.time),
        None if color is None else card.colors[color[0]],
        None if kind is None else card.types[kind[0]],
        *(_blob(image.color_probs), _blob(image.type_probs)),
        None if color is None else color[1],
        None if kind is None else kind[1],
        *(image.track_id, image.latitude, image.longitude, *(image.box or (None,) * 4)),
        *(image.source, image.digest, _blob(image.embedding)),
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
        box=None if box[0] is None else (box[0], box[1], box[2], box[3]),
        source=source,
        digest=digest,
    )


def _blob(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array, "<f4").tobytes()
