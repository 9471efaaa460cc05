"""How an entry lies in a row of a Milvus collection, and what such a collection looks like."""

import base64
import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from retrieval.gallery.crops import PassCrop
from retrieval.gallery.entries import LOOKS, PLAIN_FACTS, SIDES, Entry, Facts, box_of, likeliest
from zoo.card import Card
from zoo.errors import UserError

SHOWN = ["name", *PLAIN_FACTS, *SIDES, *LOOKS]
"""Fields that a search result is made of."""

MAX_TEXT = 65_535
MAX_CLASSES = 1024
_PIECE = 60_000
"""Characters of a piece of a picture: Milvus' longest text is a little longer."""
_PIECES, _PIECES_OF_CROPS = 64, 1024

_INTEGERS = ("vehicle_id", "track_id", "camera")
_NUMBERS = ("time", "latitude", "longitude", *SIDES)
UNKNOWN_NUMBER = -1e300
UNKNOWN: dict[str, int | float] = {
    **dict.fromkeys(_INTEGERS, -(2**62)),
    **dict.fromkeys(_NUMBERS, UNKNOWN_NUMBER),
    **dict.fromkeys(("color", "type", "color_confidence", "type_confidence"), -1),
}
"""What stands for an unknown value of a field. Milvus has fields without a value since release 2.5 alone; in
collections that were made with them, an unknown value may be either."""

INDEXES: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    "FLAT": ({}, {}),
    "AUTOINDEX": ({}, {}),
    "HNSW": ({"M": 32, "efConstruction": 200}, {"ef": 512}),
    "IVF_FLAT": ({"nlist": 1024}, {"nprobe": 64}),
    "IVF_SQ8": ({"nlist": 1024}, {"nprobe": 64}),
    "IVF_RABITQ": ({"nlist": 1024}, {"nprobe": 64}),
    "DISKANN": ({}, {"search_list": 512}),
}
"""Name of a kind of index -> how it is built and searched. FLAT is exact."""


def index_kind(spec: str | None) -> str:
    """The kind of index that `--index` asks for; exact where nothing is said.

    Raises:
        UserError: Milvus has no such kind.
    """
    kind = "FLAT" if spec in (None, "auto", "exact") else str(spec).upper()
    if kind not in INDEXES:
        raise UserError(f"--index {spec}: not one of Milvus'; choose from exact, {', '.join(INDEXES)}")
    return kind


def row_id(key: str) -> str:
    """The primary key of an image's row: no expression of Milvus can quote every text."""
    return hashlib.blake2b(key.encode(), digest_size=16).hexdigest()


def schema_of(dimension: int) -> Any:
    """The collection of the images."""
    from pymilvus import DataType, MilvusClient

    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=32)
    schema.add_field("name", DataType.VARCHAR, max_length=MAX_TEXT)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=dimension)
    for name in _INTEGERS:
        schema.add_field(name, DataType.INT64)
    for name in _NUMBERS:
        schema.add_field(name, DataType.DOUBLE)
    for name in ("color", "type"):
        schema.add_field(name, DataType.INT16)
        schema.add_field(f"{name}_confidence", DataType.FLOAT)
        schema.add_field(
            f"{name}_probs", DataType.ARRAY, element_type=DataType.FLOAT, max_capacity=MAX_CLASSES
        )
    for name in ("source", "digest"):
        schema.add_field(name, DataType.VARCHAR, max_length=MAX_TEXT)
    _add_pieces(schema, "picture", _PIECES)
    return schema


def crops_schema() -> Any:
    """The collection of the images of passes."""
    from pymilvus import DataType, MilvusClient

    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=32)
    schema.add_field("count", DataType.INT64)
    _add_pieces(schema, "crops", _PIECES_OF_CROPS)
    schema.add_field("nothing", DataType.FLOAT_VECTOR, dim=2)
    return schema


def _add_pieces(schema: Any, name: str, most: int) -> None:
    """Add a field for a text that is longer than Milvus' longest."""
    from pymilvus import DataType

    schema.add_field(
        name, DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=most, max_length=MAX_TEXT
    )


def pieces_of(text: str) -> list[str]:
    """A text as such a field takes it."""
    return [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]


def about_schema() -> Any:
    """The collection of what is known of the gallery as a whole; without a field of vectors there is none."""
    from pymilvus import DataType, MilvusClient

    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("value", DataType.VARCHAR, max_length=MAX_TEXT)
    schema.add_field("nothing", DataType.FLOAT_VECTOR, dim=2)
    return schema


def row_of(entry: Entry) -> dict[str, Any]:
    """The row of an image."""
    color, kind = likeliest(entry.color_probs), likeliest(entry.type_probs)
    row = {
        "id": row_id(entry.key),
        "name": entry.key,
        "embedding": entry.embedding.tolist(),
        **{name: getattr(entry, name) for name in PLAIN_FACTS},
        **dict(zip(SIDES, entry.box or (None,) * 4, strict=True)),
        "color": None if color is None else color[0],
        "color_confidence": None if color is None else color[1],
        "color_probs": entry.color_probs.tolist(),
        "type": None if kind is None else kind[0],
        "type_confidence": None if kind is None else kind[1],
        "type_probs": entry.type_probs.tolist(),
        "source": entry.source,
        "digest": entry.digest,
        "picture": pieces_of(base64.b64encode(entry.picture).decode()),
    }
    return {name: UNKNOWN[name] if value is None else value for name, value in row.items()}


def as_known(row: dict[str, Any]) -> dict[str, Any]:
    """A row as Milvus gave it, with None for what is unknown."""
    return {
        name: None if name in UNKNOWN and value == UNKNOWN[name] else value for name, value in row.items()
    }


def picture_of(row: dict[str, Any]) -> bytes:
    """The JPEG of a row."""
    return base64.b64decode("".join(row["picture"]))


def entry_of(row: dict[str, Any], crops: tuple[PassCrop, ...] = ()) -> Entry:
    """The entry whose row it is, with the images that it is made of."""
    return Entry(
        key=row["name"],
        embedding=np.asarray(row["embedding"], np.float32),
        color_probs=np.asarray(row["color_probs"], np.float32),
        type_probs=np.asarray(row["type_probs"], np.float32),
        picture=picture_of(row),
        source=row["source"],
        digest=row["digest"],
        box=box_of(row),
        crops=crops,
        **{name: row[name] for name in PLAIN_FACTS},
    )


def are_equal(first: Entry, second: Entry) -> bool:
    """Whether two entries say the same."""
    plain = ("key", "picture", "source", "digest", *Facts.__dataclass_fields__)
    arrays = ("embedding", "color_probs", "type_probs")
    return (
        len(first.crops) == len(second.crops)
        and _are_same(first, second, plain, arrays)
        and all(
            _are_same(one, other, ("picture", "quality", "time", "box"), ("embedding",))
            for one, other in zip(first.crops, second.crops, strict=True)
        )
    )


def _are_same(first: object, second: object, plain: Iterable[str], arrays: Iterable[str]) -> bool:
    return all(getattr(first, name) == getattr(second, name) for name in plain) and all(
        np.array_equal(getattr(first, name), getattr(second, name)) for name in arrays
    )


def as_result_row(row: dict[str, Any], card: Card) -> dict[str, Any]:
    """A row with the fields `SHOWN`, as `results_of` takes it."""
    color, kind = row["color"], row["type"]
    return row | {
        "key": row["name"],
        "color": None if color is None else card.colors[color],
        "type": None if kind is None else card.types[kind],
    }
