"""What goes into a gallery and what comes out of it."""

from dataclasses import dataclass, field

import numpy as np

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
    """

    key: str
    embedding: np.ndarray
    color_probs: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    type_probs: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    picture: bytes = b""
    source: str = ""
    digest: str = ""


@dataclass(frozen=True)
class Hit:
    """One search result.

    Attributes:
        key: the image's name.
        score: similarity for people, 0 to 1, falling strictly with the distance.
        distance: in the card's metric, computed in float64 from the stored embeddings.
        vehicle_id, camera, time, color, type, track_id: what the gallery knows of the image, None where it
            does not.
        color_confidence, type_confidence: the probability of that colour and type.
    """

    key: str
    score: float
    distance: float
    vehicle_id: int | None
    camera: int | None
    time: float | None
    color: str | None
    type: str | None
    track_id: int | None = None
    color_confidence: float | None = None
    type_confidence: float | None = None


def likeliest(probabilities: np.ndarray) -> tuple[int, float] | None:
    """The likeliest class and its probability, None where the model does not tell."""
    if not probabilities.size or not np.isfinite(probabilities).all():
        return None
    best = int(np.argmax(probabilities))
    return best, float(probabilities[best])
