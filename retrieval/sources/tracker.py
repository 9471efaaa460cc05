"""Vehicles followed from frame to frame by where they are, whatever the time between frames.

Two rounds as in ByteTrack (Zhang et al., ECCV 2022): certain boxes first, then uncertain ones for what is
being followed already. Boxes are widened by how uncertain a prediction is, as in C-BIoU (Yang et al., WACV
2023), so that few frames a second are enough. Looks are not compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from retrieval.sources.detector import Detection

_MEASURED = 0.05
"""Standard deviation of a box's sides, in sizes of the vehicle."""
_ACCELERATION = 2.0
"""Of a vehicle, in sizes a second and second."""
_FIRST_SPEED = 2.0
"""Of a vehicle that was seen once, in sizes a second."""
_LEAST_OVERLAP = 0.1
_LEAST_OVERLAP_UNCERTAIN = 0.3
_LEAST_OVERLAP_STANDING = 0.5
_MOST_GROWTH = 4.0
"""Of a vehicle's area in the picture, from where it should be to where it is, or the other way round."""
_STANDING = 0.1
"""Sizes a second below which a vehicle stands."""


@dataclass(eq=False)
class Track:
    """A vehicle that is, or was, followed.

    Attributes:
        box: where it was seen first.
        start, end: times at which it was seen first and last, in seconds.
        hits: how often it was seen.
        certainty: sum of the scores.
        labels: the detector's class -> sum of the scores.
        is_waiting: whether it stood when it was hidden, so that it is waited for where it is. What stands and
            was just seen may drive off.
    """

    box: tuple[float, float, float, float]
    start: float
    end: float
    hits: int = 0
    certainty: float = 0.0
    labels: dict[str, float] = field(default_factory=dict)
    is_waiting: bool = False
    _now: float = 0.0
    _place: np.ndarray = field(default_factory=lambda: np.zeros(4))
    _speed: np.ndarray = field(default_factory=lambda: np.zeros(4))
    _spread: np.ndarray = field(default_factory=lambda: np.diag([_MEASURED**2, _FIRST_SPEED**2]))

    @classmethod
    def begin(cls, time: float, found: Detection) -> "Track":
        """Follow a vehicle that was found."""
        track = cls(found.box, time, time, _now=time, _place=_centre(np.array(found.box)))
        track.count(time, found)
        return track

    @property
    def label(self) -> str:
        """What the detector mostly calls it."""
        return max(self.labels, key=lambda name: self.labels[name])

    @property
    def is_standing(self) -> bool:
        """Whether it has been seen for two seconds and does not move."""
        speed = float(np.abs(self._speed[:2]).max()) / self._size
        return self.end - self.start >= 2 and speed < _STANDING

    @property
    def _size(self) -> float:
        return float(max(self._place[2:].max(), 1.0))

    def predict(self, time: float) -> None:
        """Go on to a time; what stands, and is not seen for the moment, stays where it is."""
        self.is_waiting = self.is_standing and self.end < self._now
        step, self._now = time - self._now, time
        if self.is_waiting:
            return
        self._place = self._place + step * self._speed
        self._place[2:] = np.maximum(self._place[2:], 2)
        move = np.array([[1, step], [0, 1]])
        jolt = np.array([step**2 / 2, step]) * _ACCELERATION
        self._spread = move @ self._spread @ move.T + np.outer(jolt, jolt)

    def count(self, time: float, found: Detection) -> None:
        """Take note that it was seen."""
        self.end, self.hits, self.certainty = time, self.hits + 1, self.certainty + found.score
        self.labels[found.label] = self.labels.get(found.label, 0.0) + found.score

    def correct(self, time: float, found: Detection) -> None:
        """Kalman's step with the box where it was seen; its spread is in sizes of the vehicle."""
        gain = self._spread[:, 0] / (self._spread[0, 0] + _MEASURED**2)
        missed = _centre(np.array(found.box)) - self._place
        self._place = self._place + gain[0] * missed
        self._speed = self._speed + gain[1] * missed
        self._spread = self._spread - np.outer(gain, self._spread[0])
        self.count(time, found)

    def expected(self) -> tuple[np.ndarray, float]:
        """Left, top, right, bottom where it should be, and how far each side may be off."""
        half = self._place[2:] / 2
        off = float(np.sqrt(self._spread[0, 0])) * self._size
        return np.concatenate([self._place[:2] - half, self._place[:2] + half]), min(off, self._size)


class Tracker:
    """Follows the vehicles of one camera.

    Args:
        confidence: the least score of a box that begins a track; less certain ones continue one.
        gap: seconds after which a vehicle that is not seen is gone.
        standing_gap: the same of one that stands, which may be hidden by traffic.
    """

    def __init__(self, confidence: float = 0.4, gap: float = 1.5, standing_gap: float = 60.0) -> None:
        self._confidence, self._gap, self._standing_gap = confidence, gap, standing_gap
        self._tracks: list[Track] = []

    def update(self, time: float, found: Sequence[Detection]) -> tuple[list[Track | None], list[Track]]:
        """Go on to a frame.

        Args:
            time: of the frame, later than that of the one before.
            found: in it.

        Returns:
            the track of each detection, None where it is too uncertain to begin one; and those that are over.
        """
        over = [track for track in self._tracks if time - track.end > self._patience(track)]
        self._tracks = [track for track in self._tracks if track not in over]
        for track in self._tracks:
            track.predict(time)
        certain = [place for place, each in enumerate(found) if each.score >= self._confidence]
        others = [place for place, each in enumerate(found) if each.score < self._confidence]
        owners: list[Track | None] = [None] * len(found)
        free = self._tracks
        for places, least, is_widened in (
            (certain, _LEAST_OVERLAP, True),
            (others, _LEAST_OVERLAP_UNCERTAIN, False),
        ):
            pairs = _pairs(free, [found[place] for place in places], time, least, is_widened)
            for track, place in pairs:
                owners[places[place]] = track
                track.correct(time, found[places[place]])
            free = [track for track in free if track.end < time]
        for place in certain:
            if owners[place] is None:
                owners[place] = track = Track.begin(time, found[place])
                self._tracks.append(track)
        return owners, over

    def finish(self) -> list[Track]:
        """End all tracks."""
        over, self._tracks = self._tracks, []
        return over

    def _patience(self, track: Track) -> float:
        return self._standing_gap if track.is_standing else self._gap


def _pairs(
    tracks: Sequence[Track], found: Sequence[Detection], time: float, least: float, is_widened: bool
) -> list[tuple[Track, int]]:
    """Tracks and detections that belong together, so that they overlap most in sum."""
    from scipy.optimize import linear_sum_assignment

    if not tracks or not found:
        return []
    boxes = np.array([each.box for each in found])
    overlap = np.zeros((len(tracks), len(found)))
    for row, track in enumerate(tracks):
        place, off = track.expected()
        widen = np.array([-off, -off, off, off]) if is_widened and not track.is_waiting else np.zeros(4)
        overlap[row] = overlaps(place + widen, boxes + widen)
        needed = max(least, _LEAST_OVERLAP_STANDING) if track.is_waiting else least
        grown = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) / max(float(track._place[2:].prod()), 1e-9)
        overlap[row, (overlap[row] < needed) | (np.abs(np.log(grown)) > np.log(_MOST_GROWTH))] = 0
    rows, columns = linear_sum_assignment(-overlap)
    return [(tracks[r], int(c)) for r, c in zip(rows, columns, strict=True) if overlap[r, c] > 0]


def overlaps(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of one box [4] with others [N, 4], float64 [N]."""
    corner = np.maximum(box[:2], boxes[:, :2])
    shared = np.clip(np.minimum(box[2:], boxes[:, 2:]) - corner, 0, None).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return np.asarray(shared / np.maximum((box[2:] - box[:2]).prod() + areas - shared, 1e-9))


def _centre(box: np.ndarray) -> np.ndarray:
    """Centre and extent of left, top, right, bottom."""
    return np.concatenate([(box[:2] + box[2:]) / 2, box[2:] - box[:2]])
