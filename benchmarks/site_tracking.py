"""`python -m benchmarks.site_tracking`: from a drawn site's videos to tracks, passes, searches and journeys.

The detector is the truth: its boxes are `gt.txt`'s, as far as half of a vehicle shows. So what is measured is
all that comes after a detector: tracking, the choice of crops, the pooled vector, and the links. With
`--detector` the whole road is measured again with a real one.
"""

import argparse
import sys
from contextlib import closing
from pathlib import Path

import numpy as np

from benchmarks.site_passes import Seen, TrueBox, frames_of, journeys_of, read_passes
from benchmarks.site_truth import within_cameras
from benchmarks.tracking_metrics import Frame, hota, idf1
from retrieval.journeys.linking import LinkOptions, link
from retrieval.journeys.passes import Passes as Linkable
from retrieval.sources.detector import Detector
from retrieval.sources.pipeline import pooled
from serving import open_encoder
from serving.encoders.encoder import Encoder
from zoo.errors import exit_on_user_error
from zoo.files import write_text
from zoo.line_chart import line_chart

_CERTAINTIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_BEGIN, _END = "<!-- site tracking: begin -->", "<!-- site tracking: end -->"
_PAGE, _PLOT = Path("docs/video.md"), Path("docs/images/journeys-certainty.svg")


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
        right = ((vehicle[owners[there]] == vehicle[number]) & (vehicle[number] > 0))[order]
        if right.any():
            places = np.flatnonzero(right) + 1
            scores.append(float((np.arange(1, len(places) + 1) / places).mean()))
    return float(np.mean(scores))


def table_of(seen: list[Seen], is_pooled: bool) -> Linkable:
    """What `link` takes."""
    facts = [each.found.facts for each in seen]
    times = np.array([fact.time for fact in facts])
    vectors = [pooled(each.crops, each.weights) if is_pooled else each.crops[0] for each in seen]
    return Linkable(
        tuple((str(number),) for number in range(len(seen))),
        np.array([fact.camera for fact in facts]),
        times,
        times,
        np.full((len(seen), 2), np.nan),
        np.array(vectors, np.float32),
        np.array([each.color for each in seen]),
        np.array([each.type for each in seen]),
    )


Line = list[tuple[float, float]]


class Rows:
    """The rows of a site in the table, printed as they come."""

    def __init__(self, site: Path) -> None:
        self.rows: list[str] = []
        self._site = site

    def add(self, what: str, value: str) -> None:
        self.rows.append(f"| {self._site.name} | {what} | {value} |")
        print(self.rows[-1], flush=True)

    def add_frames(self, what: str, frames: list[Frame], more: str) -> None:
        self.add(what, f"HOTA {100 * hota(frames).hota:.1f}, IDF1 {100 * idf1(frames):.1f}; {more}")


def measure(site: Path, encoder: Encoder, real: Detector | None) -> tuple[list[str], dict[str, Line]]:
    """The rows of the table of a site, and IDF1 across cameras by the certainty that a link needs."""
    rows = Rows(site)
    for what, faults in (
        ("the truth's boxes", {}),
        ("a fifth of them missed, sides off by 5%", {"missed": 0.2, "off": 0.05}),
        ("the same, and looks that never err", {"missed": 0.2, "off": 0.05, "apart": 10_000.0}),
    ):
        frames, passages, tracks = within_cameras(site, **faults)
        rows.add_frames(f"within cameras, {what}", frames, f"{passages} passages, {tracks} tracks")
    seen, truth = read_passes(site, encoder, None)
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
        rows.add(f"search {what}", f"mAP {score:.1f}; {sum(map(len, vectors))} vectors")
    lines = across_cameras(rows, "across cameras", seen, truth, encoder)
    if real is not None:
        seen, truth = read_passes(site, encoder, real)
        within = frames_of(seen, truth, np.arange(len(seen)), is_within=True)
        passages = len({each.passage for each in truth})
        rows.add_frames("a real detector, within cameras", within, f"{passages} passages, {len(seen)} passes")
        across_cameras(rows, "a real detector, across cameras", seen, truth, encoder)
    return rows.rows, lines


def across_cameras(
    rows: Rows, title: str, seen: list[Seen], truth: list[TrueBox], encoder: Encoder
) -> dict[str, Line]:
    """Link the passes, with and without what is to be gained by."""
    lines: dict[str, Line] = {}
    for is_pooled in (True, False):
        for travel in (True, False):
            what = f"{'a pass' if is_pooled else 'the best crop'}, {'' if travel else 'no '}travel times"
            lines[what] = []
            for certainty in _CERTAINTIES:
                options = LinkOptions(certainty=certainty, uses_travel=travel)
                linked = link(table_of(seen, is_pooled), encoder.card.metric, options)
                frames = frames_of(seen, truth, journeys_of(len(seen), linked.journeys(len(seen))))
                lines[what].append((certainty, idf1(frames)))
                if certainty == LinkOptions().certainty:
                    rows.add_frames(f"{title}, {what}", frames, f"{linked.is_chosen.sum()} links")
    return lines


def write_page(rows: list[str], lines: list[dict[str, Line]]) -> None:
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
    parser.add_argument("--detector", help="measure again with this one: an ONNX file, or a name of the zoo")
    parser.add_argument("--confidence", type=float, default=0.4, help="of the detector (default 0.4)")
    parser.add_argument("--page", action="store_true", help=f"write table and plot to {_PAGE} and {_PLOT}")
    args = parser.parse_args()
    real = Detector(args.detector, confidence=args.confidence) if args.detector else None
    with closing(open_encoder(args.model, threads=1)) as encoder:
        found = [measure(site, encoder, real) for site in args.site]
    if args.page:
        write_page([row for rows, _ in found for row in rows], [lines for _, lines in found])
    return 0


if __name__ == "__main__":
    sys.exit(main())
