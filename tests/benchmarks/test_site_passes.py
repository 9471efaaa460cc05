"""What a detector finds on a drawn site, held against the truth."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.site_passes import Seen, TrueBox, frames_of, journeys_of
from benchmarks.site_truth import JudgedDetector
from benchmarks.tracking_metrics import idf1
from retrieval.sources.detector import Detection

HERE, NEAR, ELSEWHERE = (10, 10, 60, 60), (14, 10, 64, 60), (200, 10, 260, 60)


def seen(camera: int, *boxes: tuple[int, tuple[int, int, int, int]]) -> Seen:
    found = SimpleNamespace(facts=SimpleNamespace(camera=camera))
    nothing = np.zeros(0)
    return Seen(found, 1, list(boxes), nothing, nothing, nothing, nothing, nothing)  # type: ignore[arg-type]


def test_missed_and_false_boxes_count() -> None:
    """Two cameras show vehicle 1 in two frames each; one box is missed, and one more is nobody's."""
    truth = [
        TrueBox(camera, frame, vehicle=1, passage=camera, box=HERE) for camera in (1, 2) for frame in (0, 1)
    ]
    passes = [seen(1, (0, NEAR), (1, NEAR)), seen(2, (0, NEAR)), seen(2, (5, ELSEWHERE))]
    apart = frames_of(passes, truth, journeys_of(3, []))
    joined = frames_of(passes, truth, journeys_of(3, [[0, 1]]))
    # 4 true boxes and 4 found ones: 2 right, or 3.
    assert idf1(apart) == pytest.approx(2 * 2 / 8)
    assert idf1(joined) == pytest.approx(2 * 3 / 8)
    # A passage is of one camera: what is joined costs there.
    within = frames_of(passes, truth, journeys_of(3, []), is_within=True)
    assert idf1(within) == pytest.approx(2 * 3 / 8)


def test_a_box_belongs_to_the_vehicle_that_it_overlaps_by_half(tmp_path: Path) -> None:
    path = tmp_path / "gt.txt"
    path.write_text("1,7,10,10,50,50,1,3,1\n1,8,100,10,50,50,1,3,0.2\n", encoding="utf-8")
    boxes = [Detection(box, 0.9, "car") for box in (NEAR, ELSEWHERE, (40, 10, 90, 60))]
    real = SimpleNamespace(confidence=0.3, find=lambda pixels, least: boxes)
    detector = JudgedDetector(path, real)  # type: ignore[arg-type]
    found = detector.find(np.zeros((4, 4, 3), np.uint8), least=0.1)
    assert [detector.vehicles[0, each.box] for each in found] == [7, 0, 0]
    assert detector.find() == found
    # A vehicle that hardly shows is not asked for.
    assert detector.shown() == [(7, HERE)]
