"""The whole road in one command: pictures -> weights -> bundle -> Triton -> gallery -> search page.

Every stage is one of the project's public commands, run as a process of its own, so that what works here
works by hand too. What a stage has finished is reused by the next run.
"""

import argparse
import contextlib
import hashlib
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zoo.errors import UserError, exit_on_user_error
from zoo.files import write_text

MODEL = "densenet121.synthetic"
FIGURES = {
    "mAP": "mAP",
    "rank1": "Rank-1",
    "rank5": "Rank-5",
    "color_accuracy": "colour",
    "type_accuracy": "type",
}
MAP_TOLERANCE = 1e-6
STOP_SECONDS = 20


def command(module: str, *arguments: str | Path) -> list[str]:
    """The command line of one of the project's modules."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def run(title: str, module: str, *arguments: str | Path) -> dict[str, Any]:
    """Run a stage to its end; its progress goes to the terminal, its last line of stdout is the answer.

    Raises:
        UserError: the stage failed; it has already said why on stderr.
    """
    print(f"\n== {title}", file=sys.stderr, flush=True)
    result = subprocess.run(
        command(module, *arguments, "--json"), stdout=subprocess.PIPE, text=True, check=False
    )
    if result.returncode != 0:
        raise UserError(
            f"the stage '{title}' ended with exit code {result.returncode}; its message stands above"
        )
    answer: dict[str, Any] = json.loads(result.stdout.strip().splitlines()[-1])
    return answer


@contextlib.contextmanager
def service(title: str, module: str, *arguments: str | Path) -> Iterator[dict[str, Any]]:
    """Start a service, yield the line of JSON that it prints when it is ready, and stop it at the end.

    It gets a session of its own, so that Ctrl-C reaches this process alone and the services are stopped in
    order. A process that does not end in time is killed.
    """
    print(f"\n== {title}", file=sys.stderr, flush=True)
    process = subprocess.Popen(
        command(module, *arguments, "--json"), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith("{"):
                yield json.loads(line)
                break
        else:
            code = process.wait()
            raise UserError(
                f"'{title}' ended with exit code {code} before it was ready; its message stands above"
            )
    finally:
        process.terminate()
        try:
            process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def weights_for(data: Path, train: bool, recipe: str, build: Path) -> tuple[str, str]:
    """Return the weights to use (a name of the zoo or a path) and a word for what identifies them."""
    if not train:
        card = Path("zoo/pretrained") / f"{MODEL}.json"
        return MODEL, hashlib.sha256(card.read_bytes()).hexdigest()
    out = Path("runs") / f"demo-{recipe}"
    best = out / "best.safetensors"
    if not best.exists():
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


def check_page(address: str) -> None:
    """Raise unless the search page answers."""
    try:
        with urllib.request.urlopen(address, timeout=30) as response:
            if response.status != 200:
                raise UserError(f"{address}: the search page answers with status {response.status}")
    except urllib.error.URLError as error:
        raise UserError(f"{address}: the search page does not answer ({error.reason})") from error


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
    parser.add_argument("--size", type=int, default=128, help="longer side of a picture in pixels")
    parser.add_argument(
        "--build", type=Path, default=Path("build/demo"), help="where what can be rebuilt goes"
    )
    arguments = parser.parse_args(argv)
    # A stop from outside takes the same way out as Ctrl-C, through the services' own clean-up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    start = time.monotonic()
    build: Path = arguments.build
    train_ids = arguments.train_ids if arguments.train else 0
    data = build / f"data-{train_ids}-{arguments.test_ids}-{arguments.size}"
    run("Synthetic vehicles", "training.synthesize", "--out", data, "--train-ids", str(train_ids),
        "--test-ids", str(arguments.test_ids), "--size", str(arguments.size))  # fmt: skip
    weights, identity = weights_for(data, arguments.train, arguments.recipe, build)
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
            seconds = round(time.monotonic() - start, 1)
            print(f"\n{table(served, offline)}\n")
            if abs(served["mAP"] - offline["mAP"]) > MAP_TOLERANCE:
                raise UserError(
                    f"served and offline mAP differ: {served['mAP']:.8f} and {offline['mAP']:.8f}"
                )
            if not arguments.headless:
                print(
                    f"Search page: {page['url']}   (after {seconds} s; Ctrl-C stops everything)", flush=True
                )
                signal.pause()
    print(json.dumps({"served": served, "offline": offline, "seconds": seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
