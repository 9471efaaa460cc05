"""`python -m benchmarks.milvus_server`: a gallery on a real Milvus server beside one in a folder.

Wants `pip install milvus==2.3.5`, which brings a standalone server. That release listens on all interfaces,
whatever its configuration says: give it a network of its own, as
`unshare --net sh -c 'ip link set lo up && exec python -m benchmarks.milvus_server'` does for root.
The rows are added once; each kind of index is then built from them, and searched before the next.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
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
from retrieval.milvus.rows import INDEXES
from zoo.card import Card
from zoo.errors import UserError, exit_on_user_error

KINDS = ("exact", "IVF_FLAT", "IVF_SQ8", "HNSW", "DISKANN")
NAME = "vehicles"
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


def worked(process: int) -> float:
    """Seconds of processor time that a process has taken so far."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(process: int) -> float:
    """Memory of a process."""
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def searched(gallery: Gallery, data: Path, cpu: Callable[[], float]) -> list[dict[str, float]]:
    """Recall, milliseconds and processor time by share of rows that a filter allows.

    Args:
        gallery: all rows are in it.
        data: queries and their true neighbours.
        cpu: seconds of processor time so far, of all that answers.
    """
    queries, found = np.load(data / "queries.npy"), []
    for query in queries[:5]:
        gallery.search(query, K)
    for share in SHARES:
        filters = Filters() if share == 1.0 else Filters(before=share)
        truth, seconds, right = np.load(data / f"truth-{share}.npy"), [], 0
        before = cpu()
        for query, wanted in zip(queries, truth, strict=True):
            began = time.perf_counter()
            hits = gallery.search(query, K, filters)
            seconds.append(time.perf_counter() - began)
            right += len({int(hit.key) for hit in hits} & set(wanted.tolist()))
        p50, p99 = (1e3 * float(np.percentile(seconds, at)) for at in (50, 99))
        mean = 1e3 * (cpu() - before) / len(queries)
        recall = right / (K * len(queries))
        found.append({"share": share, "recall": recall, "p50_ms": p50, "p99_ms": p99, "cpu_ms": mean})
    return found


def without_waiting(port: int, data: Path) -> float:
    """Median milliseconds of a search of all rows that need not see the newest of them."""
    from pymilvus import MilvusClient

    seconds = []
    with closing(MilvusClient(f"http://127.0.0.1:{port}")) as client:
        effort = INDEXES[str(client.describe_index(NAME, "embedding")["index_type"])][1]
        for query in np.load(data / "queries.npy"):
            began = time.perf_counter()
            client.search(
                NAME,
                [query.tolist()],
                limit=K + 32,
                output_fields=["name", "embedding"],
                search_params={"params": effort},
                consistency_level="Bounded",
            )
            seconds.append(time.perf_counter() - began)
    return 1e3 * float(np.median(seconds))


def seal(port: int) -> None:
    """Close the segment that takes rows in; only closed ones are indexed."""
    from pymilvus import MilvusClient

    with closing(MilvusClient(f"http://127.0.0.1:{port}")) as client:
        client.flush(NAME)


def wait_for_index(port: int) -> None:
    """Wait until the server has indexed all rows, then have it load the index in place of the rows.

    Raises:
        UserError: it cannot, or takes too long.
    """
    from pymilvus import MilvusClient

    began = time.perf_counter()
    with closing(MilvusClient(f"http://127.0.0.1:{port}")) as client:
        index = client.list_indexes(NAME)[0]
        while (state := client.describe_index(NAME, index))["pending_index_rows"] or not state[
            "indexed_rows"
        ]:
            if time.perf_counter() - began > INDEXED_WITHIN:
                raise UserError(f"not indexed within {INDEXED_WITHIN:g} s")
            time.sleep(1.0)
        client.release_collection(NAME)
        client.load_collection(NAME)


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
        found["folder"] = {"adds_per_second": rows / added}
        found["folder"]["searches"] = searched(gallery, data, time.process_time)
    print("folder", json.dumps(found["folder"]), file=sys.stderr)
    server = MilvusServer()
    server.set_base_dir(str(folder / "milvus"))
    server.config.set("proxy_port", PORT)
    server.config.set("queryNode.enableDisk", True)  # for DISKANN; the template's own value is false
    server.start()
    process = server.server_proc.pid

    def cpu() -> float:
        return time.process_time() + worked(process)

    try:
        address = f"milvus://127.0.0.1:{server.listen_port}/{NAME}"
        with open_gallery(address, model=model, writable=True) as gallery:
            found["server"] = {"adds_per_second": rows / fill(gallery, data, rows)}
        seal(server.listen_port)
        print("server", json.dumps(found["server"]), file=sys.stderr)
        for kind in kinds:
            found[kind] = measure_index(address, server.listen_port, data, kind, cpu)
            found[kind]["memory_mb"] = resident_mb(process)
            print(kind, json.dumps(found[kind]), file=sys.stderr)
    finally:
        server.stop()
    return found


def measure_index(address: str, port: int, data: Path, kind: str, cpu: Callable[[], float]) -> dict[str, Any]:
    """Have the server build an index of one kind, and search by it."""
    began, before = time.perf_counter(), cpu()
    try:
        with open_gallery(address, writable=True, index=kind) as gallery:
            wait_for_index(port)
            built = {"index_seconds": time.perf_counter() - began, "index_cpu_seconds": cpu() - before}
            found = {**built, "searches": searched(gallery, data, cpu)}
            return {**found, "without_waiting_ms": without_waiting(port, data)}
    except UserError as error:
        return {"failure": str(error)}


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
        if "searches" not in row:
            continue
        cells = (f"{s['recall']:.3f}, {s['p50_ms']:.1f} / {s['p99_ms']:.1f} ms" for s in row["searches"])
        print(f"{name:12}" + "".join(f"{cell:>26}" for cell in cells))
    if arguments.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
