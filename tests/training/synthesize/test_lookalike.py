"""Pairs of look-alikes: one body and one paint, one small thing that differs, and nothing changed without
them."""

import numpy as np
import pytest

from training.synthesize.vehicle.lookalike import small_things
from training.synthesize.vehicle.shape import draw_shape
from training.synthesize.vehicle.style import draw_style
from training.synthesize.vehicle_pictures import Parameters, as_json, make_vehicle
from zoo.labels import COLORS, TYPES


def pair(number: int, share: float = 1.0) -> tuple[float, bool]:
    """How much of the texture of vehicle 2n and its neighbour differs, and whether they are of one make."""
    a, b = (make_vehicle(0, "train", 2 * number + k, 1.0, share) for k in (0, 1))
    alike = (a.color, a.type, a.size) == (b.color, b.type, b.size)
    if a.mesh.texture.shape != b.mesh.texture.shape:
        return 1.0, alike
    return float((a.mesh.texture != b.mesh.texture).any(axis=-1).mean()), alike


def test_pairs_differ_in_something_small() -> None:
    found = [pair(number) for number in range(24)]
    assert all(alike for _, alike in found)
    changed = [share for share, _ in found]
    # A plate alone would be less than this.
    assert min(changed) > 0 and np.median(changed) < 0.1
    strangers = [pair(number, 0.0) for number in range(6)]
    assert np.median([share for share, _ in strangers]) > 0.3


def test_a_share_of_neighbours_are_pairs() -> None:
    alike = sum(pair(number, 0.5)[1] for number in range(24))
    assert 4 <= alike <= 20


def test_without_a_share_the_vehicles_are_those_of_before() -> None:
    for number in (1, 4):
        before, now = (make_vehicle(0, "train", number, 0.5, share) for share in (0.0, 1e-9))
        assert np.array_equal(before.mesh.texture, now.mesh.texture)
    described = as_json(Parameters(0, 1, 0, 2, 64, "normal", 2, False, False))
    assert "lookalike_share" not in described


@pytest.mark.parametrize("kind", TYPES)
def test_every_small_thing_is_to_be_seen(kind: str) -> None:
    rng = np.random.default_rng(0)
    shape = draw_shape(rng, TYPES.index(kind))
    style = draw_style(rng, shape, COLORS.index("white"))
    for name, change in small_things(kind).items():
        changed = change(rng, style)
        assert all(getattr(style, field) != value for field, value in changed.items()), name
