"""The map without tiles: a place of the drawing is the place that is drawn there."""

import pytest

from retrieval.gallery.entries import Camera
from retrieval.gallery.filters import Filters
from retrieval.gallery.geography import Near
from retrieval.page.place import circle_at, ground_of, place_map
from retrieval.page.texts import Say
from retrieval.results.ground import Ground
from zoo.errors import UserError


@pytest.mark.parametrize(
    "places",
    [
        [(48.1, 11.5)],
        [(48.1, 11.5), (48.2, 11.4), (48.15, 11.9)],
        [(-33.9, 151.2), (-33.8, 151.2)],
        [(89.99, -179.0), (90.0, 10.0)],
    ],
)
def test_a_point_of_the_drawing_is_the_place_that_is_drawn_there(places: list[tuple[float, float]]) -> None:
    ground = Ground.around(places)
    for place in places:
        x, y = ground.at(*place)
        assert 0 <= x <= ground.width
        assert 0 <= y <= ground.height
        assert ground.place(x, y) == pytest.approx(place, abs=1e-9)


def test_a_circle_is_read_as_it_was_drawn() -> None:
    cameras = [Camera(1, "A <b>", 48.1, 11.5), Camera(2, "camera 2", 48.2, 11.6), Camera(3, "in no place")]
    ground = ground_of(cameras)
    assert ground is not None
    near = circle_at(ground, *ground.at(48.12, 11.55), 300 * ground.metre)
    assert near == Near(48.12, 11.55, 300.0)
    for values in ((0, 0, 0), (0, 0, float("nan")), (float("nan"), 0, 1), (0, 0, float("inf"))):
        with pytest.raises(UserError):
            circle_at(ground, *values)
    drawn = place_map(cameras, Filters(cameras=(2,)), Say())
    assert drawn.count('role="button"') == 2
    assert drawn.count('aria-pressed="true"') == 1
    assert "A &lt;b&gt;" in drawn
    both = place_map(cameras, Filters(cameras=(2,), near=near), Say())
    assert "Within 300 m of 48.12, 11.55 · Camera: camera 2" in both
    # Two cameras of one mast are one button.
    mast = [Camera(1, "A", 48.1, 11.5), Camera(2, "B", 48.1, 11.5)]
    assert place_map(mast, Filters(), Say()).count('role="button"') == 1
    assert place_map([Camera(3, "in no place")], Filters(), Say()) == ""
