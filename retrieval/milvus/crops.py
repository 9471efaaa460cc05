"""The images of passes in Milvus: a collection beside that of the gallery's images, a row for each pass."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from retrieval.gallery.crops import PassCrop
from retrieval.gallery.entries import Entry
from retrieval.milvus.about import create_beside
from retrieval.milvus.connection import Address, Connection
from retrieval.milvus.rows import crops_schema, pieces_of, row_id
from zoo.errors import UserError

_ROWS_A_REQUEST = 20
"""A pass's images take some 100 kB."""


class Crops:
    """The collection `NAME_crops`, made with the first pass: galleries of before have none.

    A pass's images are written before it and removed after it, so that a pass that can be seen has its own.
    What a write that was cut short left behind belongs to no image, and the next one of its key replaces it.
    """

    def __init__(self, connection: Connection, address: Address) -> None:
        self._connection = connection
        self._collection = f"{address.collection}_crops"
        self._is_there = False

    def is_any(self) -> bool:
        """Whether some image is a pass of several."""
        asked: dict[str, Any] = {"filter": "count > 1", "limit": 1, "output_fields": ["id"]}
        return self._exists() and bool(self._connection.recent("query", self._collection, **asked))

    def read(self, keys: Sequence[str], is_newest: bool = True) -> dict[str, tuple[PassCrop, ...]]:
        """The images of those keys that have some; without `is_newest` as `Connection.recent` gives them."""
        names = {row_id(key): key for key in keys}
        if not names or not self._exists():
            return {}
        ids, ask = list(names), self._connection.call if is_newest else self._connection.recent
        found = {}
        for start in range(0, len(ids), _ROWS_A_REQUEST):
            part = ids[start : start + _ROWS_A_REQUEST]
            for row in ask("get", self._collection, ids=part, output_fields=["id", "crops"]):
                found[names[row["id"]]] = _crops_of("".join(row["crops"]))
        return found

    def write(self, entries: Sequence[Entry]) -> None:
        """Keep the images of these entries in the place of those that were kept."""
        passes = [entry for entry in entries if entry.crops]
        self.remove([row_id(entry.key) for entry in entries if not entry.crops])
        if passes and not self._exists():
            self._create()
        for start in range(0, len(passes), _ROWS_A_REQUEST):
            rows = [
                {
                    "id": row_id(entry.key),
                    "count": len(entry.crops),
                    "crops": pieces_of(_text_of(entry.crops)),
                    "nothing": [0.0, 0.0],
                }
                for entry in passes[start : start + _ROWS_A_REQUEST]
            ]
            self._connection.call("upsert", self._collection, rows)

    def remove(self, ids: Sequence[str]) -> None:
        """Take the images of passes away, by the ids of their rows."""
        if ids and self._exists():
            self._connection.call("delete", self._collection, ids=list(ids))

    def _create(self) -> None:
        try:
            create_beside(self._connection, self._collection, crops_schema())
        except UserError:
            # Another writer may have been quicker.
            if not self._exists():
                raise

    def _exists(self) -> bool:
        if not self._is_there and self._connection.call("has_collection", self._collection):
            self._connection.call("load_collection", self._collection)
            self._is_there = True
        return self._is_there


def _text_of(crops: Sequence[PassCrop]) -> str:
    """JSON of all, with bytes in base 64."""
    return json.dumps(
        [
            {
                "picture": base64.b64encode(crop.picture).decode(),
                "quality": float(crop.quality),
                "time": None if crop.time is None else float(crop.time),
                "box": [float(side) for side in crop.box],
                "embedding": base64.b64encode(np.asarray(crop.embedding, "<f4").tobytes()).decode(),
            }
            for crop in crops
        ]
    )


def _crops_of(text: str) -> tuple[PassCrop, ...]:
    return tuple(
        PassCrop(
            base64.b64decode(crop["picture"]),
            crop["quality"],
            crop["time"],
            tuple(crop["box"]),
            np.frombuffer(base64.b64decode(crop["embedding"]), "<f4"),
        )
        for crop in json.loads(text)
    )
