"""Small files that are huge images, 64 at a time, at a service that has the 4 GiB of our own manifest."""

import contextlib
import io
import os
import random
import resource
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.adversary.conftest import Home
from tests.retrieval.running_app import running_app
from zoo.processes import children

LIMIT = 4 * 2**30
ALLOWED = 2**30
"""Bytes of memory above those of the idle service."""

MODES = {"JPEG": ("RGB", "L", "CMYK"), "PNG": ("RGB", "RGBA", "P", "LA", "1"), "WEBP": ("RGB", "RGBA")}
UNBOUND = httpx.Limits(max_connections=None)
BOX = "0,0,900,900"
SIDES = ((8000, 8000), (5200, 5200), (4000, 4000), (16000, 1500))


def bomb(format: str, mode: str, sides: tuple[int, int]) -> bytes:
    """An image of one colour, which is small as a file."""
    buffer = io.BytesIO()
    options = {"PNG": {"compress_level": 9}, "WEBP": {"lossless": True, "method": 0, "quality": 0}}
    progressive = {"progressive": True} if format == "JPEG" and mode != "CMYK" else {}
    Image.new("RGB", sides, "gray").convert(mode).save(
        buffer, format, **options.get(format, {}), **progressive
    )
    return buffer.getvalue()


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


def _answer_of(future: Future[httpx.Response]) -> httpx.Response:
    try:
        return future.result()
    except httpx.TransportError as error:
        return httpx.Response(599, text=repr(error))


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("road", ["search", "batch"])
def test_bombs(home: Home, tmp_path: Path, request: pytest.FixtureRequest, road: str) -> None:
    gallery = shutil.copytree(home.gallery, tmp_path / "gallery")
    good = (home.images / "1.jpg").read_bytes()
    chance = random.Random(request.config.getoption("--adversary-seed"))
    kinds = [(format, mode, chance.choice(SIDES)) for format, modes in MODES.items() for mode in modes]
    kinds += [("WEBP", "RGBA", (8000, 8000)), ("WEBP", "RGBA", (5200, 5200)), ("PNG", "RGBA", (8000, 8000))]
    over, slowest = threading.Event(), 0.0
    faults = list[str]()

    with (
        limited() as (limit, enter),
        running_app("--gallery", gallery, "--writable", preexec=enter) as url,
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

        for format, mode, sides in kinds:
            data = bomb(format, mode, sides)
            over.clear()
            slowest = 0.0
            searching = pool.submit(search_on)
            if road == "search":
                done = [
                    pool.submit(client.post, "/api/search", files={"image": data}, data={"box": BOX})
                    for _ in range(64)
                ]
            else:
                entries = "[" + ",".join(f'{{"key": "{n}", "box": "{BOX}"}}' for n in range(64)) + "]"
                files = [("image", (f"{n}", data)) for n in range(64)]
                done = [
                    pool.submit(client.put, "/api/entries", data={"entries": entries}, files=files)
                    for _ in range(4)
                ]
            ended = [_answer_of(future) for future in done]
            answers = Counter(answer.status_code for answer in ended)
            refusals = {answer.text for answer in ended if answer.status_code not in (200, 503)}
            over.set()
            count = searching.result()
            peak, left = memory(process, "VmHWM") - idle, memory(process, "VmRSS") - idle
            print(
                f"{format} {mode} {sides[0]}x{sides[1]}, {len(data)} bytes: {dict(answers)}, peak so far "
                f"+{peak / 1e9:.2f} GB, afterwards +{left / 1e9:.2f} GB, {count} good ones, "
                f"up to {slowest:.1f} s {refusals or ''}",
                flush=True,
            )
            if not answers.keys() <= {200, 400, 413, 503}:
                faults.append(f"{format} {mode} {sides}: {dict(answers)}, {refusals}")
            if peak > ALLOWED:
                faults.append(f"{format} {mode} {sides}: {peak / 1e9:.2f} GB")
        assert client.get("/ready").status_code == 200
    assert not faults
