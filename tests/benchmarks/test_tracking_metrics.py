"""HOTA and IDF1 against cases that are worked out by hand."""

import numpy as np
import pytest

from benchmarks.tracking_metrics import ALPHAS, Frame, hota, idf1


def frame(pairs: list[tuple[int, int]], overlap: float = 1.0, missed: int = 0, extra: int = 0) -> Frame:
    """Each pair is a true identity and what was found of it; others are missed, or are found of nothing."""
    true = [true for true, _ in pairs] + [90 + number for number in range(missed)]
    found = [found for _, found in pairs] + [95 + number for number in range(extra)]
    table = np.zeros((len(true), len(found)))
    table[range(len(pairs)), range(len(pairs))] = overlap
    return Frame(np.array(true, np.int64), np.array(found, np.int64), table)


def test_all_right_is_1() -> None:
    frames = [frame([(0, 3), (1, 0)])] * 5
    assert hota(frames).hota == pytest.approx(1)
    assert idf1(frames) == 1


def test_a_track_in_two_halves() -> None:
    # Ten boxes; each half: TPA 5, FNA 5, FPA 0, so A = 5 / 10.
    frames = [frame([(0, 0)])] * 5 + [frame([(0, 1)])] * 5
    found = hota(frames)
    assert (found.detection, found.association) == (pytest.approx(1), pytest.approx(0.5))
    assert found.hota == pytest.approx(np.sqrt(0.5))
    # One half is the vehicle's: IDTP 5, IDFN 5, IDFP 5.
    assert idf1(frames) == pytest.approx(10 / 20)


def test_one_track_of_two_vehicles() -> None:
    # Six boxes of one vehicle and two of another: A is 6 / 8 for six of them, 2 / 8 for two.
    frames = [frame([(0, 0)])] * 6 + [frame([(1, 0)])] * 2
    assert hota(frames).association == pytest.approx((6 * 6 / 8 + 2 * 2 / 8) / 8)
    assert idf1(frames) == pytest.approx(2 * 6 / 16)


def test_missed_and_made_up_boxes_and_loose_ones() -> None:
    # Four frames, each with one hit, one missed and two made up: DetA = 4 / (4 + 4 + 8).
    frames = [frame([(0, 0)], missed=1, extra=2)] * 4
    assert hota(frames).detection == pytest.approx(0.25)
    assert idf1(frames) == pytest.approx(2 * 4 / (8 + 12))
    # Boxes that overlap by 0.52 count up to there.
    loose = hota([frame([(0, 0)], overlap=0.52)] * 4)
    assert loose.hota == pytest.approx((ALPHAS <= 0.52).mean())
    assert idf1([frame([(0, 0)], overlap=0.49)]) == 0


def test_nothing_at_all() -> None:
    empty = frame([])
    assert hota([empty]).hota == hota([]).hota == 0
    assert idf1([empty]) == 0
    assert hota([frame([], missed=2), frame([], extra=1)]).hota == 0


def test_identities_of_two_cameras_are_of_both() -> None:
    # A vehicle that is called by one name at the first camera and by another at the second.
    there = [frame([(0, 0), (1, 1)])] * 3
    assert idf1([*there, *[frame([(0, 0), (1, 2)])] * 3]) == pytest.approx((6 + 3) * 2 / 24)
