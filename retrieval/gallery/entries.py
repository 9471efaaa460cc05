"""What goes into a gallery and what comes out of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, tzinfo
from typing import Any, NamedTuple

import numpy as np

from retrieval.gallery.clock import format_time
from retrieval.gallery.crops import PassCrop
from zoo.card import Card

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of the source image, with EXIF rotation applied."""


@dataclass(frozen=True)
class GalleryModel:
    """The model whose embeddings a gallery holds.

    Attributes:
        card: the model's card; its metric says how embeddings are compared.
        hash: identifies the weights; embeddings of different hashes are never mixed.
        encoder: the spec that the embeddings were made with, opened again when a command names none.
    """

    card: Card
    hash: str
    encoder: str = ""


@dataclass(frozen=True)
class Camera:
    """A camera of the network, as `cameras.json` describes it; degrees where its place is known."""

    id: int
    name: str
    latitude: float | None = None
    longitude: float | None = None

    @classmethod
    def unnamed(cls, id: int) -> "Camera":
        """A camera that nobody has described."""
        return cls(id, f"camera {id}")

    @property
    def place(self) -> tuple[float, float] | None:
        """Latitude and longitude in degrees, where both are known."""
        return _place(self.latitude, self.longitude)

    @property
    def is_named(self) -> bool:
        """Whether somebody has given it a name."""
        return self.name != f"camera {self.id}"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of an image besides its looks.

    Attributes:
        vehicle_id: the vehicle's identity where it is known.
        track_id: the track within which a camera followed the vehicle, where it is known.
        camera: the camera's id where it is known.
        time: seconds, since the recording's start or since 1970, as the source counts.
        latitude, longitude: degrees, where the image has a place of its own; without one it is its camera's.
        box: of the vehicle in the source image, where it is a part of it.
    """

    vehicle_id: int | None = None
    track_id: int | None = None
    camera: int | None = None
    time: float | None = None
    latitude: float | None = None
    longitude: float | None = None
    box: Box | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """These values alone, by name."""
        return {each.name: getattr(self, each.name) for each in fields(Facts)}


@dataclass(frozen=True, eq=False)
class Entry(Facts):
    """One vehicle image on its way into a gallery: what is known of it, and its looks.

    Attributes:
        key: the image's name, unique in the gallery.
        embedding: float32 [D].
        color_probs: float32 [C], or empty for a model without the colour branch.
        type_probs: float32 [T], or empty likewise.
        picture: a small JPEG to show; the gallery never goes back to the source file.
        source: where the image came from, for people to read.
        digest: of the source's bytes, so that a changed file is noticed.
        crops: the images of a pass, the best first, of which `embedding` is the mean by quality; none where
            the entry is one image.
    """

    key: str
    embedding: np.ndarray
    color_probs: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    type_probs: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    picture: bytes = b""
    source: str = ""
    digest: str = ""
    crops: tuple[PassCrop, ...] = ()


class Origin(NamedTuple):
    """Where an entry came from: its source, and the digest that its source had."""

    source: str
    digest: str


@dataclass(frozen=True)
class Result(Facts):
    """One image of an answer: found by a search, listed, exported or drawn.

    Attributes:
        key: the image's name.
        rank: its place in the answer, from 1.
        score: similarity for people, 0 to 1, falling strictly with the distance; None where nothing was
            compared, as in a search by attributes.
        distance: in the card's metric, computed in float64 from the stored embeddings; None likewise.
        probability: that it shows the query's vehicle; None where the model has no sameness calibration.
        zone: in which its time is told to people.
        false_match_rate: how often the nearest of so many strangers comes at least as near; None likewise.
        color, type: class names, None where the model does not tell.
        color_confidence, type_confidence: the probability of that colour and type.
        seen_by: the camera.
    """

    key: str
    rank: int = 1
    score: float | None = None
    distance: float | None = None
    color: str | None = None
    color_confidence: float | None = None
    type: str | None = None
    type_confidence: float | None = None
    seen_by: Camera | None = None
    probability: float | None = None
    false_match_rate: float | None = None
    zone: tzinfo = UTC

    @classmethod
    def of(cls, entry: Entry, card: Card) -> "Result":
        """What an entry looks like in an answer, without its camera's name."""
        color, kind = likeliest(entry.color_probs), likeliest(entry.type_probs)
        return cls(
            key=entry.key,
            color=None if color is None else card.colors[color[0]],
            color_confidence=None if color is None else color[1],
            type=None if kind is None else card.types[kind[0]],
            type_confidence=None if kind is None else kind[1],
            **entry.facts,
        )

    @property
    def camera_name(self) -> str | None:
        """What the camera is called, None where it is unknown which one it was."""
        return None if self.seen_by is None else self.seen_by.name

    @property
    def place(self) -> tuple[float, float] | None:
        """Latitude and longitude in degrees: of the image, else of its camera."""
        own = _place(self.latitude, self.longitude)
        return self.seen_by.place if own is None and self.seen_by is not None else own

    @property
    def likeness(self) -> str:
        """Its probability as people read it, else its distance; empty where nothing was compared."""
        if self.probability is not None:
            return format_probability(self.probability)
        return "" if self.distance is None else f"distance {self.distance:.3g}"

    @property
    def clock(self) -> str:
        """The time as people read it, empty where it is unknown."""
        return "" if self.time is None else format_time(self.time, self.zone)

    def as_json(self, names: Iterable[str]) -> dict[str, Any]:
        """Some of its values, for JSON."""
        return {name: getattr(self, name) for name in names}


def _place(latitude: float | None, longitude: float | None) -> tuple[float, float] | None:
    return None if latitude is None or longitude is None else (latitude, longitude)


PLAIN_FACTS = tuple(each.name for each in fields(Facts) if each.name != "box")
SIDES = ("box_left", "box_top", "box_right", "box_bottom")
LOOKS = ("color", "color_confidence", "type", "type_confidence")
ROW = ("key", *PLAIN_FACTS, *SIDES, *LOOKS)
"""What galleries keep of an image for its results, besides its embedding and picture, in columns."""


def results_of(
    rows: Sequence[Mapping[str, Any]],
    described: Mapping[int, Camera],
    scores: Iterable[float | None],
    distances: Iterable[float | None],
) -> list[Result]:
    """Make an answer of rows in order.

    Args:
        rows: the values of `ROW` by name.
        described: cameras by id; one that is not among them is called by its number.
        scores, distances: one for each row, or no end of None.
    """
    results = []
    for rank, (row, score, distance) in enumerate(zip(rows, scores, distances, strict=False), 1):
        camera = row["camera"]
        results.append(
            Result(
                row["key"],
                rank,
                score,
                distance,
                seen_by=None if camera is None else described.get(camera) or Camera.unnamed(camera),
                box=box_of(row),
                **{name: row[name] for name in (*PLAIN_FACTS, *LOOKS)},
            )
        )
    return results


def box_of(row: Mapping[str, Any]) -> Box | None:
    """The box whose sides stand in a row."""
    left, top, right, bottom = (row[side] for side in SIDES)
    return None if left is None else (left, top, right, bottom)


def format_probability(probability: float) -> str:
    """A probability as people read it; what is not nothing is not shown as nothing, nor as certain."""
    if probability < 0.01:
        return "< 1%"
    return "> 99%" if probability > 0.99 else f"{probability:.0%}"


def likeliest(probabilities: np.ndarray) -> tuple[int, float] | None:
    """The likeliest class and its probability, None where the model does not tell."""
    if not probabilities.size or not np.isfinite(probabilities).all():
        return None
    best = int(np.argmax(probabilities))
    return best, float(probabilities[best])
