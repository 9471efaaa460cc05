"""Passes joined without labels, on sites whose truth is known."""

import numpy as np
import pytest

from benchmarks.journeys import cross_camera_idf1
from retrieval.journeys.linking import Linked, LinkOptions, link
from tests.retrieval.journeys.site import Site, make_site


def idf1(site: Site, linked: Linked) -> float:
    return cross_camera_idf1(site.vehicle, linked.journeys(len(site.passes)))


def right(site: Site, linked: Linked, chosen: np.ndarray) -> np.ndarray:
    return site.vehicle[linked.earlier[chosen]] == site.vehicle[linked.later[chosen]]


@pytest.mark.parametrize("seed", range(3))
def test_travel_times_join_what_looks_alone_do_not(seed: int) -> None:
    site = make_site(seed)
    linked, by_looks = (
        link(site.passes, "cosine", LinkOptions(uses_travel=travel)) for travel in (True, False)
    )
    # By looks alone 0.66 to 0.75.
    assert idf1(site, linked) > idf1(site, by_looks) + 0.15
    # 0.84 to 0.88 where each pair stands for itself.
    assert idf1(site, linked) > 0.89
    assert right(site, linked, linked.is_chosen).mean() > 0.95
    # What is called certain is right; what is called doubtful is not all right.
    assert right(site, linked, linked.certainty > 0.8).mean() > 0.9
    assert right(site, linked, linked.certainty < 0.2).mean() < 0.5


@pytest.mark.parametrize(("vehicles", "shared", "steady"), [(300, False, True), (80, True, False)])
def test_nothing_is_made_up_where_nothing_is_known(vehicles: int, shared: bool, steady: bool) -> None:
    site = make_site(5, vehicles=vehicles, shared=shared, steady=steady)
    linked = link(site.passes, "cosine")
    wrong = ~right(site, linked, linked.is_chosen)
    assert wrong.sum() <= 0.05 * len(site.passes)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("vehicles", [1, 2, 12])
def test_few_passes_are_no_fault(vehicles: int, metric: str) -> None:
    site = make_site(7, vehicles=vehicles, noise=0.5)
    linked = link(site.passes, metric)
    assert np.isfinite(linked.certainty).all()
    assert right(site, linked, linked.is_chosen).all() or vehicles > 2


def test_journeys_are_ways_that_a_vehicle_can_go() -> None:
    site = make_site(3)
    passes = site.passes
    linked = link(passes, "cosine")
    ways = linked.journeys(len(passes))
    assert ways
    rows = [row for way in ways for row in way]
    assert len(rows) == len(set(rows))
    for way in ways:
        assert (passes.start[way[1:]] > passes.end[way[:-1]]).all()
        assert (passes.camera[way[1:]] != passes.camera[way[:-1]]).all()


def test_no_vehicle_is_faster_than_vehicles_are() -> None:
    site = make_site(3)
    passes = site.passes
    # As if every camera stood 100 km from the next.
    passes.place[:] = np.stack([48 + passes.camera * 0.9, np.full(len(passes), 11.0)], axis=1)
    assert not link(passes, "cosine", LinkOptions(fastest=200)).is_chosen.any()
    assert link(passes, "cosine", LinkOptions(fastest=1e9)).is_chosen.any()


@pytest.mark.parametrize("within", [900, 600])
def test_a_journey_may_last_longer_than_the_longest_way(within: float) -> None:
    # 14 of 24 cameras on average: well over an hour, with 2 or 3 minutes from one to the next.
    site = make_site(0, cameras=24, vehicles=40, minutes=240, noise=0.6)
    start = site.passes.start
    linked = link(site.passes, "cosine", LinkOptions(within=within))
    ways = linked.journeys(len(site.passes))
    assert cross_camera_idf1(site.vehicle, ways) > 0.9
    assert max(start[way[-1]] - start[way[0]] for way in ways) > 3600
    assert right(site, linked, linked.is_chosen).mean() > 0.95


def test_people_have_the_last_word() -> None:
    site = make_site(3)
    passes = site.passes
    linked = link(passes, "cosine")
    first, second = linked.journeys(len(passes))[0][:2]
    stranger = next(
        row
        for row in range(len(passes))
        if site.vehicle[row] != site.vehicle[first] and passes.start[row] > passes.end[first]
    )
    name = [keys[0] for keys in passes.images]
    said = link(passes, "cosine", confirmed=[(name[first], name[stranger])])
    assert [first, stranger] in [
        way[way.index(first) :][:2] for way in said.journeys(len(passes)) if first in way
    ]
    cut = link(passes, "cosine", cut=[(name[first], name[second]), ("gone", name[first])])
    assert not any({first, second} <= set(way) for way in cut.journeys(len(passes)))
