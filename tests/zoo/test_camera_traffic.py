"""The warning of cameras that see different traffic: when it comes, and when it does not."""

import math

import numpy as np
import pytest

from zoo.camera_means import NO_CAMERA
from zoo.camera_traffic import traffic_warning, unlike_traffic


def street(counts: dict[int, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """So many pictures of each camera, all of the same mix of nine types."""
    rng = np.random.default_rng(seed)
    cameras = np.repeat(list(counts), list(counts.values()))
    return cameras, rng.choice(9, len(cameras), p=np.arange(9, 0, -1) / 45)


@pytest.mark.parametrize("seed", range(5))
def test_the_same_traffic_is_no_reason_to_warn(seed: int) -> None:
    cameras, types = street({1: 400, 2: 30, 3: 5, 4: 1, 5: 60, NO_CAMERA: 20}, seed)
    assert traffic_warning(cameras, {"type": types}) == ""


def test_a_bus_lane_is_named() -> None:
    cameras, types = street({1: 300, 2: 300, 3: 40})
    types[cameras == 3] = 8
    (found,) = unlike_traffic(cameras, {"type": types, "colour": np.zeros_like(types)})
    assert (found.camera, found.by) == (3, "type")
    own = [0.0] * 8 + [1.0]
    others = [np.mean(types[cameras != 3] == kind) for kind in range(9)]
    mixed = [(a + b) / 2 for a, b in zip(own, others, strict=True)]

    def divergence(p: list[float]) -> float:
        return sum(x * math.log2(x / m) for x, m in zip(p, mixed, strict=True) if x)

    assert found.divergence == pytest.approx((divergence(own) + divergence(others)) / 2)
    warning = traffic_warning(cameras, {"type": types})
    assert "camera 3 by type" in warning
    assert "centring off" in warning


def test_a_share_of_buses_has_to_be_large() -> None:
    cameras, types = street({1: 600, 2: 600, 3: 600})
    own = np.flatnonzero(cameras == 3)
    types[types == 8] = 0
    for share, is_named in ((0.1, False), (0.7, True)):
        lane = types.copy()
        lane[own[: int(share * len(own))]] = 8
        assert bool(unlike_traffic(cameras, {"type": lane})) is is_named


def test_few_pictures_prove_nothing() -> None:
    cameras, types = street({1: 200, 2: 2})
    types[cameras == 2] = 5
    assert unlike_traffic(cameras, {"type": types}) == []


@pytest.mark.parametrize("count", [0, 5])
def test_nothing_to_compare_with(count: int) -> None:
    cameras = np.full(count, 4)
    assert traffic_warning(cameras, {"type": np.full(count, 2), "colour": np.full(count, -1)}) == ""
