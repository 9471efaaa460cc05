"""`python -m benchmarks.milvus_server`: a gallery on a real Milvus server beside one in a folder.

Wants `pip install milvus==2.3.5`, which brings a standalone server. That release listens on all interfaces,
whatever its configuration says: give it a network of its own, as
`unshare --net sh -c 'ip link set lo up && exec python -m benchmarks.milvus_server'` does for root.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.peers.__main__ import SHARES, make_data
from retrieval.benchmark import BATCH, K
from retrieval.galleries import open_gallery
from retrieval.gallery.base import Gallery
from retrieval.gallery.entries import Entry, GalleryModel
from retrieval.gallery.filters import Filters
from zoo.card import Card
from zoo.errors import UserError, exit_on_user_error

KINDS = ("exact", "IVF_FLAT", "IVF_SQ8", "HNSW", "DISKANN")
PORT = 19530
INDEXED_WITHIN = 1800.0
"""Seconds."""


def entries(data: Path, start: int) -> Iterator[Entry]:
    """A batch of rows."""
    vectors, values = np.load(data / "vectors.npy", mmap_mode="r"), np.load(data / "values.npy")
    for row in range(start, min(start + BATCH, len(vectors))):
        yield Entry(str(row), np.array(vectors[row]), camera=row % 20, time=float(values[row]))


def fill(gallery: Gallery, data: Path, rows: int) -> float:
    """Add all rows; seconds."""
    began = time.perf_counter()
    for start in tqdm(range(0, rows, BATCH), unit="batch", leave=False):
        gallery.add(entries(data, start))
    return time.perf_counter() - began


def searched(gallery: Gallery, data: Path) -> list[dict[str, float]]:
    """Recall and milliseconds by share of rows that a filter allows."""
    queries, found = np.load(data / "queries.npy"), []
    for query in queries[:5]:
        gallery.search(query, K)
    for share in SHARES:
        filters = Filters() if share == 1.0 else Filters(before=share)
        truth, seconds, right = np.load(data / f"truth-{share}.npy"), [], 0
        for query, wanted in zip(queries, truth, strict=True):
            began = time.perf_counter()
            hits = gallery.search(query, K, filters)
            seconds.append(time.perf_counter() - began)
            right += len({int(hit.key) for hit in hits} & set(wanted.tolist()))
        p50, p99 = (1e3 * float(np.percentile(seconds, at)) for at in (50, 99))
        found.append({"share": share, "recall": right / (K * len(queries)), "p50_ms": p50, "p99_ms": p99})
    return found


def wait_for_index(port: int, name: str) -> float:
    """Seal what was added, and wait until the server has indexed it; seconds."""
    from pymilvus import MilvusClient

    began = time.perf_counter()
    with closing(MilvusClient(f"http://127.0.0.1:{port}")) as client:
        client.flush(name)
        index = client.list_indexes(name)[0]
        while (state := client.describe_index(name, index))["pending_index_rows"] or not state[
            "indexed_rows"
        ]:
            if time.perf_counter() - began > INDEXED_WITHIN:
                raise UserError(f"{name}: not indexed within {INDEXED_WITHIN:g} s")
            time.sleep(1.0)
    return time.perf_counter() - began


def measure(folder: Path, rows: int, dimension: int, kinds: list[str]) -> dict[str, Any]:
    """The folder, then the server with one kind of index after the other."""
    from milvus import MilvusServer

    data = folder / "data"
    data.mkdir()
    make_data(data, rows, dimension)
    model = GalleryModel(Card("benchmark.vehicles", (128, 128), {"embedding": dimension}), "benchmark")
    found: dict[str, Any] = {}
    with open_gallery(folder / "gallery", model=model, writable=True) as gallery:
        added = fill(gallery, data, rows)
    with open_gallery(folder / "gallery") as gallery:
        found["folder"] = {"adds_per_second": rows / added, "searches": searched(gallery, data)}
    server = MilvusServer()
    server.set_base_dir(str(folder / "milvus"))
    server.config.set("proxy_port", PORT)
    server.start()
    try:
        for kind in kinds:
            name = f"vehicles_{kind.lower()}"
            address = f"milvus://127.0.0.1:{server.listen_port}/{name}"
            with open_gallery(address, model=model, writable=True, index=kind) as gallery:
                added = fill(gallery, data, rows)
                indexed = wait_for_index(server.listen_port, name)
                found[kind] = {"adds_per_second": rows / added, "index_seconds": indexed}
                found[kind]["searches"] = searched(gallery, data)
            print(kind, json.dumps(found[kind]), file=sys.stderr)
    finally:
        server.stop()
    return found


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.milvus_server", description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000, help="[%(default)s]")
    parser.add_argument("--dimension", type=int, default=1024, help="[%(default)s]")
    parser.add_argument("--index", nargs="+", choices=KINDS, default=list(KINDS), help="[all]")
    parser.add_argument("--scratch", type=Path, help="where galleries are made and deleted")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON line at the end")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="milvus-", dir=arguments.scratch) as folder:
        result = measure(Path(folder), arguments.rows, arguments.dimension, arguments.index)
    print(f"{'recall@10, median / 99th percentile':12}" + "".join(f"{share:>26.1%}" for share in SHARES))
    for name, row in result.items():
        cells = (f"{s['recall']:.3f}, {s['p50_ms']:.1f} / {s['p99_ms']:.1f} ms" for s in row["searches"])
        print(f"{name:12}" + "".join(f"{cell:>26}" for cell in cells))
    if arguments.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
