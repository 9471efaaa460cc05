"""A vehicle's way: its passes in order, what joins them, and what else might have come next."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from retrieval.gallery.base import Gallery
from retrieval.gallery.entries import LOOKS, Result
from retrieval.gallery.geography import metres_between
from retrieval.journeys.store import LinkStore, Proposal

_CANDIDATES = 5
_SHOWN = ("key", "camera", "camera_name", "time", "clock", "place", "vehicle_id", "track_id", *LOOKS)


@dataclass(frozen=True)
class Candidate:
    """A pass that may come next, and the link to it."""

    result: Result
    link: Proposal


@dataclass(frozen=True)
class Step:
    """One pass of a journey.

    Attributes:
        images: of the pass; the first one names it.
        start, end: seconds; None where no image of it has a time any more.
        link: to the next pass; None for the last.
        gap: seconds to the next pass.
        metres: to the next pass, along the straight line; None where a place is unknown.
        candidates: other passes that may come next, the most certain first.
    """

    images: tuple[Result, ...]
    start: float | None
    end: float | None
    link: Proposal | None = None
    gap: float | None = None
    metres: float | None = None
    candidates: tuple[Candidate, ...] = ()

    @property
    def speed(self) -> float | None:
        """Kilometres an hour to the next pass, along the straight line, None where unknown."""
        return 3.6 * self.metres / self.gap if self.metres is not None and self.gap else None

    def as_json(self) -> dict[str, Any]:
        """For REST and the command."""
        candidates = [
            {**each.result.as_json(_SHOWN), "certainty": _rounded(each.link.certainty)}
            for each in self.candidates
        ]
        after = None
        if self.link is not None:
            after = {
                "key": self.link.later,
                "certainty": _rounded(self.link.certainty),
                "mark": self.link.mark,
                "gap_seconds": _rounded(self.gap),
                "metres": _rounded(self.metres),
                "kilometres_an_hour": _rounded(self.speed),
            }
        return {
            **self.images[0].as_json(_SHOWN),
            "start": self.start,
            "end": self.end,
            "images": [image.key for image in self.images],
            "next": after,
            "candidates": candidates,
        }


def journey(gallery: Gallery, links: LinkStore, key: str) -> list[Step] | None:
    """The way of the vehicle that an image shows, None where the gallery has no such image.

    Images that have left the gallery are passed over.
    """
    with gallery.read_transaction():
        if not gallery.results([key]):
            return None
        passes = [tuple(gallery.results(images)) for images in links.way(key)]
        passes = [images for images in passes if images]
        return [
            _step(gallery, links, images, following)
            for images, following in zip(passes, [*passes[1:], None], strict=True)
        ]


def _step(
    gallery: Gallery, links: LinkStore, images: tuple[Result, ...], following: tuple[Result, ...] | None
) -> Step:
    name = images[0].key
    start, end = _times(images)
    joined, gap, metres = None, None, None
    if following is not None:
        joined = links.link(name, following[0].key)
        then, _ = _times(following)
        gap = None if end is None or then is None else then - end
        here, there = images[0].place, following[0].place
        if here is not None and there is not None:
            metres = float(metres_between(np.array(here), np.array(there)))
    others = {
        link.later: link
        for link in links.candidates(name, _CANDIDATES + 1)
        if joined is None or link.later != joined.later
    }
    candidates = [Candidate(result, others[result.key]) for result in gallery.results(list(others))]
    return Step(images, start, end, joined, gap, metres, tuple(candidates[:_CANDIDATES]))


def _times(images: tuple[Result, ...]) -> tuple[float | None, float | None]:
    times = [image.time for image in images if image.time is not None]
    return (min(times), max(times)) if times else (None, None)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
