"""The passes that a drawn site's videos give, and whose they are, by the truth's boxes or a detector's."""

import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.site_truth import JudgedDetector, Passages, TrueDetector, camera_names
from benchmarks.tracking_metrics import Frame
from retrieval.gallery.entries import Box, Facts
from retrieval.sources.crop import crop
from retrieval.sources.decoding import VideoFrame
from retrieval.sources.detector import Detector
from retrieval.sources.passes import UNCERTAIN, Pass, Passes
from retrieval.sources.pipeline import pooled
from retrieval.sources.tracker import Tracker, overlaps
from serving.encoders.encoder import Encoder
from serving.encoders.image import InputImage


@dataclass(frozen=True, eq=False)
class Seen:
    """A pass, whose it is (0: nobody's), its frames and boxes, and its embeddings: of each kept crop, and of
    one box a second."""

    found: Pass
    vehicle: int
    boxes: list[tuple[int, Box]]
    crops: np.ndarray
    weights: np.ndarray
    color: np.ndarray
    type: np.ndarray
    every: np.ndarray


@dataclass(frozen=True)
class TrueBox:
    """What the truth says: `passage` numbers each time that a vehicle comes to a camera, over all cameras."""

    camera: int
    frame: int
    vehicle: int
    passage: int
    box: Box


def read_passes(site: Path, encoder: Encoder, real: Detector | None) -> tuple[list[Seen], list[TrueBox]]:
    """The passes of all cameras in order of time, and the truth; the boxes are the truth's without `real`."""
    import av

    seen, boxes, passages = [], [], 0
    for camera, name in enumerate(camera_names(site), 1):
        path, truth = site / name / "gt" / "gt.txt", Passages.of(site, camera)
        detector = TrueDetector(path) if real is None else JudgedDetector(path, real)
        passes, tracker = Passes(name, name, detector.confidence), Tracker(detector.confidence)
        told: dict[str, Pass] = {}
        mine: dict[str, list[tuple[int, Box]]] = defaultdict(list)
        every: dict[str, list[InputImage]] = defaultdict(list)
        facts, time = Facts(camera=camera, time=0.0), 0.0
        with av.open(str(site / f"{name}.mp4")) as container:
            rate = float(container.streams.video[0].average_rate)
            for detector.frame, shown in enumerate(container.decode(video=0)):
                time, pixels = float(shown.time), shown.to_ndarray(format="rgb24")
                facts = Facts(camera=camera, time=time)
                found, scene = detector.find(pixels, UNCERTAIN), InputImage.from_pixels(pixels)
                told |= {each.key: each for each in passes.add(VideoFrame(time, pixels), facts, found)}
                owners, _ = tracker.update(time, found)
                boxes += [
                    TrueBox(camera, detector.frame, vehicle, passages + truth.at(vehicle, time), box)
                    for vehicle, box in detector.shown()
                ]
                for each, owner in zip(found, owners, strict=True):
                    if owner is None:
                        continue
                    key = passes.key_of(owner)
                    mine[key].append((detector.frame, each.box))
                    if detector.frame % round(rate) == 0:
                        size = encoder.card.input_size
                        every[key].append(crop(scene, each.box).at_size(size, encoder.card.antialias))
        told |= {each.key: each for each in passes.finish(facts, time)}
        seen += [_seen(each, mine[key], every[key], detector, encoder) for key, each in told.items()]
        passages += len(truth.rows)
        print(f"{site.name}/{name}: {len(told)} passes", file=sys.stderr)
    return sorted(seen, key=lambda each: each.found.facts.time or 0), boxes


def _seen(
    found: Pass,
    boxes: list[tuple[int, Box]],
    every: list[InputImage],
    detector: TrueDetector,
    encoder: Encoder,
) -> Seen:
    views = found.load().views
    said = encoder.encode([*(view.image for view in views), *every])
    vehicle = Counter(detector.vehicles[box] for box in boxes).most_common(1)[0][0]
    weights, kept = np.array([view.weight for view in views]), slice(len(views))
    looks = (pooled(part[kept], weights) for part in (said.color_probs, said.type_probs))
    return Seen(found, vehicle, boxes, said.embedding[kept], weights, *looks, said.embedding[len(views) :])


def frames_of(
    seen: list[Seen], truth: list[TrueBox], identity: np.ndarray, is_within: bool = False
) -> list[Frame]:
    """All frames with vehicles, or passages, for truth, and identities of passes for what was found.

    A true box of no pass is not found, and a box that is nobody's is found in vain.
    """
    true: dict[tuple[int, int], list[tuple[int, Box]]] = defaultdict(list)
    found: dict[tuple[int, int], list[tuple[int, Box]]] = defaultdict(list)
    for row in truth:
        true[row.camera, row.frame].append((row.passage if is_within else row.vehicle, row.box))
    for number, each in enumerate(seen):
        for frame, box in each.boxes:
            found[each.found.facts.camera or 0, frame].append((int(identity[number]), box))
    made = []
    for key in sorted({*true, *found}):
        places = np.array([box for _, box in found[key]], float).reshape(-1, 4)
        overlap = np.array([overlaps(np.array(box, float), places) for _, box in true[key]])
        numbers = (np.array([number for number, _ in rows], np.int64) for rows in (true[key], found[key]))
        made.append(Frame(*numbers, overlap.reshape(len(true[key]), len(places))))
    return made


def journeys_of(count: int, ways: list[list[int]]) -> np.ndarray:
    """The identity of each pass: that of its journey's first one."""
    identity = np.arange(count)
    for way in ways:
        identity[way] = way[0]
    return identity
