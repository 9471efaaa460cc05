"""How often a photo of 12 megapixels is decoded on its way to the encoder, and how long its requests take.

The real service is asked over HTTP, its page through Gradio's event queue as a browser does. With
`--against`, a checkout of another version serves a copy of the same gallery, and the two are asked in turns.
Images are counted where the service hands them to its decoder, so that a cut which is written as a file and
read again counts. Times are medians: until the answer is there, and of the service's processor.
"""

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image
from tqdm import tqdm

from benchmarks.ingest_speed import draw_images
from retrieval.ingest import main as ingest
from zoo.errors import UserError, exit_on_user_error

HERE = Path(__file__).resolve().parents[1]
SIZE = (4000, 3000)
VEHICLE = (1200, 900, 2800, 2100)
NEARLY_ALL = (10, 5, 3990, 2995)

COUNTED_SERVICE = """
import runpy, sys
from zoo import preprocess
name = "decode" if hasattr(preprocess, "decode") else "decode_image"
original, calls = getattr(preprocess, name), open(sys.argv.pop(1), "ab", buffering=0)
def decode(*image):
    calls.write(b".")
    return original(*image)
setattr(preprocess, name, decode)
runpy.run_module("retrieval.app", run_name="__main__", alter_sys=True)
"""
"""Starts the service with a decoder that writes a byte to a file for each image."""


class Service:
    """A checkout's `retrieval.app` in a process of its own.

    Args:
        checkout: folder of the version to run.
        gallery: that it serves and may write to.
        spec: of its encoder.
        scratch: an empty folder.
    """

    def __init__(self, checkout: Path, gallery: Path, spec: str, scratch: Path) -> None:
        self._calls = scratch / "calls"
        command = [sys.executable, "-c", COUNTED_SERVICE, str(self._calls), "--gallery", str(gallery)]
        command += ["--encoder", spec, "--writable", "--port", "0", "--json"]
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        self.process = subprocess.Popen(
            command, cwd=checkout, env=environment, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise UserError(f"{checkout}: its service ended with {self.process.wait()}; see above")
        self._http = httpx.Client(base_url=json.loads(line)["url"], timeout=120, trust_env=False)
        config = self._http.get("/config").json()
        self._fields = {part["props"].get("elem_id"): part["id"] for part in config["components"]}
        self._events = config["dependencies"]
        # One visit, which remembers what was chosen before a box is drawn in it.
        self._session = uuid.uuid4().hex

    def close(self) -> None:
        """End the service."""
        self._http.close()
        self.process.terminate()
        self.process.wait()

    def decoded(self) -> int:
        """Images that were decoded so far."""
        return self._calls.stat().st_size

    def processor_seconds(self) -> float:
        """Processor time that the service has taken so far, to 10 ms."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def search(self, photo: bytes, box: Sequence[int] | None = None) -> bool:
        """Search over REST; whether it was answered."""
        return self._http.post("/api/search", files={"image": photo}, data=_form(box)).is_success

    def add(self, photo: bytes, box: Sequence[int] | None = None) -> bool:
        """Add over REST, likewise."""
        answer = self._http.put("/api/entries/photo", files={"image": photo}, data=_form(box))
        return answer.is_success

    def upload(self, photo: bytes) -> str:
        """Put a photo into the page's upload folder; its path there."""
        files = {"files": ("photo.jpg", photo, "image/jpeg")}
        return str(self._http.post("/gradio_api/upload", files=files).raise_for_status().json()[0])

    def show(self, path: str, box: Sequence[int] | None = None) -> bool:
        """Choose an uploaded photo on the page, or draw a box in the one that was chosen last, until the page
        shows the scene.
        """
        cause = [self._fields["query"], "change"] if box is None else [self._fields["scene"], "select"]
        event = next(each for each in self._events if cause in each["targets"])
        file = {"path": path, "orig_name": "photo.jpg", "meta": {"_type": "gradio.FileData"}}
        values = {self._fields["query"]: file, self._fields["language"]: "en"}
        shares = None if box is None else {"box": [side / SIZE[n % 2] for n, side in enumerate(box)]}
        self._http.post(
            "/gradio_api/queue/join",
            json={
                "data": [values.get(field) for field in event["inputs"]],
                "fn_index": event["id"],
                "session_hash": self._session,
                "event_data": shares,
            },
        ).raise_for_status()
        query = {"session_hash": self._session}
        with self._http.stream("GET", "/gradio_api/queue/data", params=query) as messages:
            for line in messages.iter_lines():
                if line.startswith("data:") and "process_completed" in line:
                    return "vr-frame" in line
        return False


def _form(box: Sequence[int] | None) -> dict[str, str]:
    return {} if box is None else {"box": ",".join(map(str, box))}


def draw_photo() -> bytes:
    """A JPEG of 4000x3000 pixels with about as much detail as a camera's."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).resize(SIZE)
    noise = rng.integers(-12, 13, (SIZE[1], SIZE[0], 1), dtype=np.int16)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def measure(services: dict[str, Service], rounds: int) -> dict[str, dict[str, Any]]:
    """Ask all services in turns.

    Returns:
        what was asked -> service -> images decoded and medians in milliseconds; None where it is refused.
    """
    photo = draw_photo()
    paths = {name: service.upload(photo) for name, service in services.items()}
    asked: dict[str, Callable[[str], bool]] = {
        "search over REST": lambda name: services[name].search(photo),
        "search over REST, a vehicle's box": lambda name: services[name].search(photo, VEHICLE),
        "search over REST, a box of 11.9 megapixels": lambda name: services[name].search(photo, NEARLY_ALL),
        "add over REST": lambda name: services[name].add(photo),
        "add over REST, a vehicle's box": lambda name: services[name].add(photo, VEHICLE),
        "choose on the page": lambda name: services[name].show(paths[name]),
        "draw a vehicle's box on the page": lambda name: services[name].show(paths[name], VEHICLE),
    }
    found: dict[str, dict[str, Any]] = {}
    for what, ask in tqdm(asked.items(), unit="row", file=sys.stderr):
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in services}
        counts = {}
        for number in range(rounds + 1):  # the first is a warm-up
            for name in services if number % 2 else reversed(services):
                service = services[name]
                decoded, busy, begun = service.decoded(), service.processor_seconds(), time.perf_counter()
                answered = ask(name)
                took = time.perf_counter() - begun
                counts[name] = service.decoded() - decoded
                if answered and number:
                    times[name].append((took, service.processor_seconds() - busy))
        found[what] = {
            name: _medians(counts[name], taken) if taken else None for name, taken in times.items()
        }
    return found


def _medians(decoded: int, times: Sequence[tuple[float, float]]) -> dict[str, float]:
    answer, processor = (1e3 * statistics.median(column) for column in zip(*times, strict=True))
    return {"decoded": decoded, "ms": answer, "processor_ms": processor}


def table(found: dict[str, dict[str, Any]]) -> str:
    """The figures in Markdown."""
    names = list(next(iter(found.values())))
    lines = [f"| 4000x3000 JPEG | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for what, sides in found.items():
        cells = [
            "refused"
            if side is None
            else f"{side['decoded']} decoded, {side['ms']:.0f} ms ({side['processor_ms']:.0f} ms)"
            for side in sides.values()
        ]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.image_walk",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--encoder", default="build/bundle", metavar="SPEC", help="default: build/bundle")
    parser.add_argument("--against", type=Path, metavar="DIR", help="checkout of another version")
    parser.add_argument("--rounds", type=int, default=15, help="default: 15")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line")
    args = parser.parse_args(argv)
    if args.rounds < 1:
        raise UserError(f"--rounds {args.rounds}: at least 1")
    checkouts = {"this version": HERE}
    if args.against is not None:
        if not (args.against / "retrieval" / "app.py").is_file():
            raise UserError(f"--against {args.against}: no checkout of this project; give its root")
        checkouts = {"before": args.against.resolve(), **checkouts}
    services: dict[str, Service] = {}
    with tempfile.TemporaryDirectory(prefix="image-walk-") as folder:
        scratch = Path(folder)
        (scratch / "images").mkdir()
        draw_images(scratch / "images", 8)
        spec = str(Path(args.encoder).resolve()) if Path(args.encoder).exists() else args.encoder
        ingest(["--images", str(scratch / "images"), "--gallery", str(scratch / "filled"), "--encoder", spec])
        try:
            for name, checkout in checkouts.items():
                own = scratch / name
                own.mkdir()
                gallery = Path(shutil.copytree(scratch / "filled", own / "gallery"))
                services[name] = Service(checkout, gallery, spec, own)
            found = measure(services, args.rounds)
        finally:
            for service in services.values():
                service.close()
    print(table(found))
    if args.json:
        print(json.dumps({"rows": found, "rounds": args.rounds, "cpus": os.cpu_count()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
