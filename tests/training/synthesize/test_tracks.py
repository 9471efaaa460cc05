"""Routes through the city, and which pictures become queries."""

from itertools import pairwise

import numpy as np
import pytest

from training.synthesize.street.tracks import FRAMES_PER_SECOND, choose_queries, draw_city, draw_track
from training.synthesize.vehicle_pictures import color_and_type


@pytest.mark.parametrize("images", [2, 3, 7, 16, 40])
@pytest.mark.parametrize("cameras", [2, 5, 20])
def test_a_track_has_the_pictures_asked_for_in_order_of_time(images: int, cameras: int) -> None:
    city = draw_city(0, cameras)
    for seed in range(10):
        track = draw_track(city, images, np.random.default_rng(seed))
        assert len(track) == images
        frames = [sighting.frame for sighting in track]
        assert all(later > earlier for earlier, later in pairwise(frames))
        assert len({(sighting.camera_id, sighting.index) for sighting in track}) == images
        seen = {sighting.camera_id for sighting in track}
        assert 2 <= len(seen) <= 8
        assert seen <= set(range(1, cameras + 1))


def test_nobody_drives_faster_than_a_car() -> None:
    city = draw_city(1, 20)
    places = {place.camera_id: np.array([place.east, place.north]) for place in city}
    for seed in range(20):
        track = draw_track(city, 16, np.random.default_rng(seed))
        for before, after in pairwise(track):
            metres = np.linalg.norm(places[before.camera_id] - places[after.camera_id])
            seconds = (after.frame - before.frame) / FRAMES_PER_SECOND
            assert metres / seconds < 30


@pytest.mark.parametrize("images", [2, 3, 8, 16])
def test_every_query_has_a_positive_at_another_camera(images: int) -> None:
    city = draw_city(0, 6)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        track = draw_track(city, images, rng)
        queries = choose_queries(track, rng)
        assert queries
        assert len({camera for camera, _ in queries}) == len(queries)
        gallery = {
            sighting.camera_id for sighting in track if (sighting.camera_id, sighting.index) not in queries
        }
        for camera, index in queries:
            assert any(s.camera_id == camera and s.index == index for s in track)
            assert gallery - {camera}


@pytest.mark.parametrize("split", ["train", "test"])
def test_forty_vehicles_have_every_color_and_type_unevenly(split: str) -> None:
    drawn = [color_and_type(0, split, number) for number in range(40)]
    colors, types = (np.bincount([pair[axis] for pair in drawn]) for axis in (0, 1))
    assert len(colors) == 10
    assert len(types) == 9
    assert colors.min() >= 1
    assert types.min() >= 1
    assert colors.max() >= 4 * colors.min()
    assert types.max() >= 4 * types.min()
    assert drawn != [color_and_type(0, split, number) for number in range(40, 80)]
