"""Who drives where and when: vehicles on the streets between cameras, and along the lanes before each."""

import heapq
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.synthesize.randomness import stream
from training.synthesize.street.camera_site import CameraSite
from training.synthesize.street.tracks import CameraPlace

_NEAREST = 5.0
"""Metres before the camera from which on a vehicle is drawn, beside half of its length."""
_FARTHEST = 45.0
_GAP = 2.0
"""Metres between vehicles that stand behind each other."""
_INERTIA = 2.0
"""Seconds in which a vehicle reaches its speed, or stands."""
_NEIGHBOURS = 2
"""Streets that leave a camera, at most; others come in."""


@dataclass(frozen=True, eq=False)
class Passage:
    """A vehicle that passes a camera.

    Attributes:
        vehicle: its number, from 0.
        camera_id: 1, 2, ...
        lane: number of the site's lane.
        first: the frame in which it comes into view.
        along: metres past the lane's middle in each frame, float64 [F].
        away: metres that it keeps to the camera beside the lane's.
    """

    vehicle: int
    camera_id: int
    lane: int
    first: int
    along: np.ndarray
    away: float

    @property
    def last(self) -> int:
        """The last frame in which it is in view."""
        return self.first + len(self.along) - 1


def draw_traffic(
    seed: int,
    city: Sequence[CameraPlace],
    sites: Sequence[CameraSite],
    lengths: Sequence[float],
    frames: int,
    rate: float,
) -> list[Passage]:
    """Let each vehicle drive its way, in order of time; who comes up to another waits behind it.

    Args:
        seed: of the site.
        city, sites: the cameras, in order.
        lengths: of the vehicles, in metres.
        frames: of the videos; nobody comes into view after them.
        rate: frames a second.
    """
    streets = _draw_streets(seed, city)
    waiting: list[tuple[float, int, int]] = []
    rngs = [stream(seed, "drive", number) for number in range(len(lengths))]
    for number, rng in enumerate(rngs):
        waiting.append((float(rng.uniform(0, 0.8 * frames / rate)), number, int(rng.integers(len(city)))))
    heapq.heapify(waiting)
    leaders: dict[tuple[int, int], Passage] = {}
    found = []
    while waiting:
        seconds, vehicle, camera = heapq.heappop(waiting)
        first, rng = round(seconds * rate), rngs[vehicle]
        if first >= frames:
            continue
        lane = int(rng.integers(len(sites[camera].lanes)))
        leader = leaders.get((camera, lane))
        passage = _drive(vehicle, sites[camera], lane, first, lengths, leader, rate, rng)
        leaders[camera, lane] = passage
        found.append(passage)
        roads = streets[camera]
        following = int(rng.choice(roads))
        metres = 1.25 * np.hypot(
            city[camera].east - city[following].east, city[camera].north - city[following].north
        )
        travel = metres / rng.uniform(9, 13) + rng.exponential(6)
        heapq.heappush(waiting, (passage.last / rate + travel, vehicle, following))
    return found


def _draw_streets(seed: int, city: Sequence[CameraPlace]) -> dict[int, list[int]]:
    """The cameras to which one comes from each: those nearest to it, and those whom it is nearest to."""
    places = np.array([(place.east, place.north) for place in city])
    apart = np.linalg.norm(places[:, None] - places, axis=2)
    np.fill_diagonal(apart, np.inf)
    streets: dict[int, set[int]] = defaultdict(set)
    for here in range(len(city)):
        for there in np.argsort(apart[here], kind="stable")[: min(_NEIGHBOURS, len(city) - 1)].tolist():
            streets[here].add(there)
            streets[there].add(here)
    return {here: sorted(there) for here, there in streets.items()}


def _drive(
    vehicle: int,
    site: CameraSite,
    lane: int,
    first: int,
    lengths: Sequence[float],
    leader: Passage | None,
    rate: float,
    rng: np.random.Generator,
) -> Passage:
    """Along the whole lane at a speed of its own; one in four stops on the way."""
    length = lengths[vehicle]
    away = max(0.0, _NEAREST + 0.55 * length - site.lanes[lane].x) + 0.35 * max(0.0, length - 5)
    start, end = _stretch(site, lane, length, away)
    speed, stop = rng.uniform(4, 9), rng.uniform(4, 15) if rng.random() < 0.25 else 0.0
    where = rng.uniform(0.3, 0.7) * (end - start)
    times = np.arange(int(((end - start) / speed + stop + 120) * rate)) / rate
    along = np.minimum(speed * times, where) + np.maximum(speed * (times - where / speed - stop), 0)
    along += start
    if leader is not None and leader.last >= first:
        room = (length + lengths[leader.vehicle]) / 2 + _GAP
        shared = min(leader.last - first + 1, len(along))
        ahead = leader.along[first - leader.first :][:shared]
        along[:shared] = np.minimum(along[:shared], ahead - room)
        # Whoever waited goes on from where it stood when the way is free.
        if shared < len(along):
            along[shared:] = np.minimum(
                along[shared:], along[shared - 1] + speed * (times[shared:] - times[shared - 1])
            )
    along = _with_inertia(along, speed, rate)
    return Passage(vehicle, site.camera_id, lane, first, along[along <= end], away)


def _with_inertia(along: np.ndarray, speed: float, rate: float) -> np.ndarray:
    """Nobody stops or starts at once: a place is the mean of the last seconds, so that none comes nearer."""
    frames = max(1, round(_INERTIA * rate))
    before = along[0] - speed / rate * np.arange(frames - 1, 0, -1)
    return np.convolve(np.concatenate([before, along]), np.full(frames, 1 / frames), "valid")


def _stretch(site: CameraSite, lane: int, length: float, away: float) -> tuple[float, float]:
    """From where to where along a lane a vehicle is in view."""
    steps = np.arange(-_FARTHEST, _FARTHEST, 0.5)
    places = np.array([site.lanes[lane].at(step)[:2] for step in steps])
    x, y = places[:, 0] + away, places[:, 1]
    # Behind the backdrop there is no street.
    reach = min(_FARTHEST, site.backgrounds[0].radius - 0.5 * length - 1)
    good = (x >= _NEAREST + 0.5 * length) & (np.hypot(x, y) <= reach) & (np.abs(y) <= 0.7 * x + length)
    middle = len(steps) // 2
    before, after = np.flatnonzero(~good[:middle]), np.flatnonzero(~good[middle:])
    low = int(before[-1]) + 1 if len(before) else 0
    high = middle + int(after[0]) - 1 if len(after) else len(steps) - 1
    return float(steps[min(low, middle)]), float(steps[max(high, middle)])
