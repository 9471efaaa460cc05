"""Sameness: what is fitted on some vehicles keeps its word on others."""

from pathlib import Path

import numpy as np
import pytest

from training.datasets.records import Record
from training.evaluation.looks import fit_looks
from training.evaluation.passes import pool_passes
from training.evaluation.sameness import _fit_falling, calibrate_sameness
from training.evaluation.sameness_quality import expected_error, judge_sameness
from training.evaluation.trials import Pictures, make_trials
from zoo.card import Card
from zoo.errors import UserError
from zoo.sameness import LARGEST, PROBES, Sameness


def draw_vehicles(
    vehicles: int, seed: int, cameras: int = 5, pictures: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vehicles are points of a 6-dimensional normal distribution, their pictures lie about them.

    Args:
        vehicles, seed: how many, and of the draw.
        cameras: that see each of them.
        pictures: by each camera.

    Returns:
        embeddings, vehicles and cameras.
    """
    rng = np.random.default_rng(seed)
    ids = np.repeat(np.arange(vehicles), cameras * pictures)
    blur = rng.uniform(0.15, 0.6, (len(ids), 1))
    embeddings = rng.normal(size=(vehicles, 6))[ids] + blur * rng.normal(size=(len(ids), 6))
    return embeddings.astype(np.float32), ids, np.tile(np.repeat(np.arange(cameras), pictures), vehicles)


def make_pictures(vehicles: int, seed: int) -> Pictures:
    """How far the pictures of such vehicles are apart."""
    return Pictures.of(*draw_vehicles(vehicles, seed), "euclidean")


Calibration = tuple[Sameness, dict[str, float | int]]
CARD = Card("a.b", (8, 8), {"embedding": 6}, weights_sha256="a" * 64)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    """Of 120 vehicles, and what was measured."""
    embeddings, ids, cameras = draw_vehicles(120, 0)
    records = [
        Record(Path(f"{n}.jpg"), int(v), int(c)) for n, (v, c) in enumerate(zip(ids, cameras, strict=True))
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.evaluation.sameness._TRIALS", 2000)
        return calibrate_sameness(embeddings, records, CARD)


def test_the_promise_is_kept_on_other_vehicles(calibration: Calibration) -> None:
    sameness, _ = calibration
    others = make_pictures(400, 1)
    for size in (50, 1500):
        trials = make_trials(others, np.random.default_rng(2), 2000, [size], absent=0.9)
        quality = judge_sameness(sameness, trials)
        assert 0.002 < quality.false_matches(0.01) < 0.03
        assert 0.03 < quality.false_matches(0.05) < 0.09
    usual = judge_sameness(sameness, make_trials(others, np.random.default_rng(3), 1500))
    assert usual.expected_error < 0.03
    assert expected_error(usual.best, usual.is_right) < 0.06
    assert usual.f1(usual.best >= 0.5) > 0.6


@pytest.mark.parametrize("pictures_each", [1, 2, 5])
def test_the_promise_is_kept_however_many_pictures_a_vehicle_has(
    pictures_each: int, calibration: Calibration
) -> None:
    sameness, _ = calibration
    embeddings, vehicles, cameras = draw_vehicles(1000, 1)
    rng = np.random.default_rng(2)
    kept = np.concatenate([rng.permutation(5)[:pictures_each] + 5 * n for n in range(800 // pictures_each)])
    asking = np.flatnonzero(vehicles >= 800)
    searched = np.append(kept, asking)
    apart = Pictures.of(
        embeddings[searched], vehicles[searched], cameras[searched], "euclidean", np.arange(len(searched))
    ).distances
    gallery, queries = np.arange(len(kept)), np.arange(len(kept), len(searched))
    searches = [
        (apart[probe, gallery].astype(float), np.sort(np.delete(apart[probe, gallery], probe))[:20])
        for probe in range(0, len(kept), len(kept) // PROBES)
    ]
    many = sameness.redundancy_among(searches, len(kept))
    # Told by a calibration of 120 vehicles alone: roughly, and two may be taken for one.
    least, most = {1: (1.0, 1.6), 2: (1.0, 2.7), 5: (3.4, 5.5)}[pictures_each]
    assert least <= many < most
    told = {
        known: np.array(
            [
                sameness.standing(apart[query, gallery], len(kept), known).false_match_rates(
                    apart[query, gallery].min(keepdims=True)
                )[0]
                for query in queries
            ]
        )
        for known in (many, None)
    }
    assert 0.015 < np.mean(told[many] <= 0.05) < 0.085
    # Whoever does not ask promises too much of one picture of each vehicle, and less than needed of five.
    if pictures_each == 1:
        assert told[None].mean() < told[many].mean()
    if pictures_each == 5:
        assert told[None].mean() > told[many].mean()


def test_trials_are_searches_whose_answer_is_known() -> None:
    pictures = make_pictures(30, 0)
    trials = make_trials(pictures, np.random.default_rng(0), 200, [40])
    # Every vehicle has two pictures at least, so that there are enough.
    assert {trial.count for trial in trials} == {40}
    crowded = make_trials(pictures, np.random.default_rng(0), 50, [1000])
    assert all(145 <= trial.count <= 149 for trial in crowded)
    assert 0.1 < np.mean([not trial.is_present for trial in trials]) < 0.3
    for trial in trials:
        assert (np.diff(trial.distances) >= 0).all()
        assert trial.is_same.any() <= trial.is_present
        if not trial.is_present:
            assert trial.stranger == trial.distances[0]


def test_expected_error_is_the_gap_of_bins() -> None:
    said = np.array([0.9] * 10 + [0.1] * 10)
    right = np.array([True] * 9 + [False] + [False] * 9 + [True])
    assert expected_error(said, right) == pytest.approx(0)
    assert expected_error(np.full(10, 0.9), np.zeros(10, bool)) == pytest.approx(0.9)


def test_a_calibration_is_held_to_vehicles_that_its_fits_have_not_seen(calibration: Calibration) -> None:
    sameness, measured = calibration
    assert (measured["vehicles"], measured["pictures"], measured["searches"]) == (120, 600, 2000)
    assert sameness.weights_sha256 == CARD.weights_sha256
    trials = make_trials(make_pictures(400, 1), np.random.default_rng(2), 2000, [500], absent=0.99)
    assert 0.004 < judge_sameness(sameness, trials).false_matches(0.01) < 0.02


def test_passes_get_a_calibration_of_their_own_that_keeps_its_word(
    calibration: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Means lie nearer to strangers and to their own: what holds for pictures promises and tells too little
    or too much of them."""
    assert calibration[0].passes is None, "there was one picture by each camera"
    monkeypatch.setattr("training.evaluation.sameness._TRIALS", 1000)
    monkeypatch.setattr("training.evaluation.redundancy._GALLERIES", 50)
    embeddings, ids, cameras = draw_vehicles(120, 0, cameras=3, pictures=2)
    records = [Record(Path("a.jpg"), int(v), int(c)) for v, c in zip(ids, cameras, strict=True)]
    found, measured = calibrate_sameness(embeddings, records, CARD)
    of_passes = found.for_passes()
    assert found.passes is not None and of_passes is not None and found.passes.measured is not None
    assert measured["pictures"] == 720 and found.passes.measured["passes"] == 360
    *others, _ = pool_passes(*draw_vehicles(400, 1, cameras=3, pictures=2), "euclidean")
    passes = Pictures.of(*others, "euclidean")
    absent = make_trials(passes, np.random.default_rng(2), 2000, [300], absent=0.9)
    usual = make_trials(passes, np.random.default_rng(3), 1500)
    own, pictures = (judge_sameness(each, usual) for each in (of_passes, found))
    assert 0.002 < judge_sameness(of_passes, absent).false_matches(0.01) < 0.03
    assert own.expected_error < 0.03
    assert own.expected_error < pictures.expected_error


def test_odds_that_get_flat_in_large_galleries_stay_steep_in_small_ones() -> None:
    """One slope for all sizes would be too steep for the one and too flat for the other."""
    rng = np.random.default_rng(0)
    size = rng.uniform(np.log(10), np.log(5000), 20_000)
    log_expected = rng.uniform(-6, 0, len(size))
    slope = -2.4 + 0.23 * size
    right = rng.random(len(size)) < 1 / (1 + np.exp(-(slope * (log_expected + 3))))
    features = np.zeros((len(size), 7))
    features[:, 0], features[:, 1], features[:, 2], features[:, 5] = (
        1,
        log_expected,
        size,
        log_expected * size,
    )
    weights = _fit_falling(features, right)
    fitted = {count: weights[1] + weights[5] * np.log(count) for count in (30, 1000, LARGEST)}
    assert fitted[LARGEST] <= -0.19
    assert fitted[30] < -1.3
    assert -1.0 < fitted[1000] < -0.6


def test_only_some_vehicles_ask_and_all_are_searched() -> None:
    pictures = make_pictures(30, 0)
    asking = pictures.asked_by(np.array([3, 7]))
    assert asking.distances.shape == (10, 150)
    assert set(asking.vehicles[asking.asking]) == {3, 7} and set(asking.vehicles) == set(range(30))
    np.testing.assert_array_equal(asking.distances, pictures.distances[asking.asking])
    few = asking.only(np.array([1, 7]))
    assert few.distances.shape == (5, 10) and set(few.vehicles[few.asking]) == {7}
    assert (few.distances[np.arange(5), few.asking] < 1e-2).all()


def test_too_few_vehicles_are_refused() -> None:
    records = [Record(Path(f"{n}.jpg"), n // 2, n % 2) for n in range(20)]
    with pytest.raises(UserError, match=r"10 vehicles.*at least 40 vehicles"):
        calibrate_sameness(np.zeros((20, 4), np.float32), records, Card("a.b", (8, 8), {"embedding": 4}))


def test_looks_are_worth_what_they_tell() -> None:
    pictures = make_pictures(200, 0)
    rng = np.random.default_rng(3)
    paint = rng.integers(0, 8, 200)[pictures.vehicles]
    known, guessed = np.full((1000, 8), 0.02), rng.dirichlet(np.ones(8), 1000)
    known[np.arange(1000), paint] = 0.86
    color, type = fit_looks(pictures, known, guessed)
    assert color > 0.3 and type < color / 5
    assert fit_looks(pictures, np.zeros((1000, 0)), guessed)[0] == 0
