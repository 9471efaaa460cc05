"""The whole road in one command: pictures -> weights -> bundle -> Triton -> gallery -> search page.

Beside it, on a page of their own: a drawn site's videos -> detector -> tracks -> passes -> journeys.

Every stage is one of the project's public commands, run as a process of its own, so that what works here
works by hand too. What a stage has finished is reused by the next run.

Ctrl-C, SIGTERM and a closed terminal stop everything that was started. With the page open that is how the
demo is meant to end, and the exit code is 0; before, it is 130, and the next run goes on where this one was.
"""

import argparse
import hashlib
import json
import signal
import sys
import time
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from demo_site import journeys_page
from demo_stages import check_page, run, service

from retrieval.sources.detector import Detector
from zoo.errors import UserError, exit_on_user_error
from zoo.files import write_text
from zoo.registry import weights_path

MODEL = "densenet121.synthetic"
FIGURES = {
    "mAP": "mAP",
    "rank1": "Rank-1",
    "rank5": "Rank-5",
    "color_accuracy": "colour",
    "type_accuracy": "type",
}
MAP_TOLERANCE = 1e-6
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """Take the way out of Ctrl-C, through everybody's clean-up, which a second signal must not cut short."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def weights_for(data: Path, train: bool, recipe: str, runs: Path) -> tuple[str, str]:
    """Return the weights to use (a name of the zoo or a path) and a word for what identifies them."""
    if not train:
        return MODEL, hashlib.sha256(weights_path(MODEL).with_suffix(".json").read_bytes()).hexdigest()
    out = runs / f"demo-{Path(recipe).stem}-{data.name}"
    best = out / "best.safetensors"
    # The figures are written when a training is complete; an interrupted one has weights too.
    if not (out / "metrics.json").exists():
        run(f"Training from scratch ({recipe})", "training.launch", "--data-root", data, "--recipe", recipe,
            "--init", "none", "--out", out, "--overwrite")  # fmt: skip
    return str(best), hashlib.sha256(best.read_bytes()).hexdigest()


def offline_figures(data: Path, weights: str, identity: str, build: Path) -> dict[str, float]:
    """The figures of the torch model itself, without server or gallery; remembered per model and data set."""
    key = hashlib.sha256(identity.encode() + (data / "dataset.json").read_bytes()).hexdigest()[:16]
    path = build / f"offline-{key}.json"
    if path.exists():
        print(f"\n== Offline evaluation: as measured before, in {path}", file=sys.stderr)
    else:
        figures = run(
            "Offline evaluation (torch)", "training.evaluate", "--data-root", data, "--weights", weights
        )
        write_text(path, json.dumps(figures))
    figures = json.loads(path.read_text(encoding="utf-8"))
    return {name: float(figures[name]) for name in FIGURES}


def served_figures(data: Path, gallery: Path, encoder: str, build: Path) -> dict[str, float]:
    """The figures through the served path: image bytes -> Triton -> gallery search."""
    run("Gallery, through the server", "retrieval.ingest", "--images", data / "image_test", "--gallery",
        gallery, "--encoder", encoder)  # fmt: skip
    rankings = build / "rankings.jsonl"
    run("Searching every query, through the server", "retrieval.search", "--gallery", gallery, "--query",
        data / "image_query", "--encoder", encoder, "--k", "0", "--rankings", rankings)  # fmt: skip
    figures = run("Served evaluation", "training.evaluate", "--data-root", data, "--rankings", rankings)
    return {name: float(figures[name]) for name in FIGURES}


def table(served: dict[str, float], offline: dict[str, float]) -> str:
    """The figures side by side, in percent."""
    lines = [f"{'':10}{'served':>10}{'offline':>10}"]
    lines += [f"{label:10}{served[name]:10.2%}{offline[name]:10.2%}" for name, label in FIGURES.items()]
    return "\n".join(lines)


def seconds_since(began: float) -> float:
    """To a tenth."""
    return round(time.monotonic() - began, 1)


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the road; stay with the page open unless `--headless`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--headless", action="store_true", help="end when everything has been seen to work")
    parser.add_argument(
        "--train", action="store_true", help="train a model first instead of taking the zoo's own"
    )
    parser.add_argument("--recipe", default="synthetic", help="recipe for --train (default: %(default)s)")
    parser.add_argument("--train-ids", type=int, default=600, help="vehicles to train on with --train")
    parser.add_argument(
        "--test-ids", type=int, default=60, help="vehicles to search among (default: %(default)s)"
    )
    parser.add_argument("--size", type=int, default=256, help="longer side of a picture in pixels")
    parser.add_argument(
        "--site-seconds",
        type=int,
        metavar="N",
        help="of a drawn site's videos, shown as journeys on a page of their own; 0 for none (default: 120; "
        "with --headless 0)",
    )
    parser.add_argument(
        "--detector",
        metavar="NAME_OR_ONNX",
        help="that finds the site's vehicles (default: yolox-nano, fetched where it is not here; the drawn "
        "truth's boxes where it cannot be)",
    )
    parser.add_argument(
        "--build", type=Path, default=Path("build/demo"), help="where what can be rebuilt goes"
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="where --train's run goes (default: %(default)s)"
    )
    arguments = parser.parse_args(argv)
    for number in STOP_SIGNALS:
        # Who runs this with nohup wants it to outlive the terminal.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interrupt)
    began = time.monotonic()
    if arguments.detector is not None:
        Detector(arguments.detector)  # what is none is told now, and not in some minutes
    site_seconds = arguments.site_seconds
    if site_seconds is None:
        site_seconds = 0 if arguments.headless else 120
    build: Path = arguments.build
    train_ids = arguments.train_ids if arguments.train else 0
    data = build / f"data-{train_ids}-{arguments.test_ids}-{arguments.size}"
    run("Synthetic vehicles", "training.synthesize", "--out", data, "--train-ids", str(train_ids),
        "--test-ids", str(arguments.test_ids), "--size", str(arguments.size))  # fmt: skip
    weights, identity = weights_for(data, arguments.train, arguments.recipe, arguments.runs)
    # Both the bundle and the gallery belong to one model: their folders carry its hash.
    bundle = build / f"bundle-{identity[:12]}"
    if not bundle.exists():
        run("Export to ONNX and a Triton repository", "serving.export", "--weights", weights, "--out", bundle)
    offline = offline_figures(data, weights, identity, build)
    with service("Triton", "serving.launch", "--bundle", bundle) as server:
        encoder = f"triton:grpc://{server['grpc']}"
        gallery = build / f"gallery-{identity[:12]}-{arguments.test_ids}-{arguments.size}"
        served = served_figures(data, gallery, encoder, build)
        with service("Search page", "retrieval.app", "--gallery", gallery, "--encoder", encoder,
                     "--examples", data / "image_query", "--port", "0") as page:  # fmt: skip
            check_page(page["url"])
            print(f"\n{table(served, offline)}\n")
            if abs(served["mAP"] - offline["mAP"]) > MAP_TOLERANCE:
                raise UserError(
                    f"served and offline mAP differ: {served['mAP']:.8f} and {offline['mAP']:.8f}"
                )
            site_page: AbstractContextManager[dict[str, Any]] = nullcontext({})
            if site_seconds:
                site_page = journeys_page(build, site_seconds, arguments.detector)
            if not arguments.headless:
                print(
                    f"Search page: {page['url']}   (after {seconds_since(began)} s; Ctrl-C stops everything)",
                    flush=True,
                )
                with suppress(KeyboardInterrupt), site_page:
                    signal.pause()
                return 0
            with site_page as site:
                answer = {"served": served, "offline": offline, **site, "seconds": seconds_since(began)}
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
