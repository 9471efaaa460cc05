"""`python -m benchmarks.site_tracking`: from a drawn site's videos to tracks, passes and journeys.

The detector is the truth: its boxes are `gt.txt`'s, as far as half of a vehicle shows. So what is measured is
all that comes after a detector: tracking, the choice of crops, the pooled vector, and the links.
"""

import argparse
import csv
import sys
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from retrieval.gallery.entries import Box, Facts
from retrieval.journeys.linking import LinkOptions, link
from retrieval.journeys.passes import Passes as Rows
from retrieval.sources.decoding import VideoFrame
from retrieval.sources.detector import Detection
from retrieval.sources.passes import Pass, Passes
from retrieval.sources.tracker import Track, Tracker
from serving import open_encoder
from zoo.errors import exit_on_user_error

_LEAST_VISIBLE = 0.5
_LEAST_SIDE = 32


class TrueDetector:
    """Finds what the truth says of the frame that comes next."""

    confidence = 0.4

    def __init__(self, path: Path) -> None:
        self.vehicles: dict[tuple[int, Box], int] = {}
        self.frame = 0
        self._boxes: dict[int, list[Detection]] = defaultdict(list)
        with open(path, encoding="utf-8") as file:
            for row in csv.reader(file):
                frame, vehicle = int(row[0]) - 1, int(row[1])
                left, top, width, height = (float(value) for value in row[2:6])
                box = tuple(float(round(side)) for side in (left, top, left + width, top + height))
                if float(row[8]) >= _LEAST_VISIBLE and min(width, height) >= _LEAST_SIDE:
                    self._boxes[frame].append(Detection(box, 0.9, "car"))
                    self.vehicles[frame, box] = vehicle

    def find(self, pixels: np.ndarray, least: float = 0.0) -> list[Detection]:
        """The boxes of the frame whose number is set."""
        return self._boxes[self.frame]


def idf1(pairs: list[tuple[int, int]], truths: int, found: int) -> float:
    """IDF1 of (vehicle, identity) pairs, one for each thing that was found of a vehicle."""
    shared: dict[tuple[int, int], int] = defaultdict(int)
    for pair in pairs:
        shared[pair] += 1
    rows, columns = ({name: n for n, name in enumerate(sorted({p[k] for p in pairs}))} for k in (0, 1))
    table = np.zeros((len(rows), len(columns)))
    for (vehicle, identity), count in shared.items():
        table[rows[vehicle], columns[identity]] = count
    return 2 * float(table[linear_sum_assignment(-table)].sum()) / (truths + found)


def track(site: Path, name: str, number: int) -> tuple[list[Pass], list[int], list[tuple[int, int]]]:
    """The passes of a camera, whose they are, and the passage and the track of each box."""
    import av

    with open(site / "journeys.csv", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if int(row["camera"]) == number]

    def passage_of(vehicle: int, seconds: float) -> int:
        """A vehicle that comes again is another passage."""
        mine = [n for n, row in enumerate(rows) if int(row["vehicle_id"]) == vehicle]
        return max(n for n in mine if float(rows[n]["start"]) <= seconds + 0.001)

    detector = TrueDetector(site / name / "gt" / "gt.txt")
    passes, tracker = Passes(name, name, detector), Tracker(detector.confidence)  # type: ignore[arg-type]
    found, boxes, facts, frame = [], [], Facts(camera=number, time=0.0), None
    tracks: dict[Track | None, int] = {}
    with av.open(str(site / f"{name}.mp4")) as container:
        for count, shown in enumerate(container.decode(video=0)):
            detector.frame = count
            frame = VideoFrame(float(shown.time), shown.to_ndarray(format="rgb24"))
            facts = Facts(camera=number, time=frame.time)
            found += list(passes.add(frame, facts))
            here = detector.find(frame.pixels)
            owners, _ = tracker.update(frame.time, here)
            pairs = zip(here, owners, strict=True)
            for each, owner in pairs:
                number_of = tracks.setdefault(owner, len(tracks))
                whose = detector.vehicles[count, each.box]
                boxes.append((passage_of(whose, frame.time), number_of))
        rate = float(container.streams.video[0].average_rate)
    found += list(passes.finish(facts, frame.time if frame else 0.0))
    # A vehicle that stays is told again, under one key.
    latest = {each.key: each for each in found}.values()
    owners_of = [detector.vehicles[round((each.facts.time or 0) * rate), each.facts.box] for each in latest]
    return list(latest), owners_of, boxes


@exit_on_user_error
def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--site", type=Path, required=True, help="of `vehicle-reid synthesize --videos`")
    parser.add_argument("--model", default="lite0_osnet.real")
    args = parser.parse_args()
    names = sorted(path.stem for path in args.site.glob("*.mp4"))
    seen: list[tuple[Pass, int]] = []
    within = []
    for number, name in enumerate(names, 1):
        passes, whose, boxes = track(args.site, name, number)
        within.append((idf1(boxes, len(boxes), len(boxes)), len(boxes)))
        seen += zip(passes, whose, strict=True)
    seen.sort(key=lambda each: each[0].facts.time or 0)
    rows = []
    with closing(open_encoder(args.model, threads=1)) as encoder:
        metric = encoder.card.metric
        for each, _ in seen:
            views = each.load().views
            weights = np.array([view.weight for view in views])[:, None] / sum(view.weight for view in views)
            said = encoder.encode([view.image for view in views])
            parts = (said.embedding, said.color_probs, said.type_probs)
            rows.append([(weights * part).sum(axis=0) for part in parts])
    embedding, color, kind = (np.array(part, np.float32) for part in zip(*rows, strict=True))
    vehicle = np.array([whose for _, whose in seen])
    facts = [each.facts for each, _ in seen]
    times = np.array([fact.time for fact in facts])
    table = Rows(
        tuple((each.key,) for each, _ in seen),
        np.array([fact.camera for fact in facts]),
        times,
        times,
        np.full((len(seen), 2), np.nan),
        embedding,
        color,
        kind,
    )
    true = {(whose, each.facts.camera) for each, whose in seen}
    boxes = sum(count for _, count in within)
    average = sum(score * count for score, count in within) / boxes
    print(f"{len(names)} cameras, {boxes} boxes: IDF1 within a camera {average:.3f}")
    vehicles = len(set(vehicle.tolist()))
    print(
        f"{len(seen)} passes of {vehicles} vehicles at {len(true)} pairs of vehicle and camera; {args.model}"
    )
    for travel in (True, False):
        linked = link(table, metric, LinkOptions(uses_travel=travel))
        identity = np.arange(len(seen))
        for way in linked.journeys(len(seen)):
            identity[way] = way[0]
        pairs = list(zip(vehicle.tolist(), identity.tolist(), strict=True))
        chosen = linked.is_chosen
        right = vehicle[linked.earlier[chosen]] == vehicle[linked.later[chosen]]
        score = idf1(pairs, len(seen), len(seen))
        how = "with" if travel else "without"
        print(f"{how} travel times: {len(right)} links, {right.sum()} right; IDF1 across cameras {score:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
