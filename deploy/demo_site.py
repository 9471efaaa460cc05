"""The demo's second part: a drawn site's videos through detector and tracker to journeys on a page."""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import av
from demo_stages import check_page, run, service

from retrieval.galleries import open_gallery
from retrieval.sources.detector import find_detector
from zoo.errors import UserError
from zoo.fetch import fetch
from zoo.files import write_text
from zoo.hub.remote import find_remote
from zoo.registry import weights_path

MODEL = "lite0_osnet.real"
DETECTOR = "yolox-nano"
CONFIDENCE = 0.3
"""Of a box; more of the drawn vehicles' boxes fall below the usual 0.4 than of real ones. docs/video.md."""


def usual_detector() -> str | None:
    """The zoo's smallest detector, fetched where it is not here; None, which is told, where it cannot be."""
    entry = find_remote(f"detector.{DETECTOR}")
    print(f"\n== Detector: {entry.name}, {entry.source.licence}", file=sys.stderr, flush=True)
    try:
        fetch(entry)
        return DETECTOR
    except UserError:
        print(
            f"{entry.name} is not here and cannot be fetched: the boxes will be the drawn truth's. For a "
            f"detector's, `python -m zoo fetch {entry.name}` where there is a network and then `make demo`, "
            "or `make demo DETECTOR=FILE` with an ONNX file.",
            file=sys.stderr,
        )
        return None


def site_gallery(build: Path, seconds: int, detector: str | None) -> tuple[Path, dict[str, Any]]:
    """A gallery of a drawn site's passes, linked, and what is in it; kept for next time.

    Args:
        build: where it goes.
        seconds: of video.
        detector: a name of the zoo, or an ONNX file; None for the drawn truth's boxes. Each has a gallery of
            its own.
    """
    site = build / f"site-{seconds}"
    if not (site / "site.json").exists():
        run("Videos of a drawn site", "training.synthesize", "--out", site, "--videos", "--cameras", "4",
            "--vehicles", "30", "--seconds", str(seconds), "--rate", "5", "--seed", "31", "--plain-share",
            "0.5")  # fmt: skip
    made_of = [weights_path(MODEL).with_suffix(".json"), site / "site.json"]
    options: list[str | Path] = []
    if detector is not None:
        made_of.append(find_detector(detector))
        options = ["--detector", detector, "--confidence", str(CONFIDENCE)]
    content = b"".join(path.read_bytes() for path in made_of) + str(CONFIDENCE).encode()
    identity = hashlib.sha256(content).hexdigest()[:12]
    gallery = build / f"site-{seconds}-gallery-{identity}"
    counts = Path(f"{gallery}.json")
    boxes = "the drawn truth" if detector is None else Path(detector).name
    if not counts.exists():
        passes = run(f"Tracks, passes and a gallery of them; boxes by {boxes}", "benchmarks.site_gallery",
                     "--site", site, "--gallery", gallery, *options,
                     "--model", MODEL)["passes"]  # fmt: skip
        journeys = run("Journeys", "retrieval.link", "--gallery", gallery)["journeys"]
        write_examples(gallery, journeys)
        if detector is not None:
            write_scene(site, Path(f"{gallery}-queries") / "00-scene.jpg")
        write_text(counts, json.dumps({"passes": passes, "journeys": len(journeys)}))
    return gallery, {"boxes": boxes, **json.loads(counts.read_text(encoding="utf-8"))}


def write_examples(gallery: Path, journeys: list[list[dict[str, Any]]]) -> None:
    """Write pictures to search with beside a gallery: each journey's first, the longest journey's before."""
    folder = Path(f"{gallery}-queries")
    folder.mkdir(exist_ok=True)
    with open_gallery(gallery) as opened:
        keys = [way[0]["key"] for way in sorted(journeys, key=len, reverse=True)]
        keys = keys or opened.sample_keys(12)
        pictures = opened.pictures(keys)
        for number, key in enumerate(keys, 1):
            (folder / f"{number:02}.jpg").write_bytes(pictures[key])


def write_scene(site: Path, target: Path) -> None:
    """Write the frame that shows the most vehicles, as a picture whose vehicles a detector offers."""
    shown = Counter(
        (truth.parents[1].name, int(row.partition(",")[0]))
        for truth in sorted(site.glob("*/gt/gt.txt"))
        for row in truth.read_text(encoding="utf-8").splitlines()
    )
    camera, number = max(shown, key=lambda frame: shown[frame])
    with av.open(str(site / f"{camera}.mp4")) as video:
        next(islice(video.decode(video=0), number - 1, None)).to_image().save(target, quality=95)


@contextmanager
def journeys_page(build: Path, seconds: int, detector: str | None) -> Iterator[dict[str, Any]]:
    """Make what `site_gallery` makes, show it on a page meanwhile, and yield what is in it as `site`."""
    detector = detector or usual_detector()
    gallery, found = site_gallery(build, seconds, detector)
    options = [] if detector is None else ["--detector", detector, "--detector-confidence", str(CONFIDENCE)]
    with service("Journeys page", "retrieval.app", "--gallery", gallery, "--examples",
                 f"{gallery}-queries", "--writable", "--port", "0", *options) as page:  # fmt: skip
        check_page(page["url"])
        print(
            f"Journeys of a drawn site: {page['url']}   ({found['journeys']} journeys of {found['passes']} "
            f"passes, boxes by {found['boxes']}; choose an example, then 'Map and times')",
            flush=True,
        )
        yield {"site": found}
