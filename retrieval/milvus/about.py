"""The two collections of a gallery in Milvus: its images, and what is known of it as a whole."""

import json
import uuid
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from retrieval.gallery.entries import Camera, GalleryModel
from retrieval.milvus.connection import MAX_FETCH, Address, Connection
from retrieval.milvus.rows import INDEXES, about_schema, schema_of
from zoo.card import Card

_CENTRING, _CHANGE = "camera_centring", "last_change"
_KNOWN = ["card", "model_hash", "encoder", _CENTRING]
_CAMERA = "camera/"


class About:
    """The collection `NAME_about`, whose rows are names and texts: the model, and a row for each camera."""

    def __init__(self, connection: Connection, address: Address) -> None:
        self._connection = connection
        self._collection = f"{address.collection}_about"

    def exists(self) -> bool:
        """Whether there is a gallery."""
        return bool(self._connection.call("has_collection", self._collection))

    def create(self, model: GalleryModel) -> None:
        """Make it."""
        create_beside(self._connection, self._collection, about_schema())
        values = {"card": model.card.to_json(), "model_hash": model.hash, "encoder": model.encoder}
        self._upsert(values)

    def load(self) -> dict[str, str]:
        """Have Milvus bring it to memory; the model's card, hash and encoder, and more."""
        self._connection.call("load_collection", self._collection)
        rows = self._connection.call("get", self._collection, ids=_KNOWN, output_fields=["id", "value"])
        return {row["id"]: row["value"] for row in rows}

    def set_encoder(self, encoder: str) -> None:
        """Note where the model's weights are now."""
        self._upsert({"encoder": encoder})

    def set_centring(self, is_on: bool) -> None:
        """Remember whether searches take the cameras' means away."""
        self._upsert({_CENTRING: "on" if is_on else "off"})

    def note_change(self) -> None:
        """Tell everybody that images have come, changed or gone."""
        self._upsert({_CHANGE: uuid.uuid4().hex})

    def last_change(self) -> str:
        """What `note_change` last wrote: another text after every change."""
        rows = self._connection.recent("get", self._collection, ids=[_CHANGE], output_fields=["value"])
        return str(rows[0]["value"]) if rows else ""

    def cameras(self) -> list[Camera]:
        """Every camera, by id."""
        rows = self._connection.recent(
            "query",
            self._collection,
            filter=f'id like "{_CAMERA}%"',
            output_fields=["value"],
            limit=MAX_FETCH,
        )
        return sorted((Camera(**json.loads(row["value"])) for row in rows), key=lambda camera: camera.id)

    def set_cameras(self, cameras: Iterable[Camera]) -> None:
        """Describe cameras, or describe them anew."""
        self._upsert({f"{_CAMERA}{c.id}": json.dumps(asdict(c), ensure_ascii=False) for c in cameras})

    def _upsert(self, values: dict[str, str]) -> None:
        rows = [{"id": name, "value": value, "nothing": [0.0, 0.0]} for name, value in values.items()]
        if rows:
            self._connection.call("upsert", self._collection, rows)


def create_images(connection: Connection, address: Address, card: Card, kind: str) -> None:
    """Make the collection of the images, unless a start that was cut short has made it."""
    if not connection.call("has_collection", address.collection):
        connection.call(
            "create_collection",
            address.collection,
            schema=schema_of(card.outputs["embedding"]),
            index_params=index_params(kind, metric_of(card)),
            consistency_level="Strong",
        )


def change_index(connection: Connection, address: Address, card: Card, kind: str) -> None:
    """Have Milvus make another index of the embeddings."""
    connection.call("release_collection", address.collection)
    connection.call("drop_index", address.collection, "embedding")
    connection.call("create_index", address.collection, index_params(kind, metric_of(card)))
    connection.call("load_collection", address.collection)


def metric_of(card: Card) -> str:
    """Milvus' name of the card's metric; vectors of a cosine model are kept at unit length."""
    return "IP" if card.metric == "cosine" else "L2"


def create_beside(connection: Connection, collection: str, schema: Any) -> None:
    """Make a collection beside that of the images: one whose vectors, which Milvus wants, say nothing."""
    connection.call(
        "create_collection",
        collection,
        schema=schema,
        index_params=index_params("FLAT", "L2", "nothing"),
        consistency_level="Strong",
    )


def index_params(kind: str, metric: str, field: str = "embedding") -> Any:
    """How Milvus' client wants an index of a field to be described."""
    from pymilvus import MilvusClient

    wanted = MilvusClient.prepare_index_params()
    wanted.add_index(
        field_name=field, index_name=field, index_type=kind, metric_type=metric, params=INDEXES[kind][0]
    )
    return wanted
