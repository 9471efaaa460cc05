"""Where the cameras are in the city, and which way each vehicle drives through them."""

from dataclasses import dataclass

import numpy as np

from training.synthesize.randomness import stream
from training.synthesize.street.camera_site import LOOKS

FRAMES_PER_SECOND = 25
_ORIGIN = (48.137, 11.575)
"""Latitude and longitude of the map's middle; the streets there are not these."""

_METRES_PER_DEGREE = 111_320.0
_RECORDING_SECONDS = 4 * 3600
_APPROACH, _DEPART = -6.0, 4.0
"""Metres along a lane, from its middle, between which a camera reports a vehicle."""


@dataclass(frozen=True)
class CameraPlace:
    """A camera on the map.

    Attributes:
        camera_id: 1, 2, ...
        east: metres from the map's middle.
        north: metres from the map's middle.
        heading: degrees clockwise from north that it looks.
    """

    camera_id: int
    east: float
    north: float
    heading: float

    def as_json(self) -> dict[str, object]:
        """The entry of `cameras.json`."""
        latitude = _ORIGIN[0] + self.north / _METRES_PER_DEGREE
        longitude = _ORIGIN[1] + self.east / (_METRES_PER_DEGREE * float(np.cos(np.radians(_ORIGIN[0]))))
        return {
            "id": self.camera_id,
            "name": f"c{self.camera_id:03d}",
            "latitude": round(latitude, 6),
            "longitude": round(longitude, 6),
            "heading": round(self.heading, 1),
        }


@dataclass(frozen=True)
class Sighting:
    """One picture to take.

    Attributes:
        camera_id: 1, 2, ...
        lane: number of the site's lane.
        along: metres past the lane's middle.
        look: number of the site's background.
        frame: frames since all recordings began.
        index: counts the vehicle's pictures at this camera from 0.
    """

    camera_id: int
    lane: int
    along: float
    look: int
    frame: int
    index: int


def draw_city(seed: int, cameras: int) -> list[CameraPlace]:
    """Put `cameras` cameras on a jittered grid of streets 350 m apart."""
    rng = stream(seed, "city")
    columns = int(np.ceil(np.sqrt(cameras * 1.5)))
    places = []
    for number in range(cameras):
        east = (number % columns - (columns - 1) / 2) * 350 + rng.uniform(-110, 110)
        north = (number // columns - (cameras / columns - 1) / 2) * 350 + rng.uniform(-110, 110)
        places.append(CameraPlace(number + 1, float(east), float(north), float(rng.uniform(0, 360))))
    return places


def draw_track(city: list[CameraPlace], images: int, rng: np.random.Generator) -> list[Sighting]:
    """One vehicle's way through 4 to 8 cameras (fewer where the city or `images` has not so many).

    Returns:
        `images` sightings in order of time. At least two cameras see the vehicle if the city has two.
    """
    visits = min(int(rng.integers(4, 9)), len(city), max(2, images // 2))
    route = _draw_route(city, visits, rng)
    counts = np.full(visits, images // visits)
    counts[rng.permutation(visits)[: images % visits]] += 1
    # Uneven stays: a camera with a better view reports more pictures, but each at least one.
    for giver, taker in rng.integers(0, visits, (visits, 2)):
        if counts[giver] > 2:
            counts[giver] -= 1
            counts[taker] += 1
    clock = rng.uniform(0, _RECORDING_SECONDS - 3600)
    sightings: list[Sighting] = []
    for stop, (place, count) in enumerate(zip(route, counts, strict=True)):
        if stop:
            before = route[stop - 1]
            distance = 1.25 * np.hypot(place.east - before.east, place.north - before.north)
            clock += distance / rng.uniform(7, 14) + rng.exponential(15)
        lane, look = int(rng.integers(2)), int(rng.integers(LOOKS))
        speed = rng.uniform(4, 12)
        steps = (np.arange(count) + rng.uniform(0.1, 0.9, count)) / count
        along = _APPROACH + (_DEPART - _APPROACH) * steps
        frames = np.round((clock + (along - _APPROACH) / speed) * FRAMES_PER_SECOND).astype(int)
        # Pictures of one pass are at least a frame apart, or two would share a name.
        frames = np.maximum.accumulate(frames - np.arange(count)) + np.arange(count)
        for index in range(count):
            sightings.append(
                Sighting(place.camera_id, lane, float(along[index]), look, int(frames[index]), index)
            )
        clock += (_DEPART - _APPROACH) / speed
    return sightings


def choose_queries(sightings: list[Sighting], rng: np.random.Generator) -> set[tuple[int, int]]:
    """Pick the (camera, index) of the query pictures: one a camera, at some of the cameras.

    At least one camera gives no query, so that all its pictures stay in the gallery as another camera's
    positives for every query.
    """
    counts: dict[int, int] = {}
    for sighting in sightings:
        counts[sighting.camera_id] = counts.get(sighting.camera_id, 0) + 1
    cameras = sorted(counts)
    share = max(1, min(len(cameras) - 1, round(0.6 * len(cameras))))
    chosen = [cameras[number] for number in rng.permutation(len(cameras))[:share]]
    return {(camera, int(rng.integers(counts[camera]))) for camera in chosen}


def _draw_route(city: list[CameraPlace], visits: int, rng: np.random.Generator) -> list[CameraPlace]:
    """Drive from camera to camera, near ones first."""
    left = list(city)
    route = [left.pop(int(rng.integers(len(left))))]
    while len(route) < visits:
        here = route[-1]
        far = np.array([np.hypot(place.east - here.east, place.north - here.north) for place in left])
        odds = np.exp(-far / 450)
        route.append(left.pop(int(rng.choice(len(left), p=odds / odds.sum()))))
    return route
