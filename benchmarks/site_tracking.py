"""`python -m benchmarks.site_tracking`: from a drawn site's videos to tracks, passes, searches and journeys.

The detector is the truth: its boxes are `gt.txt`'s, as far as half of a vehicle shows. So what is measured is
all that comes after a detector: tracking, the choice of crops, the pooled vector, and the links.
"""

import argparse
import sys
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.site_truth import TrueDetector, camera_names, within_cameras
from benchmarks.tracking_metrics import Frame, hota, idf1
from retrieval.gallery.entries import Facts
from retrieval.journeys.linking import LinkOptions, link
from retrieval.journeys.passes import Passes as Rows
from retrieval.sources.crop import crop
from retrieval.sources.decoding import VideoFrame
from retrieval.sources.passes import Pass, Passes
from retrieval.sources.pipeline import pooled
from retrieval.sources.tracker import Tracker
from serving import open_encoder
from serving.encoders.encoder import Encoder
from serving.encoders.image import InputImage
from zoo.errors import exit_on_user_error
from zoo.files import write_text
from zoo.line_chart import line_chart

_CERTAINTIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_BEGIN, _END = "<!-- site tracking: begin -->", "<!-- site tracking: end -->"
_PAGE, _PLOT = Path("docs/video.md"), Path("docs/images/journeys-certainty.svg")


@dataclass(frozen=True, eq=False)
class Seen:
    """A pass, whose it is, its boxes, and its embeddings: of each kept crop, and of one box a second."""

    found: Pass
    vehicle: int
    boxes: list[tuple[int, int]]
    crops: np.ndarray
    weights: np.ndarray
    color: np.ndarray
    type: np.ndarray
    every: np.ndarray


def read_passes(site: Path, encoder: Encoder) -> tuple[list[Seen], list[tuple[int, int, int]]]:
    """The passes of all cameras in order of time; and camera, frame and vehicle of every box."""
    import av

    seen, boxes = [], []
    for camera, name in enumerate(camera_names(site), 1):
        detector = TrueDetector(site / name / "gt" / "gt.txt")
        passes, tracker = Passes(name, name, detector), Tracker(detector.confidence)  # type: ignore[arg-type]
        told: dict[str, Pass] = {}
        mine: dict[str, list[tuple[int, int]]] = defaultdict(list)
        every: dict[str, list[InputImage]] = defaultdict(list)
        facts, time = Facts(camera=camera, time=0.0), 0.0
        with av.open(str(site / f"{name}.mp4")) as container:
            rate = float(container.streams.video[0].average_rate)
            for detector.frame, shown in enumerate(container.decode(video=0)):
                time, pixels = float(shown.time), shown.to_ndarray(format="rgb24")
                facts = Facts(camera=camera, time=time)
                told |= {each.key: each for each in passes.add(VideoFrame(time, pixels), facts)}
                found, scene = detector.find(), InputImage.from_pixels(pixels)
                owners, _ = tracker.update(time, found)
                for each, owner in zip(found, owners, strict=True):
                    vehicle = detector.vehicles[detector.frame, each.box]
                    boxes.append((camera, detector.frame, vehicle))
                    if owner is None:
                        continue
                    key = passes.key_of(owner)
                    mine[key].append((detector.frame, vehicle))
                    if detector.frame % round(rate) == 0:
                        size = encoder.card.input_size
                        every[key].append(crop(scene, each.box).at_size(size, encoder.card.antialias))
        told |= {each.key: each for each in passes.finish(facts, time)}
        seen += [_seen(each, mine[key], every[key], rate, detector, encoder) for key, each in told.items()]
        print(f"{site.name}/{name}: {len(told)} passes", file=sys.stderr)
    return sorted(seen, key=lambda each: each.found.facts.time or 0), boxes


def _seen(
    found: Pass,
    boxes: list[tuple[int, int]],
    every: list[InputImage],
    rate: float,
    detector: TrueDetector,
    encoder: Encoder,
) -> Seen:
    views = found.load().views
    said = encoder.encode([*(view.image for view in views), *every])
    assert found.facts.box is not None
    vehicle = detector.vehicles[round((found.facts.time or 0) * rate), found.facts.box]
    weights, kept = np.array([view.weight for view in views]), slice(len(views))
    looks = (pooled(part[kept], weights) for part in (said.color_probs, said.type_probs))
    return Seen(found, vehicle, boxes, said.embedding[kept], weights, *looks, said.embedding[len(views) :])


def mean_average_precision(seen: list[Seen], vectors: list[np.ndarray]) -> float:
    """The best crop of each pass searched for among what other cameras saw: `vectors` are those of each."""
    owners = np.repeat(np.arange(len(seen)), [len(each) for each in vectors])
    gallery = np.concatenate(vectors)
    gallery = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    vehicle = np.array([each.vehicle for each in seen])
    camera = np.array([each.found.facts.camera for each in seen])
    scores = []
    for number, each in enumerate(seen):
        there = camera[owners] != camera[number]
        order = np.argsort(-(gallery[there] @ each.crops[0]), kind="stable")
        right = (vehicle[owners[there]] == vehicle[number])[order]
        if right.any():
            places = np.flatnonzero(right) + 1
            scores.append(float((np.arange(1, len(places) + 1) / places).mean()))
    return float(np.mean(scores))


def table_of(seen: list[Seen], is_pooled: bool) -> Rows:
    """What `link` takes."""
    facts = [each.found.facts for each in seen]
    times = np.array([fact.time for fact in facts])
    vectors = [pooled(each.crops, each.weights) if is_pooled else each.crops[0] for each in seen]
    return Rows(
        tuple((str(number),) for number in range(len(seen))),
        np.array([fact.camera for fact in facts]),
        times,
        times,
        np.full((len(seen), 2), np.nan),
        np.array(vectors, np.float32),
        np.array([each.color for each in seen]),
        np.array([each.type for each in seen]),
    )


def across_cameras(seen: list[Seen], boxes: list[tuple[int, int, int]], ways: list[list[int]]) -> list[Frame]:
    """Frames with vehicles for truth and journeys for what was found; a box of no pass is not found."""
    identity = np.arange(len(seen))
    for way in ways:
        identity[way] = way[0]
    found: dict[tuple[int, int, int], int] = {}
    for number, each in enumerate(seen):
        camera = each.found.facts.camera or 0
        found |= {(camera, frame, vehicle): int(identity[number]) for frame, vehicle in each.boxes}
    frames: dict[tuple[int, int], list[tuple[int, int, int]]] = defaultdict(list)
    for box in boxes:
        frames[box[:2]].append(box)
    made = []
    for here in frames.values():
        rows = [(place, found[box]) for place, box in enumerate(here) if box in found]
        overlap = np.zeros((len(here), len(rows)))
        overlap[[place for place, _ in rows], range(len(rows))] = 1
        made.append(Frame(np.array([b[2] for b in here]), np.array([i for _, i in rows], np.int64), overlap))
    return made


def measure(site: Path, encoder: Encoder) -> tuple[list[str], dict[str, list[tuple[float, float]]]]:
    """The rows of the table of a site, and IDF1 across cameras by the certainty that a link needs."""
    rows = []

    def row(what: str, value: str) -> None:
        rows.append(f"| {site.name} | {what} | {value} |")
        print(rows[-1], flush=True)

    for what, faults in (
        ("the truth's boxes", {}),
        ("a fifth of them missed, sides off by 5%", {"missed": 0.2, "off": 0.05}),
        ("the same, and looks that never err", {"missed": 0.2, "off": 0.05, "apart": 10_000.0}),
    ):
        frames, passages, tracks = within_cameras(site, **faults)
        value = f"HOTA {100 * hota(frames).hota:.1f}, IDF1 {100 * idf1(frames):.1f}"
        row(f"within cameras, {what}", f"{value}; {passages} passages, {tracks} tracks")
    seen, boxes = read_passes(site, encoder)
    of_pass = [pooled(each.crops, each.weights)[None] for each in seen]
    every = [each.every if len(each.every) else each.crops[:1] for each in seen]
    for what, vectors in (
        ("by image, one a second", every),
        ("by pass, the crops' mean by quality", of_pass),
        ("by pass, their plain mean", [each.crops.mean(axis=0, keepdims=True) for each in seen]),
        ("by pass, the best crop alone", [each.crops[:1] for each in seen]),
        ("by pass, the mean of one image a second", [each.mean(axis=0, keepdims=True) for each in every]),
    ):
        score = 100 * mean_average_precision(seen, vectors)
        row(f"search {what}", f"mAP {score:.1f}; {sum(map(len, vectors))} vectors")
    metric, lines = encoder.card.metric, {}
    for is_pooled in (True, False):
        for travel in (True, False):
            what = f"{'a pass' if is_pooled else 'the best crop'}, {'' if travel else 'no '}travel times"
            lines[what] = []
            for certainty in _CERTAINTIES:
                linked = link(
                    table_of(seen, is_pooled), metric, LinkOptions(certainty=certainty, uses_travel=travel)
                )
                frames = across_cameras(seen, boxes, linked.journeys(len(seen)))
                lines[what].append((certainty, idf1(frames)))
                if certainty == LinkOptions().certainty:
                    value = f"HOTA {100 * hota(frames).hota:.1f}, IDF1 {100 * idf1(frames):.1f}"
                    row(f"across cameras, {what}", f"{value}; {linked.is_chosen.sum()} links")
    return rows, lines


def write_page(rows: list[str], lines: list[dict[str, list[tuple[float, float]]]]) -> None:
    """Put the table and the plot, the mean of the sites, into the documentation."""
    before, _, rest = _PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    table = "\n".join(["| site | measured | |", "|---|---|---|", *rows])
    write_text(_PAGE, f"{before}{_BEGIN}\n{table}\n{_END}{after}")
    means = {
        name: [
            (certainty, float(np.mean([each[name][place][1] for each in lines])))
            for place, certainty in enumerate(_CERTAINTIES)
        ]
        for name in lines[0]
    }
    title, axis = "IDF1 across cameras", "--certainty, the least one of a link"
    write_text(_PLOT, line_chart(title, axis, means, log_x=False, log_y=False))


@exit_on_user_error
def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--site",
        type=Path,
        required=True,
        action="append",
        help="of `synthesize --videos`; repeated",
    )
    parser.add_argument("--model", default="lite0_osnet.real")
    parser.add_argument("--page", action="store_true", help=f"write table and plot to {_PAGE} and {_PLOT}")
    args = parser.parse_args()
    with closing(open_encoder(args.model, threads=1)) as encoder:
        found = [measure(site, encoder) for site in args.site]
    if args.page:
        write_page([row for rows, _ in found for row in rows], [lines for _, lines in found])
    return 0


if __name__ == "__main__":
    sys.exit(main())
