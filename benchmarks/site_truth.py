"""The truth of a drawn site: what a detector that never errs would find, and how well tracks keep to it."""

import csv
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.tracking_metrics import Frame
from retrieval.gallery.entries import Box
from retrieval.sources.detector import Detection, Detector
from retrieval.sources.tracker import Track, Tracker, overlaps

_LEAST_VISIBLE = 0.5
_LEAST_SIDE = 32
_LEAST_OVERLAP = 0.5


class TrueDetector:
    """Finds what the truth says of the frame that comes next.

    Args:
        path: of the truth.
        missed: the share of boxes that are not found.
        off: standard deviation of each side, in sizes of the vehicle.
        apart: pixels between the boxes of one vehicle and those of the next number, so that a tracker cannot
            confuse them: what looks that never err would bring.
    """

    confidence = 0.4

    def __init__(self, path: Path, missed: float = 0.0, off: float = 0.0, apart: float = 0.0) -> None:
        self.vehicles: dict[tuple[int, Box], int] = {}
        self.frame = 0
        self._boxes: dict[int, list[Detection]] = defaultdict(list)
        rng = np.random.default_rng(0)
        with open(path, encoding="utf-8") as file:
            for row in csv.reader(file):
                frame, vehicle = int(row[0]) - 1, int(row[1])
                left, top, width, height = (float(value) for value in row[2:6])
                is_found, moved = rng.random() >= missed, rng.normal(0, off, 4) if off else np.zeros(4)
                if float(row[8]) < _LEAST_VISIBLE or min(width, height) < _LEAST_SIDE or not is_found:
                    continue
                sides = np.array([left, top, left + width, top + height]) + apart * vehicle
                sides = (sides + moved * [width, height, width, height]).round()
                box: Box = tuple(sides.tolist())
                self._boxes[frame].append(Detection(box, 0.9, "car"))
                self.vehicles[frame, box] = vehicle
        self.frames = max(self._boxes, default=-1) + 1

    def find(self, pixels: np.ndarray | None = None, least: float = 0.0) -> list[Detection]:
        """The boxes of the frame whose number is set."""
        return self._boxes[self.frame]

    def shown(self) -> list[tuple[int, Box]]:
        """What the truth says of that frame: vehicles and their boxes."""
        return [(self.vehicles[self.frame, each.box], each.box) for each in self._boxes[self.frame]]


class JudgedDetector(TrueDetector):
    """A real detector, whose boxes belong to the vehicles of the truth that they overlap by half.

    A box that belongs to none has vehicle 0. `find` without pixels gives what it gave before.
    """

    def __init__(self, path: Path, detector: Detector) -> None:
        super().__init__(path)
        self.confidence = detector.confidence  # type: ignore[misc]
        self._detector = detector
        self._found: list[Detection] = []

    def find(self, pixels: np.ndarray | None = None, least: float = 0.0) -> list[Detection]:
        if pixels is not None:
            true = self.shown()
            places = np.array([box for _, box in true], float).reshape(-1, 4)
            self._found = self._detector.find(pixels, least=least)
            for each in self._found:
                shared = overlaps(np.array(each.box), places)
                is_one = shared.max(initial=0) >= _LEAST_OVERLAP
                self.vehicles.setdefault((self.frame, each.box), true[shared.argmax()][0] if is_one else 0)
        return self._found


@dataclass(frozen=True)
class Passages:
    """The truth of a camera: when each vehicle came; one that comes again is another passage."""

    rows: list[tuple[int, float]]

    @classmethod
    def of(cls, site: Path, camera: int) -> "Passages":
        """Read a site's truth."""
        with open(site / "journeys.csv", encoding="utf-8") as file:
            mine = [row for row in csv.DictReader(file) if int(row["camera"]) == camera]
        return cls([(int(row["vehicle_id"]), float(row["start"])) for row in mine])

    def at(self, vehicle: int, seconds: float) -> int:
        """The number of the passage that a vehicle is on."""
        return max(
            number
            for number, (whose, start) in enumerate(self.rows)
            if whose == vehicle and start <= seconds + 0.001
        )


def within_cameras(site: Path, **faults: float) -> tuple[list[Frame], int, int]:
    """The frames of all cameras with passages for truth and tracks for what was found; how many of either."""
    rate = float(json.loads((site / "site.json").read_text(encoding="utf-8"))["parameters"]["rate"])
    frames: list[Frame] = []
    passages, tracks = 0, 0
    for camera, name in enumerate(camera_names(site), 1):
        detector = TrueDetector(site / name / "gt" / "gt.txt", **faults)
        truth, tracker = Passages.of(site, camera), Tracker(detector.confidence)
        numbers: dict[Track | None, int] = {}
        for frame in range(detector.frames):
            detector.frame, time = frame, frame / rate
            found = detector.find()
            owners, _ = tracker.update(time, found)
            true = [truth.at(detector.vehicles[frame, each.box], time) for each in found]
            mine = [numbers.setdefault(owner, len(numbers)) for owner in owners]
            frames.append(_same_boxes(np.array(true) + passages, np.array(mine) + tracks))
        passages, tracks = passages + len(truth.rows), tracks + len(numbers)
    return frames, passages, tracks


def _same_boxes(true: np.ndarray, found: np.ndarray) -> Frame:
    return Frame(true.astype(np.int64), found.astype(np.int64), np.eye(len(true)))


def camera_names(site: Path) -> list[str]:
    return sorted(path.stem for path in site.glob("*.mp4"))
