"""The sameness calibration: read from a card, monotone, and aware of the gallery's size."""

import json
from dataclasses import replace

import numpy as np
import pytest

from zoo.card import Card
from zoo.errors import UserError
from zoo.sameness import Sameness, verdict_of

CALIBRATION = Sameness(
    strangers=(-2.5, 6.0, 0.5, 0.0, 0.0, 0.0),
    nearest=(-3.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    others=(-3.5, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.2),
    near=(-2.0, 0.5),
    cohort=(-0.3, 0.0),
    weights_sha256="a" * 64,
)
CARD = Card("grid.test", (8, 8), {"embedding": 2}, weights_sha256="a" * 64, sameness=CALIBRATION.as_json())
COHORT = np.linspace(0.5, 1.5, 200)
DISTANCES = np.array([0.0, 1e-9, 0.01, 0.1, 0.3, 0.5, 0.9, 1.4, 3.0, 50.0])


def test_a_card_gives_it_back() -> None:
    read = Card.from_json(CARD.to_json())
    assert Sameness.of(read) == CALIBRATION
    # Other weights are another model; a card without one reads as those from before.
    assert Sameness.of(CARD.replace(weights_sha256="b" * 64)) is None
    plain = CARD.replace(sameness={})
    assert Sameness.of(plain) is None
    assert "sameness" not in json.loads(plain.to_json())


@pytest.mark.parametrize("known", [5, 6], ids=["without slopes by size", "without a bend by size"])
def test_a_card_from_before_sizes_counted_so_much_is_read(known: int) -> None:
    before = CALIBRATION.as_json() | {"nearest": CALIBRATION.nearest[:known]}
    before["others"] = (*CALIBRATION.others[:known], CALIBRATION.others[7])
    assert Sameness.of(CARD.replace(sameness=before)) == CALIBRATION


@pytest.mark.parametrize(
    "broken", [{"strangers": [1, 2]}, {"near": None}, {"nearest": ["x"] * 7}, {"cohort": [float("nan"), 0]}]
)
def test_a_broken_one_is_named(broken: dict) -> None:
    with pytest.raises(UserError, match=r"grid\.test: the card's sameness calibration.*--sameness"):
        Sameness.of(CARD.replace(sameness=CALIBRATION.as_json() | broken))


def test_passes_have_a_calibration_of_their_own_or_nothing_is_known() -> None:
    assert CALIBRATION.for_passes() is None
    own = replace(CALIBRATION, strangers=(-1.0, 5.0, 0.5, 0.0, 0.0, 0.0), weights_sha256="")
    known = replace(CALIBRATION, passes=own, looks=(0.1, 0.2))
    card = CARD.replace(sameness=json.loads(json.dumps(known.as_json())))
    assert Sameness.of(card) == known
    passes = known.for_passes()
    assert passes == replace(own, weights_sha256="a" * 64, looks=(0.1, 0.2))


def test_a_card_from_before_passes_had_one_of_their_own_is_read() -> None:
    """More strangers were expected among passes, and nothing else was known."""
    held = CALIBRATION.as_json()
    before = Sameness.of(CARD.replace(sameness=held | {"passes": 0.7}))
    assert before is not None
    passes = before.for_passes()
    assert passes is not None
    expected = [each.standing(COHORT, 100).log_expected(DISTANCES) for each in (CALIBRATION, passes)]
    np.testing.assert_allclose(expected[1] - expected[0], 0.7)


@pytest.mark.parametrize("broken", [float("nan"), "x", {"strangers": [1, 2]}])
def test_a_broken_one_of_passes_is_named(broken: object) -> None:
    with pytest.raises(UserError, match=r"grid\.test: the card's sameness calibration.*--sameness"):
        Sameness.of(CARD.replace(sameness=CALIBRATION.as_json() | {"passes": broken}))


def test_images_of_few_vehicles_are_fewer_strangers() -> None:
    known = replace(CALIBRATION, redundancy=(-1.0, -0.5, float(np.log(3)), float(np.log(8))))
    asked = {many: known.standing(COHORT, 100, many) for many in (None, 1.0, 3.0, 8.0, 50.0)}
    rates = {many: each.false_match_rates(DISTANCES) for many, each in asked.items()}
    assert (rates[1.0] >= rates[3.0]).all() and (rates[3.0] >= rates[8.0]).all()
    assert rates[1.0][5] > rates[3.0][5] > rates[8.0][5]
    # Unknown is as usual, and nothing is told of fuller galleries than were seen.
    np.testing.assert_array_equal(rates[None], CALIBRATION.standing(COHORT, 100).false_match_rates(DISTANCES))
    np.testing.assert_allclose(rates[3.0], rates[None])
    np.testing.assert_array_equal(rates[50.0], rates[8.0])
    assert all((np.diff(each) >= 0).all() for each in rates.values())
    assert known.asks_for_redundancy and not CALIBRATION.asks_for_redundancy


def test_a_card_from_before_redundancy_is_read() -> None:
    before = {name: value for name, value in CALIBRATION.as_json().items() if name != "redundancy"}
    assert Sameness.of(CARD.replace(sameness=before)) == CALIBRATION
    with pytest.raises(UserError, match="redundancy"):
        Sameness.of(CARD.replace(sameness=before | {"redundancy": [1.0, 2.0]}))


def test_a_gallery_of_one_image_has_one_of_its_vehicle() -> None:
    known = replace(CALIBRATION, redundancy=(-1.0, -0.5, 1.0, 2.0))
    assert known.redundancy_among([(np.zeros(1), np.zeros(0))], 1) == pytest.approx(1, abs=0.01)
    assert known.redundancy_among([], 0) == pytest.approx(1, abs=0.01)


def test_what_is_told_is_held_to_what_is_there() -> None:
    """A gallery that shows a probe half of its vehicle's images has twice as many as it tells."""
    known = replace(CALIBRATION, redundancy=(-1.0, -0.5, float(np.log(3)), float(np.log(8))))
    searches = [(COHORT, np.array([0.1, 0.2, *DISTANCES[-5:]]))] * 4
    told = known.redundancy_among(searches, 100)
    assert 1.5 < told < 4
    half = replace(known, told=(-float(np.log(2)), 1.0, 0.0))
    assert half.redundancy_among(searches, 100) == pytest.approx(2 * told)
    by_count = replace(known, told=(0.0, 0.5, -0.1))
    expected = (told * 100**0.1) ** 2
    assert by_count.redundancy_among(searches, 100) == pytest.approx(min(expected, 8.0))
    # Never fewer than the image itself, nor more than was ever seen.
    assert replace(known, told=(5.0, 1.0, 0.0)).redundancy_among(searches, 100) == 1.0
    assert replace(known, told=(-5.0, 1.0, 0.0)).redundancy_among(searches, 100) == pytest.approx(8.0)
    before = {name: value for name, value in known.as_json().items() if name != "told"}
    assert Sameness.of(CARD.replace(sameness=before)) == known
    for wrong in ([1.0, 0.0, 0.0], [0.0, 1.0]):
        with pytest.raises(UserError, match="told"):
            Sameness.of(CARD.replace(sameness=before | {"told": wrong}))


def test_nearer_is_likelier_and_larger_galleries_less_sure() -> None:
    small, large = CALIBRATION.standing(COHORT, 100), CALIBRATION.standing(COHORT, 100_000)
    for standing in (small, large):
        rates, chances = standing.false_match_rates(DISTANCES), standing.probabilities(DISTANCES)
        assert (np.diff(rates) >= 0).all()
        assert (np.diff(chances) <= 0).all()
        assert ((rates >= 0) & (rates <= 1) & (chances >= 0) & (chances <= 1)).all()
    assert (large.false_match_rates(DISTANCES) >= small.false_match_rates(DISTANCES)).all()
    assert large.probabilities(DISTANCES)[3] < small.probabilities(DISTANCES)[3]


def test_the_order_of_the_images_does_not_matter() -> None:
    standing = CALIBRATION.standing(COHORT, 100)
    shuffled = np.random.default_rng(0).permutation(len(DISTANCES))
    np.testing.assert_allclose(
        standing.probabilities(DISTANCES[shuffled]), standing.probabilities(DISTANCES)[shuffled]
    )


def test_a_copy_of_the_query_changes_nothing_for_the_others() -> None:
    """A picture of the gallery is often what one searches with; its other pictures must not vanish for it."""
    standing = replace(CALIBRATION, others=(-3.5, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, -0.2)).standing(COHORT, 100)
    alone = standing.probabilities(DISTANCES[3:])
    assert alone[0] > 0.5
    for copies in ([0.0], [0.0, 0.01]):
        told = standing.probabilities(np.append(copies, DISTANCES[3:]))
        assert (told[: len(copies)] > 0.99).all()
        np.testing.assert_allclose(told[len(copies) :], alone)


def test_a_query_among_look_alikes_is_less_sure_at_the_same_distance() -> None:
    far, near = (CALIBRATION.standing(COHORT * scale, 100) for scale in (1.0, 0.5))
    assert near.false_match_rates(DISTANCES)[4] > far.false_match_rates(DISTANCES)[4]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_cohort_of_few_leans_on_usual_queries(count: int) -> None:
    standing = CALIBRATION.standing(np.full(count, 0.9), count)
    assert np.isfinite(standing.probabilities(DISTANCES)).all()
    assert abs(standing.level - CALIBRATION.cohort[0]) < 0.05


def test_verdicts() -> None:
    assert verdict_of(0.99, 0.009) == "match"
    assert verdict_of(0.99, 0.011) == "uncertain"
    assert verdict_of(0.99, 0.011, promised=0.02) == "match"
    assert verdict_of(0.4, 0.001) == "uncertain"
    assert verdict_of(0.05, 0.5) == "no match"
