"""Load on a served model, every answer checked against its own image: `python -m benchmarks.serving_load`.

Clients ask a server that this command starts, each with images of its own choice and some malformed ones. An
answer counts as wrong when it is not the one that the in-process encoder gives for that very image. With
`--kill`, a worker and then the server are killed on the way; requests fail until the server is there again.
"""

import argparse
import io
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from serving.encoder_onnx import OnnxEncoder
from serving.probe import probe
from serving.repository_configs import ENTRY_MODEL, ONNX_MODEL
from serving.server import TritonServer
from serving.triton_client import connect, triton_errors
from zoo.errors import UserError, exit_on_user_error

IMAGES = 64
TOLERANCE = 1e-4
"""Largest difference of an embedding's number; those of different images differ by far more."""

FLAT = 1.03


def make_images() -> list[bytes]:
    """Draw JPEGs that differ in content and size."""
    rng = np.random.default_rng(0)
    images = []
    for number in range(IMAGES):
        coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(coarse).resize((200 + number, 150 + number)).save(buffer, "JPEG")
        images.append(buffer.getvalue())
    return images


class Load:
    """Clients that ask until a given time and count what they get.

    Attributes:
        counts: `right`, `wrong`, `refused` (malformed and refused), `taken` (malformed and answered) and
            `lost` (no answer).
        resident: samples of (seconds, bytes) of the server and its workers.
        restarts: how often the server was started again.
    """

    def __init__(
        self, server: TritonServer, images: list[bytes], expected: np.ndarray, malformed: float
    ) -> None:
        self.server, self.images, self.expected, self.malformed = server, images, expected, malformed
        self.counts: Counter[str] = Counter()
        self.resident: list[tuple[float, int]] = []
        self.restarts = 0
        self._lock = threading.Lock()

    def run(self, seconds: float, concurrency: int, kill: bool) -> None:
        """Ask for so long; where wanted, the server is killed after a third and a worker after two."""
        began = time.monotonic()
        end = began + seconds
        kills = [seconds / 3, 2 * seconds / 3] if kill else []
        with ThreadPoolExecutor(concurrency) as pool, tqdm(total=round(seconds), unit="s") as bar:
            asking = [pool.submit(self._ask, end, seed) for seed in range(concurrency)]
            while (elapsed := time.monotonic() - began) < seconds:
                time.sleep(1.0)
                bar.update(1)
                self.resident.append((elapsed, resident_bytes(self.server.pid)))
                if kills and elapsed > kills[0]:
                    self._kill(worker=len(kills) == 1)
                    kills.pop(0)
            for task in asking:
                task.result()

    def growth(self) -> float | None:
        """Resident memory at the end by that after the first third, medians; None after a restart."""
        if self.restarts or len(self.resident) < 9:
            return None
        sizes = [size for _, size in self.resident]
        third = len(sizes) // 3
        return float(
            np.median(sizes[-max(3, third // 3) :]) / np.median(sizes[third : third + max(3, third // 3)])
        )

    def _ask(self, end: float, seed: int) -> None:
        import tritonclient.grpc as grpcclient

        chance = random.Random(seed)
        client = connect(self.server.grpc)
        while time.monotonic() < end:
            index = chance.randrange(len(self.images))
            bad = chance.random() < self.malformed
            data = self.images[index][:200] if bad else self.images[index]
            tensor = grpcclient.InferInput("image_bytes", [1, 1], "BYTES")
            tensor.set_data_from_numpy(np.array([[data]], dtype=np.object_))
            try:
                answer = client.infer(ENTRY_MODEL, [tensor], client_timeout=30)
                error = float(np.abs(answer.as_numpy("embedding")[0] - self.expected[index]).max())
                outcome = "taken" if bad else "right" if error < TOLERANCE else "wrong"
            except triton_errors() as failure:
                outcome = "refused" if bad and "bad image" in str(failure) else "lost"
                if outcome == "lost":
                    time.sleep(0.2)
            with self._lock:
                self.counts[outcome] += 1
        client.close()

    def _kill(self, worker: bool) -> None:
        victim = self.server.pid
        if worker:
            victim = next(pid for pid in workers(victim) if f"/{ONNX_MODEL}/" in command_line(pid))
        os.kill(victim, signal.SIGKILL)
        cause = self.server.failure(timeout=5)
        if cause is None:
            raise UserError("the server was killed, and goes on answering; was it this one?")
        self.server.stop()
        self.server.start()
        self.restarts += 1
        if reason := probe(self.server.http):
            raise UserError(f"the server was started again and does not answer ({reason})")


def workers(server: int) -> list[int]:
    """List the server's processes: it leads a session of its own."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(process.name)) == server:
                found.append(int(process.name))
        except ProcessLookupError:
            continue
    return found


def command_line(process: int) -> str:
    """Return a process's command line, or nothing where it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def resident_bytes(server: int) -> int:
    """Add up the resident memory of the server and its workers; shared pages count in each."""
    total = 0
    for process in workers(server):
        try:
            pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        except (OSError, IndexError):
            continue
        total += pages * os.sysconf("SC_PAGE_SIZE")
    return total


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit code is 1 where an answer was wrong, lost without a kill, or memory grew."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving_load",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", type=Path, default=Path("build/bundle"))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--malformed", type=float, default=0.05, help="share of the images (default: 0.05)")
    parser.add_argument("--kill", action="store_true", help="kill the server and a worker on the way")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line")
    arguments = parser.parse_args(argv)
    images = make_images()
    encoder = OnnxEncoder(arguments.bundle)
    expected = encoder.encode(images).embedding
    encoder.close()
    seconds = arguments.minutes * 60
    with TritonServer(arguments.bundle) as server:
        load = Load(server, images, expected, arguments.malformed)
        load.run(seconds, arguments.concurrency, arguments.kill)
    counts = {name: load.counts[name] for name in ("right", "wrong", "refused", "taken", "lost")}
    growth = load.growth()
    result = {**counts, "restarts": load.restarts, "memory_growth": growth, "seconds": seconds}
    print(", ".join(f"{name} {value}" for name, value in result.items()))
    if arguments.json:
        print(json.dumps(result))
    failed = counts["wrong"] or counts["taken"] or (counts["lost"] and not arguments.kill)
    return int(bool(failed or not counts["right"] or (growth is not None and growth > FLAT)))


if __name__ == "__main__":
    sys.exit(main())
