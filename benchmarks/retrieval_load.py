"""Load on a search service, every acknowledged add looked for: `python -m benchmarks.retrieval_load`.

Clients search, add one by one and many at once, read back and list over REST, against a service that this
command starts in a process of its own, while somebody opens the page again and again. At the end the service
is killed with SIGKILL amid adds, and what it had acknowledged has to be in the gallery, and be served by the
service that is started again.
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from tqdm import tqdm

from benchmarks.serving_load import make_images
from retrieval.galleries import open_gallery
from retrieval.ingest import main as ingest
from zoo.errors import UserError, exit_on_user_error

MANY = 8
"""Images of a request that adds many."""

LAST_SECONDS = 3.0
"""Of adding alone, amid which the service is killed."""

SHARES = {"search": 0.68, "add": 0.2, "add_many": 0.02, "read": 0.08, "list": 0.02}


class Service:
    """A real `retrieval.app`, with more of its options."""

    def __init__(self, gallery: Path, *options: str) -> None:
        command = [sys.executable, "-m", "retrieval.app", "--gallery", str(gallery), *options]
        command += ["--port", "0", "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise UserError(f"the service ended with {self.process.wait()}; its message stands above")
        self.url = str(json.loads(line)["url"])

    def resident(self) -> int:
        """Bytes of resident memory."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def end(self, number: signal.Signals) -> int:
        """Send a signal, and wait for the end."""
        self.process.send_signal(number)
        code = self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@dataclass
class Tally:
    """What the clients saw.

    Attributes:
        seconds: kind of request -> times.
        errors: kind -> what went wrong, one line each.
        acknowledged: keys that were said to be kept.
        sent: keys that were sent, acknowledged or not.
    """

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    acknowledged: set[str] = field(default_factory=set)
    sent: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def timed(self, kind: str, work: Callable[[], str | None]) -> None:
        """Do it, and note how long it took or what was wrong."""
        begun = time.perf_counter()
        try:
            fault = work()
        except httpx.HTTPError as error:
            fault = f"{type(error).__name__}: {error}"
        took = time.perf_counter() - begun
        with self.lock:
            if fault is None:
                self.seconds[kind].append(took)
            else:
                self.errors[kind].append(fault)


class Client:
    """One of many; `ask` makes a request of a kind that chance chooses."""

    def __init__(self, number: int, url: str, images: list[bytes], tally: Tally) -> None:
        self._chance = random.Random(number)
        self._number, self._images, self._tally = number, images, tally
        self._made = 0
        self._mine: list[str] = []
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False)

    def ask(self, kind: str | None = None) -> None:
        """Send one request and judge the answer."""
        kind = kind or self._chance.choices(list(SHARES), list(SHARES.values()))[0]
        if kind == "read" and not self._mine:
            kind = "add"
        self._tally.timed(kind, getattr(self, f"_{kind}"))

    def close(self) -> None:
        """Let the connection go."""
        self._http.close()

    def _search(self) -> str | None:
        filtered = self._chance.random() < 0.3
        form = {"k": "10", "camera": [str(n) for n in range(8)] if filtered else []}
        answer = self._http.post("/api/search", files={"image": self._image()}, data=form)
        if answer.status_code != 200:
            return _fault(answer)
        results = answer.json()["results"]
        if any(result["camera"] not in range(8) for result in results if filtered):
            return "a result that does not meet the filter"
        return None if filtered or len(results) == 10 else "fewer results than there are"

    def _add(self) -> str | None:
        (key,) = self._keys(1)
        camera = str(self._chance.randrange(20))
        answer = self._http.put(
            f"/api/entries/{key}", files={"image": self._image()}, data={"camera": camera}
        )
        return self._acknowledge([key], answer)

    def _add_many(self) -> str | None:
        keys = self._keys(MANY)
        files = [("image", (key, self._image())) for key in keys]
        entries = json.dumps([{"key": key, "camera": self._chance.randrange(20)} for key in keys])
        return self._acknowledge(keys, self._http.put("/api/entries", files=files, data={"entries": entries}))

    def _read(self) -> str | None:
        answer = self._http.get(f"/api/entries/{self._chance.choice(self._mine)}")
        return None if answer.status_code == 200 else _fault(answer)

    def _list(self) -> str | None:
        answer = self._http.get("/api/entries", params={"camera": self._chance.randrange(20), "limit": 20})
        return None if answer.status_code == 200 else _fault(answer)

    def _image(self) -> bytes:
        return self._chance.choice(self._images)

    def _keys(self, count: int) -> list[str]:
        keys = [f"client-{self._number}/{self._made + n}.jpg" for n in range(count)]
        self._made += count
        with self._tally.lock:
            self._tally.sent.update(keys)
        return keys

    def _acknowledge(self, keys: list[str], answer: httpx.Response) -> str | None:
        if answer.status_code != 200:
            return _fault(answer)
        if answer.json()["changed"] != len(keys):
            return f"{answer.json()['changed']} of {len(keys)} new images were added"
        self._mine.extend(keys)
        with self._tally.lock:
            self._tally.acknowledged.update(keys)
        return None


def _fault(answer: httpx.Response) -> str:
    return f"{answer.status_code}: {answer.text[:200]}"


def open_page(url: str, ended: threading.Event, tally: Tally) -> None:
    """Open the page once a second, as a browser begins to."""
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:

        def look() -> str | None:
            for path in ("/", "/config"):
                answer = client.get(path)
                if answer.status_code != 200:
                    return _fault(answer)
            return None

        while not ended.wait(1.0):
            tally.timed("page", look)


def run_clients(
    service: Service, clients: list[Client], seconds: float, tally: Tally
) -> list[tuple[int, int]]:
    """Mixed load; samples, once a second, of the service's memory and of how many images were added."""
    end = time.monotonic() + seconds
    ended = threading.Event()

    def work(client: Client) -> None:
        while time.monotonic() < end:
            client.ask()

    samples = []
    with ThreadPoolExecutor(len(clients) + 1) as pool, tqdm(total=round(seconds), unit="s") as bar:
        tasks = [pool.submit(work, client) for client in clients]
        tasks.append(pool.submit(open_page, service.url, ended, tally))
        while time.monotonic() < end:
            time.sleep(1.0)
            samples.append((service.resident(), len(tally.acknowledged)))
            bar.update(1)
        ended.set()
        for task in tasks:
            task.result()
    return samples


def kill_amid_adds(service: Service, clients: list[Client]) -> None:
    """Every client adds until the service is gone."""
    ended = threading.Event()

    def work(client: Client) -> None:
        while not ended.is_set():
            client.ask("add")

    with ThreadPoolExecutor(len(clients)) as pool:
        tasks = [pool.submit(work, client) for client in clients]
        time.sleep(LAST_SECONDS)
        service.end(signal.SIGKILL)
        ended.set()
        for task in tasks:
            task.result()


def held_keys(gallery: Path) -> set[str]:
    """Every key of the gallery, as another process than the killed one finds it."""
    with open_gallery(gallery) as opened:
        dimension = opened.model.card.outputs["embedding"]
        return set(opened.rank(np.zeros(dimension, np.float32)))


def growth(samples: list[tuple[int, int]]) -> dict[str, float] | None:
    """Memory at the end by that after a third, medians; None where it ran too short to tell."""
    if len(samples) < 9:
        return None
    third, width = len(samples) // 3, max(3, len(samples) // 9)
    after, end = samples[third : third + width], samples[-width:]
    sizes = [statistics.median(size for size, _ in part) for part in (after, end)]
    counts = [statistics.median(count for _, count in part) for part in (after, end)]
    return {
        "after_warm_up_mb": sizes[0] / 2**20,
        "at_the_end_mb": sizes[1] / 2**20,
        "ratio": sizes[1] / sizes[0],
        "added_between": counts[1] - counts[0],
    }


def measure(gallery: Path, clients: int, seconds: float) -> tuple[dict[str, Any], bool]:
    """All of it; the figures, and whether nothing went wrong."""
    images, tally = make_images(), Tally()
    service = Service(gallery, "--writable")
    try:
        many = [Client(number, service.url, images, tally) for number in range(clients)]
        samples = run_clients(service, many, seconds, tally)
        acknowledged = len(tally.acknowledged)
        last = Tally(sent=tally.sent, acknowledged=tally.acknowledged)
        for client in many:
            client._tally = last
        kill_amid_adds(service, many)
        for client in many:
            client.close()
    finally:
        service.end(signal.SIGKILL)
    held = held_keys(gallery)
    lost = tally.acknowledged - held
    unknown = {key for key in held if key.startswith("client-")} - tally.sent
    service = Service(gallery, "--writable")
    try:
        some = random.Random(0).sample(sorted(tally.acknowledged), min(50, len(tally.acknowledged)))
        gone = [
            key for key in some if httpx.get(f"{service.url}/api/entries/{key}", trust_env=False).is_error
        ]
    finally:
        code = service.end(signal.SIGTERM)
    result: dict[str, Any] = {
        "clients": clients,
        "seconds": seconds,
        "requests": {
            kind: {
                "count": len(times),
                "p50_ms": 1e3 * float(np.median(times)),
                "p99_ms": 1e3 * float(np.percentile(times, 99)),
            }
            for kind, times in sorted(tally.seconds.items())
        },
        "errors": Counter({kind: len(faults) for kind, faults in tally.errors.items()}),
        "acknowledged": acknowledged,
        "acknowledged_before_the_kill": len(tally.acknowledged) - acknowledged,
        "unanswered_at_the_kill": sum(len(faults) for faults in last.errors.values()),
        "lost": len(lost),
        "not_served_again": len(gone),
        "memory": growth(samples),
        "cpus": os.cpu_count(),
    }
    for kind, faults in tally.errors.items():
        print(f"{kind}: {faults[0]} ({len(faults)} times)", file=sys.stderr)
    good = not (tally.errors or lost or unknown or gone or code) and bool(tally.seconds["page"])
    return result, good


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit code is 1 where a request failed or an acknowledged add was lost."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.retrieval_load",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--encoder", default="build/bundle", metavar="SPEC", help="default: build/bundle")
    parser.add_argument("--minutes", type=float, default=10.0, help="of mixed load (default: 10)")
    parser.add_argument("--clients", type=int, default=50, help="default: 50")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line")
    args = parser.parse_args(argv)
    if args.clients < 1 or not args.minutes > 0:
        raise UserError("--clients and --minutes: at least one client, and more than 0 minutes")
    with tempfile.TemporaryDirectory(prefix="retrieval-load-") as folder:
        start = Path(folder) / "start"
        start.mkdir()
        for number, data in enumerate(make_images()):
            (start / f"{number}.jpg").write_bytes(data)
        gallery = Path(folder) / "gallery"
        if ingest(["--images", str(start), "--gallery", str(gallery), "--encoder", args.encoder]):
            return 1
        result, good = measure(gallery, args.clients, args.minutes * 60)
    for kind, row in result["requests"].items():
        print(f"{kind:9} {row['count']:7}  p50 {row['p50_ms']:8.1f} ms  p99 {row['p99_ms']:8.1f} ms")
    print(", ".join(f"{name} {value}" for name, value in result.items() if name != "requests"))
    if args.json:
        print(json.dumps(result))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
