"""Results as they are shown, exported and drawn: a hit with the names and the places around it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from retrieval.gallery.base import Gallery
from retrieval.gallery.clock import format_time
from retrieval.gallery.entries import Hit, likeliest
from retrieval.gallery.filters import Filters


@dataclass(frozen=True)
class Result:
    """One row of a result list.

    Attributes:
        rank: from 1.
        key: the image's name.
        score, distance: see `Hit`; None where nothing was compared, as in a search by attributes.
        camera_name: the camera's name where there is a camera.
        latitude, longitude: of the image, or of its camera where the image has no place of its own.
    """

    rank: int
    key: str
    score: float | None = None
    distance: float | None = None
    camera: int | None = None
    camera_name: str | None = None
    time: float | None = None
    latitude: float | None = None
    longitude: float | None = None
    color: str | None = None
    color_confidence: float | None = None
    type: str | None = None
    type_confidence: float | None = None
    vehicle_id: int | None = None
    track_id: int | None = None

    @property
    def clock(self) -> str:
        """The time as people read it, empty where it is unknown."""
        return "" if self.time is None else format_time(self.time)


def listed(gallery: Gallery, hits: Sequence[Hit]) -> list[Result]:
    """Results of a search; an image that has gone meanwhile stays in its place."""
    return _results(gallery, [(hit.key, hit) for hit in hits])


def browsed(gallery: Gallery, filters: Filters, limit: int, without: Collection[str] = ()) -> list[Result]:
    """Results of a search by attributes alone, newest first; those `without` are left out."""
    keys = [key for key in gallery.browse(filters, limit + len(without)) if key not in without]
    return _results(gallery, [(key, None) for key in keys[:limit]])


def _results(gallery: Gallery, found: Sequence[tuple[str, Hit | None]]) -> list[Result]:
    cameras = {camera.id: camera for camera in gallery.cameras()}
    card = gallery.model.card
    results = []
    for rank, (key, hit) in enumerate(found, 1):
        entry = gallery.get(key)
        seen = hit or entry
        if seen is None:
            continue
        camera = None if seen.camera is None else cameras.get(seen.camera)
        color = kind = None
        place: tuple[float | None, float | None] | None = None
        if entry is not None:
            color, kind = likeliest(entry.color_probs), likeliest(entry.type_probs)
            place = (entry.latitude, entry.longitude) if entry.latitude is not None else None
        if place is None and camera is not None:
            place = (camera.latitude, camera.longitude)
        results.append(
            Result(
                rank=rank,
                key=key,
                score=None if hit is None else hit.score,
                distance=None if hit is None else hit.distance,
                camera=seen.camera,
                camera_name=None if camera is None else camera.name,
                time=seen.time,
                latitude=place[0] if place else None,
                longitude=place[1] if place else None,
                color=None if color is None else card.colors[color[0]],
                color_confidence=None if color is None else color[1],
                type=None if kind is None else card.types[kind[0]],
                type_confidence=None if kind is None else kind[1],
                vehicle_id=seen.vehicle_id,
                track_id=seen.track_id,
            )
        )
    return results
