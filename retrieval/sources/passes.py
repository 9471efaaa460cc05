"""One entry for each time that a vehicle passes a camera: its best crops, as one."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from retrieval.gallery.entries import Box, Facts
from retrieval.sources.crop import crop
from retrieval.sources.decoding import VideoFrame
from retrieval.sources.detector import Detection
from retrieval.sources.source import SO_FAR, Loaded, View, digest
from retrieval.sources.tracker import Track, Tracker, overlaps
from serving.encoders.image import InputImage

CROPS = 5
"""Crops that a pass is made of, at most."""

UNCERTAIN = 0.1
"""The least score of a box that continues a track."""
_LEAST_CERTAINTY = 1.0
"""Sum of the scores of a track, below which nothing was there."""
_SAME_VIEW = 0.6
"""Overlap of two crops that show the same."""
_POOR = 0.3
"""Part of the best crop's quality below which a crop is left out."""
_FULL_SIZE = 128
"""Pixels of the shorter side from which on more say no more."""
_SHARP = 200.0
"""Variance of the Laplacian of a crop of middling sharpness, at 64 by 64."""
_REPORT = 60.0
"""Seconds after which a vehicle that stays is put into the gallery, and again."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A crop of a pass, and what is known of it."""

    quality: float
    time: float
    box: Box
    pixels: np.ndarray


@dataclass(frozen=True, eq=False)
class Pass:
    """A vehicle passing a camera, on its way into a gallery.

    Attributes:
        key, facts, origin, root: see `Source`; time and box are those of the best crop.
        shown: the best crops, the best first.
        label, score: the detector's class, and how sure it is on average.
    """

    key: str
    facts: Facts
    origin: str
    root: str
    shown: tuple[Shown, ...]
    label: str
    score: float

    @property
    def name(self) -> str:
        """Where it was."""
        return self.origin

    def load(self) -> Loaded:
        """Give the crops; the digest is of all of them and of what is known."""
        best, views = self.shown[0], []
        for each in self.shown:
            time = None if self.facts.time is None else round(self.facts.time + each.time - best.time, 3)
            views.append(View(InputImage.from_pixels(each.pixels, self.origin), each.quality, time, each.box))
        state = SO_FAR.encode() if self.origin.endswith(SO_FAR) else b""
        found = digest(b"".join(each.pixels.tobytes() for each in self.shown) + state, self.facts)
        return Loaded(views[0].image, found, None, self.label, self.score, tuple(views))


@dataclass
class _Collected:
    """The crops of a track so far."""

    shown: list[Shown] = field(default_factory=list)
    reported: float = 0.0

    def add(self, new: Shown, crops: int) -> None:
        """Keep a crop if it is one of the best, each of another view."""
        for place, kept in enumerate(self.shown):
            if overlaps(np.array(new.box), np.array([kept.box]))[0] > _SAME_VIEW:
                if new.quality > kept.quality:
                    self.shown[place] = new
                return
        self.shown.append(new)
        if len(self.shown) > crops:
            self.shown.remove(min(self.shown, key=lambda each: each.quality))


def quality(
    pixels: np.ndarray, found: Detection, others: Iterable[Detection], size: tuple[int, int]
) -> float:
    """How much a crop tells of a vehicle, 0 to 1: large, sharp, certain, whole and in front.

    Args:
        pixels: uint8 [H, W, 3], the crop.
        found: what it shows.
        others: what else the scene shows; what stands lower in it is nearer, and covers.
        size: height and width of the scene.
    """
    left, top, right, bottom = found.box
    large = min(1.0, min(right - left, bottom - top) / _FULL_SIZE)
    gray = np.asarray(Image.fromarray(pixels).convert("L").resize((64, 64)), np.float64)
    middle = gray[1:-1, 1:-1]
    edges = 4 * middle - gray[:-2, 1:-1] - gray[2:, 1:-1] - gray[1:-1, :-2] - gray[1:-1, 2:]
    sharp = edges.var() / (edges.var() + _SHARP)
    is_cut = left <= 1 or top <= 1 or right >= size[1] - 1 or bottom >= size[0] - 1
    covered = 0.0
    for other in others:
        if other.box[3] > bottom:
            across = min(right, other.box[2]) - max(left, other.box[0])
            down = min(bottom, other.box[3]) - max(top, other.box[1])
            covered = max(covered, max(across, 0) * max(down, 0) / ((right - left) * (bottom - top)))
    return float(large * (0.5 + 0.5 * sharp) * found.score * (0.5 if is_cut else 1.0) * (1 - covered) ** 2)


class Passes:
    """Makes passes of the frames of one camera.

    Args:
        name, root: what keys begin with, and the whole path or address; see `Film`.
        confidence: the least score of a box that begins a track.
        crops: of a pass, at most.
    """

    def __init__(self, name: str, root: str, confidence: float, crops: int = CROPS) -> None:
        self._name, self._root, self._crops = name, root, crops
        self._tracker = Tracker(confidence)
        self._collected: dict[Track, _Collected] = {}
        self._size = (0, 0)

    def add(self, frame: VideoFrame, facts: Facts, found: list[Detection]) -> Iterator[Pass]:
        """Go on to a frame; yield the passes that are over, and those of vehicles that stay.

        Args:
            frame: the next one.
            facts: what is known of it.
            found: its vehicles, down to scores of `UNCERTAIN`.
        """
        size = frame.pixels.shape[:2]
        if size != self._size:
            # Another picture altogether: places of before mean nothing in it.
            yield from self.finish(facts, frame.time)
            self._size = size
        owners, over = self._tracker.update(frame.time, found)
        scene = InputImage.from_pixels(frame.pixels)
        for track, each in zip(owners, found, strict=True):
            if track is None:
                continue
            pixels = crop(scene, each.box).pixels
            others = [other for other in found if other is not each]
            collected = self._collected.setdefault(track, _Collected(reported=track.start))
            worth = quality(pixels, each, others, size)
            collected.add(Shown(worth, frame.time, each.box, pixels), self._crops)
            if frame.time - collected.reported >= _REPORT:
                collected.reported = frame.time
                yield from self._passes([track], facts, frame.time, SO_FAR)
        yield from self._passes(over, facts, frame.time)
        for track in over:
            self._collected.pop(track, None)

    def finish(self, facts: Facts, now: float) -> Iterator[Pass]:
        """End all that is followed; `facts` are of a frame at the time `now`."""
        yield from self._passes(self._tracker.finish(), facts, now)
        self._collected.clear()

    def key_of(self, track: Track) -> str:
        """What the pass of a track is called: by where and when it was seen first."""
        place = ",".join(f"{side:g}" for side in track.box)
        return f"{self._name}#pass-{track.start:.3f}s/{place}"

    def _passes(self, tracks: Iterable[Track], facts: Facts, now: float, mark: str = "") -> Iterator[Pass]:
        for track in tracks:
            shown = sorted(self._collected[track].shown, key=lambda each: -each.quality)
            if track.certainty < _LEAST_CERTAINTY:
                continue
            best = shown[0]
            shown = [each for each in shown if each.quality >= _POOR * best.quality]
            key = self.key_of(track)
            about = replace(
                facts,
                time=None if facts.time is None else round(facts.time + best.time - now, 3),
                box=best.box,
                track_id=track_id(self._root, facts.camera, key),
            )
            origin = f"{self._root} at {best.time:.3f} s, the best of {track.hits} boxes{mark}"
            score = track.certainty / track.hits
            yield Pass(key, about, origin, self._root, tuple(shown), track.label, score)


def track_id(root: str, camera: int | None, key: str) -> int:
    """The number of a track: the same again for the same one, and no other's, whatever the camera and run.

    53 bits, so that JavaScript reads it right; of a million tracks two are the same in 1 of 18,000 galleries.
    """
    text = f"{root}\n{camera}\n{key}".encode(errors="surrogateescape")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 11
