"""Checks against a real Milvus, for `test_server.py`, in a network of its own: a line of figures for each."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from milvus import MilvusServer

from retrieval.galleries import open_gallery
from retrieval.transfer import main as transfer
from tests.retrieval.milvus.test_milvus import DIMENSION, FILTERS, ROWS, make_entries, model

PORT = 19530
HOST = f"milvus://127.0.0.1:{PORT}"
WRITER = """
import sys
from retrieval.galleries import open_gallery
from tests.retrieval.milvus.test_milvus import make_entries, model
name, first, step = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with open_gallery(name, model=model("cosine"), writable=True) as gallery:
    for entry in make_entries()[first::step]:
        gallery.add([entry])
        print(entry.key, flush=True)
"""


def start(folder: Path) -> MilvusServer:
    """Start a server, or start it again."""
    server = MilvusServer()
    server.set_base_dir(str(folder))
    server.config.set("proxy_port", PORT)
    server.start()
    return server


def kill(server: MilvusServer) -> None:
    """As a machine that loses its power does."""
    server.server_proc.kill()
    server.server_proc.wait()


def writer(name: str, first: int, step: int) -> "subprocess.Popen[str]":
    """A process that adds entries one by one, and says which were acknowledged."""
    command = [sys.executable, "-c", WRITER, name, str(first), str(step)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def check_answers(folder: Path, metric: str) -> None:
    """A server's gallery answers what a folder answers, to the last bit."""
    pair = [
        open_gallery(name, model=model(metric), writable=True) for name in (folder, f"{HOST}/same_{metric}")
    ]
    entries = make_entries()
    for gallery in pair:
        assert gallery.add(entries) == ROWS
    rng = np.random.default_rng(1)
    queries = [rng.normal(size=DIMENSION).astype(np.float32), entries[20].embedding]
    for filters in FILTERS:
        for query in queries:
            for k in (0, 1, 10, 100):
                expected, found = (gallery.search(query, k, filters) for gallery in pair)
                assert found == expected
    print(f"{metric}: {len(FILTERS) * len(queries) * 4} searches equal a folder's")


def check_writers() -> None:
    """Several processes write at once; nothing is lost and nothing doubled."""
    name = f"{HOST}/writers"
    with open_gallery(name, model=model("cosine"), writable=True) as gallery:
        writers = [writer(name, first, 3) for first in range(3)]
        said = [key for process in writers for key in process.communicate(timeout=240)[0].splitlines()]
        assert len(said) == len(gallery) == ROWS
    print(f"writers: {len(writers)} processes, {len(said)} images acknowledged and there")


def check_kill(server: MilvusServer, folder: Path) -> MilvusServer:
    """What was acknowledged before a kill -9 is there after it."""
    name = f"{HOST}/killed"
    with open_gallery(name, model=model("cosine"), writable=True):
        pass
    process = writer(name, 0, 1)
    said = [process.stdout.readline().strip() for _ in range(60)] if process.stdout else []
    kill(server)
    said += process.communicate(timeout=240)[0].splitlines()
    assert process.returncode != 0
    began = time.monotonic()
    server = start(folder)
    # Where the old port is not free yet, the package takes another.
    name = f"milvus://127.0.0.1:{server.listen_port}/killed"
    with open_gallery(name, model=model("cosine"), writable=True) as gallery:
        kept = {entry.key for batch in gallery.entries() for entry in batch}
        seconds = time.monotonic() - began
        assert set(said) <= kept
        gallery.add(make_entries())
        assert len(gallery) == ROWS
    print(f"kill -9: {len(said)} acknowledged, all there {seconds:.0f} s after the start, then completed")
    return server


def check_transfer(folder: Path) -> None:
    """To a server and back, nothing changes."""
    first, last = folder / "first", folder / "last"
    with open_gallery(first, model=model("cosine"), writable=True) as gallery:
        gallery.add(make_entries())
    for source, target in ((str(first), f"{HOST}/moved"), (f"{HOST}/moved", str(last))):
        assert transfer(["--from", source, "--to", target]) == 0
    held = []
    for name in (first, last):
        with open_gallery(name) as gallery:
            rows = [entry for batch in gallery.entries() for entry in batch]
            held.append({e.key: (e.embedding.tobytes(), e.picture, e.camera, e.time) for e in rows})
    assert held[0] == held[1]
    print(f"transfer: {len(held[1])} images there and back")


if __name__ == "__main__":
    root = Path(sys.argv[1])
    running = start(root / "server")
    try:
        for kind in ("euclidean", "cosine"):
            check_answers(root / kind, kind)
        check_writers()
        check_transfer(root)
        running = check_kill(running, root / "server")
    finally:
        kill(running)
