"""Clients that ask a server, hold each answer against its own image, and write down what came of it."""

import io
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image
from tqdm import tqdm

from serving.triton.client import connect, triton_errors
from serving.triton.configs import ENTRY_MODEL

IMAGES = 64
TOLERANCE = 1e-4
"""Largest difference of an embedding's number; those of different images differ by far more."""

_RETRY_SECONDS = 0.2


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


def spoilt(image: bytes, chance: random.Random) -> bytes:
    """Make something malformed of an image: a part of it, nothing, a text, or a BMP of too many pixels."""
    header = b"BM" + bytes(12) + (40).to_bytes(4, "little") + (20_000).to_bytes(4, "little") * 2
    kinds = (image[:200], b"", b"not an image", header + b"\1\0\30\0" + bytes(24))
    return chance.choice(kinds)


@dataclass(frozen=True)
class Asked:
    """A request: when it was sent and ended, in seconds of the monotonic clock, and what came of it.

    Attributes:
        outcome: `right`, `wrong`, `refused` (malformed and refused), `taken` (malformed and answered) or
            `lost` (no answer).
    """

    sent: float
    ended: float
    outcome: str


class Load:
    """Clients that ask until a given time, and what they got.

    Args:
        address: of the gRPC service.
        images: to send.
        expected: float [len(images), D], the embeddings that are right.
        malformed: share of the requests.

    Attributes:
        asked: all requests that have ended.
    """

    def __init__(self, address: str, images: list[bytes], expected: np.ndarray, malformed: float) -> None:
        self.address, self.images, self.expected, self.malformed = address, images, expected, malformed
        self.asked: list[Asked] = []

    def run(self, seconds: float, concurrency: int, every_second: Callable[[], None] | None = None) -> None:
        """Ask for so long, and call something beside it each second."""
        end = time.monotonic() + seconds
        with ThreadPoolExecutor(concurrency) as pool, tqdm(total=round(seconds), unit="s") as bar:
            asking = [pool.submit(self._ask, end, seed) for seed in range(concurrency)]
            while time.monotonic() < end:
                time.sleep(1.0)
                bar.update(1)
                if every_second is not None:
                    every_second()
            for task in asking:
                task.result()

    def _ask(self, end: float, seed: int) -> None:
        import tritonclient.grpc as grpcclient

        chance = random.Random(seed)
        client = connect(self.address)
        while (sent := time.monotonic()) < end:
            index = chance.randrange(len(self.images))
            bad = chance.random() < self.malformed
            data = spoilt(self.images[index], chance) if bad else self.images[index]
            tensor = grpcclient.InferInput("image_bytes", [1, 1], "BYTES")
            tensor.set_data_from_numpy(np.array([[data]], dtype=np.object_))
            try:
                answer = client.infer(ENTRY_MODEL, [tensor], client_timeout=30)
                error = float(np.abs(answer.as_numpy("embedding")[0] - self.expected[index]).max())
                outcome = "taken" if bad else "right" if error < TOLERANCE else "wrong"
            except triton_errors() as failure:
                outcome = "refused" if bad and "bad image" in str(failure) else "lost"
            self.asked.append(Asked(sent, time.monotonic(), outcome))
            if outcome == "lost":
                time.sleep(_RETRY_SECONDS)
        client.close()
