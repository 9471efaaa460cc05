"""Promises of a calibration: met by one that was fitted for such vehicles, and not by one that was not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.evaluation.test_sameness import draw_vehicles, make_pictures
from training.datasets.records import NO_CLASSES, Record
from training.evaluation.extract import Extracted
from training.evaluation.promises import PROMISED, by_size, judge_promises
from training.evaluation.protocol import Embedded
from training.evaluation.sameness import fit_sameness
from training.evaluation.trials import make_trials
from zoo.sameness import Sameness


def embed(vehicles: int, seed: int) -> Embedded:
    """Drawn vehicles whose first picture asks."""
    embeddings, ids, cameras = draw_vehicles(vehicles, seed)
    asks = cameras == 0

    def part(chosen: np.ndarray) -> list[Record]:
        named = zip(ids[chosen], cameras[chosen], strict=True)
        return [Record(Path("x.jpg"), int(vehicle), int(camera)) for vehicle, camera in named]

    extracted = (Extracted(embeddings[chosen]) for chosen in (asks, ~asks))
    return Embedded(*extracted, part(asks), part(~asks), "euclidean", NO_CLASSES)


@pytest.fixture(scope="module")
def fitted() -> Sameness:
    return fit_sameness(make_trials(make_pictures(120, 0), np.random.default_rng(0), 1000))


def test_kept_promises_lie_within_their_intervals(fitted: Sameness) -> None:
    kept = judge_promises(fitted, embed(200, 1), searches=600)
    assert kept is not None
    assert [size for size, _ in by_size(kept.promises)] == [30, 100, 300, 995]
    for _, promises in by_size(kept.promises):
        assert [each.promised for each in promises] == list(PROMISED)
        assert np.all(np.diff([each.met for each in promises]) >= 0)
        assert all(each.low <= each.met <= each.high for each in promises)
    assert kept.first.count.sum() == len(kept.quality.best) == 600
    assert kept.reliability.expected_error == pytest.approx(kept.quality.expected_error)


def test_broken_promises_show(fitted: Sameness) -> None:
    """Of a calibration that expects a twentieth of the strangers that come, by all galleries' intervals."""
    weights = fitted.strangers
    bold = replace(fitted, strangers=(weights[0] - np.log(20), *weights[1:]))
    kept = judge_promises(bold, embed(200, 1), searches=600)
    assert kept is not None
    assert all(each.low > each.promised for each in kept.promises if each.promised == 0.05)


def test_few_vehicles_are_not_judged(fitted: Sameness) -> None:
    assert judge_promises(fitted, embed(9, 1)) is None
