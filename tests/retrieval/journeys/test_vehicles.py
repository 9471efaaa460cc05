"""Samples of how passes are parted into vehicles, held to all ways of parting them."""

import math
from collections.abc import Iterator

import numpy as np
import pytest

from retrieval.journeys import vehicles
from retrieval.journeys.candidates import Pairs, find_pairs
from retrieval.journeys.vehicles import same_vehicle
from tests.retrieval.journeys.site import make_site


def partitions(rows: list[int]) -> Iterator[list[list[int]]]:
    """All ways of parting rows into chains."""
    if not rows:
        yield []
        return
    for rest in partitions(rows[1:]):
        yield [[rows[0]], *rest]
        for place, chain in enumerate(rest):
            yield [*rest[:place], [rows[0], *chain], *rest[place + 1 :]]


@pytest.mark.parametrize("seed", range(6))
def test_samples_are_as_probable_as_they_should_be(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_site(seed, vehicles=2, cameras=5, minutes=3)
    passes = site.passes
    pairs = find_pairs(passes, "cosine", 400, 100)
    rng = np.random.default_rng(seed)
    looks, follows = rng.uniform(-2.9, 3, len(pairs.earlier)), rng.uniform(-3, 2, len(pairs.earlier))
    # Travel times do not change from sample to sample, so that the truth can be counted.
    monkeypatch.setattr(vehicles.Following, "evidence", lambda self, links: follows)
    monkeypatch.setattr(vehicles, "_SWEEPS", 3000)
    monkeypatch.setattr(vehicles, "_BURN_IN", 100)
    belief = np.full(len(looks), 0.5)
    found = same_vehicle(passes, pairs, belief, looks, 400, True)

    sampler = vehicles._Sampler(passes, pairs, belief, looks, 400, True)
    total, wanted = 0.0, np.zeros(len(looks))
    for chains in partitions(list(range(len(passes)))):
        values = [sampler._value(chain) for chain in chains]
        if any(value is None for value in values):
            continue
        odds = math.exp(sum(value[0] for value in values if value is not None))
        total += odds
        of = {row: number for number, chain in enumerate(chains) for row in chain}
        for number, (a, b) in enumerate(zip(pairs.earlier.tolist(), pairs.later.tolist(), strict=True)):
            wanted[number] += odds * (of[a] == of[b])
    assert 0.05 < np.median(wanted / total) < 0.95
    assert found == pytest.approx(wanted / total, abs=0.04)


def test_the_same_passes_are_parted_the_same_way() -> None:
    site = make_site(2, vehicles=12)
    pairs = find_pairs(site.passes, "cosine", 3600, 100)
    belief, looks = np.full(len(pairs.earlier), 0.2), pairs.look
    first, second = (same_vehicle(site.passes, pairs, belief, looks, 3600, True) for _ in range(2))
    assert (first == second).all()
    assert ((first >= 0) & (first <= 1)).all()


def test_what_people_say_counts_for_more_than_looks() -> None:
    site = make_site(2, vehicles=12)
    pairs = find_pairs(site.passes, "cosine", 3600, 100)
    belief, looks = np.full(len(pairs.earlier), 0.01), np.full(len(pairs.earlier), -1.0)
    looks[0], looks[1] = -6, 6
    said = [(int(pairs.earlier[row]), int(pairs.later[row])) for row in (0, 1)]
    found = same_vehicle(site.passes, pairs, belief, looks, 3600, True, said[:1], said[1:])
    assert found[0] > 0.95
    assert found[1] < 0.05


def test_no_pairs_are_no_fault() -> None:
    site = make_site(2, vehicles=1)
    nothing = Pairs(*(np.zeros(0, kind) for kind in (int, int, float, float, float, int, int)))
    assert len(same_vehicle(site.passes, nothing, np.zeros(0), np.zeros(0), 3600, True)) == 0
