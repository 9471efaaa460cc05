"""The section on probabilities and verdicts: what is shown where there is a calibration, and where none."""

import numpy as np
import pytest

from training.evaluation.attributes import Reliability
from training.evaluation.promises import KeptPromises, Promise
from training.evaluation.sameness_quality import SamenessQuality
from training.report.sameness_section import sameness_section
from zoo.card import Card

CARD = Card("a.b", (8, 8), {"embedding": 4}, sameness={"measured": {"dataset": "fitted"}})
PROMISES = tuple(
    Promise(size, promised, 1.3 * promised, promised / 2, 2 * promised)
    for size in (30, 1000)
    for promised in (0.005, 0.01, 0.02, 0.05)
)


@pytest.fixture
def kept() -> KeptPromises:
    bins = Reliability(np.array([0.1, np.nan, 0.9]), np.array([0.2, np.nan, 0.8]), np.array([7, 0, 3]))
    right = np.array([True, False])
    quality = SamenessQuality(
        np.array([0.9, 0.1]),
        right,
        np.array([0.001, 0.5]),
        np.array([0.9, 0.1]),
        right,
        right,
        np.eye(2),
        np.array([30, 1000]),
    )
    return KeptPromises(PROMISES, bins, bins, quality)


def test_curves_and_table(kept: KeptPromises) -> None:
    page = sameness_section(kept, CARD, "seen <1>")
    assert page.count("<svg") == 2 and page.count("of 7 results") == 2
    assert "<td>1.30 [0.50, 2.00]</td>" in page and "<td>1,000</td>" in page
    assert page.index("promised 0.5 %") < page.index("promised 5 %")
    assert "flatters" not in page


def test_the_data_of_the_calibration_itself_is_named(kept: KeptPromises) -> None:
    assert "fitted on fitted too, which flatters" in sameness_section(kept, CARD, "fitted")


def test_without_calibration_nothing_is_shown_but_how_to_make_one() -> None:
    page = sameness_section(None, CARD.replace(sameness={}), "seen")
    assert "<svg" not in page and "training.calibrate --sameness" in page
    assert "too few vehicles" in sameness_section(None, CARD, "seen")
