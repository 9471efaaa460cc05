"""`python -m benchmarks.data_speed`: images a second that reach the network, against a plain loader.

All loaders take the same files in the same run, in turns, with the same number of worker processes. `wall` is
what this machine gave; `cpu` is worker processes over the processor time of an image, what they would give
had they as many cores for themselves, and is what to compare on a busy machine. Ours are also measured
with the normalisation to floats that the reference does in its workers and this project on the device. Each
side is a process of its own: ours keeps freed memory, as a training does (`training.distributed.devices`).
"""

import argparse
import gc
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from tqdm import tqdm

from benchmarks import decoders
from benchmarks.memory import in_fresh_process
from benchmarks.reference_loader import ReferenceSet
from training.data.batches import TrainingSet, collate, raise_failures
from training.data.pose_maps import MapSource, PoseInputs
from training.data.sampler import Draw
from training.data.transforms import Augmentation
from training.datasets.records import Record
from training.distributed.devices import keep_freed_memory
from training.synthesize.vehicle_pictures import write_heatmaps, write_segments
from zoo.card import Card
from zoo.errors import UserError, exit_on_user_error
from zoo.inference import Normalisation

SIZE = (256, 256)
BATCH = 32
CPU = torch.device("cpu")
CARD = Card(name="", input_size=SIZE, outputs={})
"""Of a network that takes pixels as most do."""

Side = Callable[[], int]
"""Loads once; returns the number of images."""


def make_pictures(root: Path, side: int, count: int, with_maps: int) -> list[Record]:
    """Write pictures of side x side pixels, 4 KB at 96 and 30 KB at 320, and maps of the first
    `with_maps`."""
    rng = np.random.default_rng(side)
    (root / "image_train").mkdir(parents=True)
    records = []
    for number in tqdm(range(count), f"draw {side} px", leave=False):
        patches = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        smooth = cv2.resize(patches, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.int64)
        picture = (smooth + rng.integers(-12, 13, smooth.shape)).clip(0, 255).astype(np.uint8)
        path = root / "image_train" / f"{number:04d}_c001_{number:08d}_0.jpg"
        Image.fromarray(picture).save(path, quality=90)
        points = rng.uniform((0, 0, 0.3), (side, side, 1.1), (36, 3)).astype(np.float32)
        if number < with_maps:
            write_heatmaps(root / "heatmap_train" / path.stem, points, (side, side))
            write_segments(root / "segment_train" / path.stem, points, (side, side))
        records.append(Record(path, number, 1, keypoints=points))
    return records


def reference(records: list[Record], workers: int, maps: bool = False) -> Side:
    """The plain loader."""

    def run() -> int:
        data = ReferenceSet([record.path for record in records], SIZE, maps)
        loader = DataLoader(data, BATCH, shuffle=True, num_workers=workers)
        return sum(len(images) for images, _ in loader)

    return run


def ours(
    records: list[Record], workers: int, maps: MapSource | None = None, normalised: bool = False
) -> Side:
    """This project's loader, up to a batch on the device; `normalised`: up to the network's floats."""
    pose = PoseInputs(heatmaps=maps is not None, segments=maps is not None)
    data = TrainingSet(
        records, {r.vehicle_id: 0 for r in records}, SIZE, Augmentation(), 0, pose, maps or "auto"
    )

    def run() -> int:
        keep_freed_memory()
        draws = [Draw(0, index, index) for index in np.random.default_rng(0).permutation(len(records))]
        batches = [draws[start : start + BATCH] for start in range(0, len(draws), BATCH)]
        loader: DataLoader[Any] = DataLoader(
            data,
            batch_sampler=batches,  # type: ignore[arg-type]
            num_workers=workers,
            collate_fn=collate,
        )
        normalise = Normalisation(CARD)
        images = 0
        for loaded in raise_failures(loader):
            batch = loaded.to(CPU)
            if normalised:
                normalise(batch.image, heatmaps=batch.heatmaps, segments=batch.segments)
            images += len(batch)
        return images

    return run


def in_turns(sides: dict[str, Side], workers: int, repeats: int, title: str) -> dict[str, dict[str, float]]:
    """Run each side once to warm up, then all in turns; medians, and how many times the first side's."""
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for turn in tqdm(range(repeats + 1), title, leave=False):
        for name, side in sides.items():
            images, *seconds = in_fresh_process(_timed, side, method="fork")
            if turn:
                rates[name].append((images / seconds[0], max(1, workers) * images / seconds[1]))
    found = {}
    first = next(iter(sides))
    for name, pairs in rates.items():
        walls, cpus = zip(*pairs, strict=True)
        against = zip(pairs, rates[first], strict=True)
        ratios = [(own[0] / other[0], own[1] / other[1]) for own, other in against]
        found[name] = {
            "wall": statistics.median(walls),
            "cpu": statistics.median(cpus),
            "wall_ratio": statistics.median(r[0] for r in ratios),
            "cpu_ratio": statistics.median(r[1] for r in ratios),
        }
    return found


def _timed(side: Side) -> tuple[int, float, float]:
    """Images, and seconds by the clock and of all processors."""
    wall, processor = time.perf_counter(), _processor_seconds()
    images = side()
    # Worker processes are counted once they have ended, which the loader sees to.
    gc.collect()
    return images, time.perf_counter() - wall, _processor_seconds() - processor


def _processor_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data_speed", description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[96, 320], help="of the pictures [96 320]")
    parser.add_argument("--images", type=int, default=1024, help="pictures of each side [%(default)s]")
    parser.add_argument("--maps", type=int, default=64, help="of them with map files [%(default)s]")
    parser.add_argument("--workers", type=int, default=2, help="processes that load [%(default)s]")
    parser.add_argument("--threads", type=int, default=1, help="of torch and OpenCV [%(default)s]")
    parser.add_argument("--repeats", type=int, default=5, help="turns [%(default)s]")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON line at the end")
    arguments = parser.parse_args(argv)
    if min(*arguments.sides, arguments.images, arguments.maps, arguments.threads, arguments.repeats) < 1:
        raise UserError("all numbers must be at least 1")
    if arguments.maps > arguments.images:
        raise UserError(f"--maps {arguments.maps}: must not be more than --images {arguments.images}")
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    workers, repeats = arguments.workers, arguments.repeats
    result: dict[str, Any] = {"settings": vars(arguments)}
    for side in arguments.sides:
        with tempfile.TemporaryDirectory() as folder:
            records = make_pictures(Path(folder), side, arguments.images, arguments.maps)
            some = records[: arguments.maps]
            loaders: dict[str, dict[str, Side]] = {
                "RGB": {
                    "reference": reference(records, workers),
                    "ours": ours(records, workers),
                    "ours, normalised": ours(records, workers, normalised=True),
                },
                "with maps": {
                    "reference, 49 files": reference(some, workers, maps=True),
                    "ours, 49 files": ours(some, workers, "folders"),
                    "ours, drawn": ours(records, workers, "drawn"),
                    "ours, drawn, normalised": ours(records, workers, "drawn", normalised=True),
                },
            }
            result[f"{side} px"] = found = {
                kind: in_turns(sides, workers, repeats, f"{side} px, {kind}")
                for kind, sides in loaders.items()
            }
            for kind, rows in found.items():
                _print_rates(f"{side} px, {kind}", rows)
            single = decoders.measure(records[0].path.read_bytes(), 40 * repeats)
            result[f"{side} px"] |= single
            for step, rows in single.items():
                _print_milliseconds(f"{side} px, {step} one", rows)
    if arguments.json:
        print(json.dumps(result))
    return 0


def _print_rates(title: str, rows: dict[str, dict[str, float]]) -> None:
    print(f"{title:36}{'wall img/s':>12}{'times':>8}{'cpu img/s':>12}{'times':>8}")
    for name, row in rows.items():
        print(
            f"  {name:34}{row['wall']:12.0f}{row['wall_ratio']:8.2f}{row['cpu']:12.0f}{row['cpu_ratio']:8.2f}"
        )


def _print_milliseconds(title: str, rows: dict[str, dict[str, float]]) -> None:
    print(f"{title:36}{'ms':>12}{'levels off':>20}")
    for name, row in rows.items():
        print(f"  {name:34}{row['ms']:12.3f}{row['levels']:20.0f}")


if __name__ == "__main__":
    sys.exit(main())
