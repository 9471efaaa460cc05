"""Small files that are huge images, 64 at a time, at a service that has the 4 GiB of our own manifest."""

import contextlib
import io
import json
import os
import random
import resource
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.adversary.conftest import Home
from tests.retrieval.running_app import running_app
from tests.retrieval.sources.detectors import write_detector
from zoo.preprocess import MAX_BYTES
from zoo.processes import children

LIMIT = 4 * 2**30
ALLOWED = 10**9
"""Bytes of memory above those of the idle service."""

MODES = {
    "JPEG": ("RGB", "L", "CMYK"),
    "PNG": ("RGB", "RGBA", "P", "LA", "1", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "BMP": ("1", "P"),
    "GIF": ("P",),
}
# The service hangs up on what is silent for 5 s, maybe just as it is used again.
UNBOUND = httpx.Limits(max_connections=None, keepalive_expiry=1)
BOXES = ("0,0,900,900", "0,0,20000,20000")
"""A part of an image, and all of it that there is."""
SIDES = ((8000, 8000), (5200, 5200), (4300, 4300), (4000, 4000), (2650, 2650), (16000, 1500))
WORST = (
    ("WEBP", "RGBA", (8000, 8000)),
    ("WEBP", "RGBA", (5200, 5200)),
    ("WEBP", "RGBA", (2650, 2650)),
    ("PNG", "RGBA", (8000, 8000)),
    ("JPEG", "RGB", (6900, 6900)),
    ("JPEG", "RGB", (4000, 4000)),
)


def bomb(format: str, mode: str, sides: tuple[int, int], chance: random.Random) -> bytes:
    """An image of one colour, which is small as a file; turned, animated or in scans now and then."""
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = chance.randrange(1, 9)
    options: dict[str, object] = {} if format in ("BMP", "GIF") else {"exif": exif}
    if format == "WEBP":
        options |= {"lossless": chance.random() < 0.8, "method": 0, "quality": 0}
        options |= {"save_all": True, "append_images": [Image.new(mode, sides)]} if sides[0] < 5000 else {}
    elif format == "JPEG":
        options |= {"progressive": chance.random() < 0.7, "subsampling": chance.choice((0, 2))}
    if mode == "I;16":
        image = Image.fromarray(np.full(sides[::-1], 30000, np.uint16))
    else:
        image = Image.new("RGB", sides, "gray").convert(mode)
    image.save(buffer, format, **options)
    return buffer.getvalue()


def noise(format: str) -> bytes:
    """An image of nearly as many bytes as may come."""
    buffer, pixels = io.BytesIO(), random.Random(0).randbytes(3 * 3200**2)
    options = {"compress_level": 0} if format == "PNG" else {}
    Image.frombytes("RGB", (3200, 3200), pixels).save(buffer, format, **options)
    return buffer.getvalue()


def drawn_kinds(chance: random.Random) -> dict[str, list[bytes]]:
    """Files by what they are: of every format and mode, and those that are known to be the worst."""
    drawn = [(format, mode, chance.choice(SIDES)) for format, modes in MODES.items() for mode in modes]
    worst = {f"{format} {mode} {sides}": bomb(format, mode, sides, chance) for format, mode, sides in WORST}
    kinds = {f"{format} {mode} {sides}": [bomb(format, mode, sides, chance)] for format, mode, sides in drawn}
    kinds |= {name: [data] for name, data in worst.items()}
    kinds |= {f"{format} of noise": [noise(format)] for format in ("PNG", "BMP")}
    # Twice: what the first one leaves is there beside the second one.
    return kinds | {f"all of the worst, {time}": [*worst.values()] for time in ("first", "then")}


@contextlib.contextmanager
def limited() -> Iterator[tuple[str, Callable[[], None]]]:
    """A limit for a process that calls what is yielded: a control group's, or RLIMIT_AS without one."""
    name = f"bombs-{os.getpid()}"
    versions = (("memory", "memory.limit_in_bytes"), ("", "memory.max"), ("unified", "memory.max"))
    for root, file in versions:
        group = Path("/sys/fs/cgroup") / root / name
        try:
            group.mkdir()
            (group / file).write_text(str(LIMIT))
        except OSError:
            with contextlib.suppress(OSError):
                group.rmdir()
            continue
        try:
            yield str(group), lambda group=group: (group / "cgroup.procs").write_text(str(os.getpid()))
        finally:
            group.rmdir()
        return
    # Of addresses, of which a process has more than it has memory.
    yield "RLIMIT_AS", lambda: resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))


def memory(process: int, name: str) -> int:
    """Bytes that a process has (VmRSS) or has had at most (VmHWM)."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def requests(
    client: httpx.Client, road: str, bombs: list[bytes], box: str
) -> Iterator[Callable[[], httpx.Response]]:
    """64 searches, or four requests to add as many."""
    if road != "batch":
        asked = {"box": box} if road == "search" else {"detected": "1"}
        for number in range(64):
            data = bombs[number % len(bombs)]
            yield partial(client.post, "/api/search", files={"image": data}, data=asked)
        return
    files = [("image", (f"{number}", bombs[number % len(bombs)])) for number in range(64)]
    while sum(len(data) for _, (_, data) in files) > MAX_BYTES:
        files.pop()
    entries = json.dumps([{"key": f"{number}", "box": box} for number in range(len(files))])
    for _ in range(4):
        yield partial(client.put, "/api/entries", data={"entries": entries}, files=files)


def _answer_of(future: Future[httpx.Response]) -> httpx.Response:
    try:
        return future.result()
    except httpx.TransportError as error:
        return httpx.Response(599, text=repr(error))


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("road", ["search", "batch", "detected"])
def test_bombs(home: Home, tmp_path: Path, request: pytest.FixtureRequest, road: str) -> None:
    gallery = shutil.copytree(home.gallery, tmp_path / "gallery")
    good = (home.images / "1.jpg").read_bytes()
    chance = random.Random(request.config.getoption("--adversary-seed"))
    kinds = drawn_kinds(chance)
    detector = write_detector(tmp_path / "detector.onnx")
    over, slowest = threading.Event(), 0.0
    faults = list[str]()

    with (
        limited() as (limit, enter),
        running_app("--gallery", gallery, "--writable", "--detector", detector, preexec=enter) as url,
        httpx.Client(base_url=url, timeout=1800, trust_env=False, limits=UNBOUND) as client,
        ThreadPoolExecutor(65) as pool,
    ):
        (process,) = children(os.getpid())
        assert client.post("/api/search", files={"image": good}).status_code == 200
        idle = memory(process, "VmRSS")
        print(f"limit by {limit}; idle {idle / 1e9:.2f} GB")

        def search_on() -> int:
            nonlocal slowest
            count = 0
            while not over.is_set():
                began = time.monotonic()
                answer = client.post("/api/search", files={"image": good}, data={"k": "1"})
                if answer.status_code != 200:
                    faults.append(f"a good image: {answer.status_code} {answer.text}")
                slowest, count = max(slowest, time.monotonic() - began), count + 1
            return count

        for name, bombs in kinds.items():
            box = chance.choice(BOXES)
            over.clear()
            Path(f"/proc/{process}/clear_refs").write_text("5")  # the peak begins anew
            slowest = 0.0
            searching = pool.submit(search_on)
            done = [pool.submit(send) for send in requests(client, road, bombs, box)]
            ended = [_answer_of(future) for future in done]
            answers = Counter(answer.status_code for answer in ended)
            refusals = {answer.text for answer in ended if answer.status_code not in (200, 503)}
            over.set()
            count = searching.result()
            peak, left = memory(process, "VmHWM") - idle, memory(process, "VmRSS") - idle
            print(
                f"{name}, {len(bombs[0])} bytes, box {box}: {dict(answers)}, peak "
                f"+{peak / 1e9:.2f} GB, afterwards +{left / 1e9:.2f} GB, {count} good ones, "
                f"up to {slowest:.1f} s {refusals or ''}",
                flush=True,
            )
            if not answers.keys() <= {200, 400, 413, 422, 503}:
                faults.append(f"{name}: {dict(answers)}, {refusals}")
            if peak >= ALLOWED:
                faults.append(f"{name}: {peak / 1e9:.2f} GB")
        assert client.get("/ready").status_code == 200
    assert not faults
