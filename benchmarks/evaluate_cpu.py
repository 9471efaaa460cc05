"""`python -m benchmarks.evaluate_cpu`: images to embeddings on a CPU, by `training.evaluate` and plainly.

The plain side is the reference's: pictures opened by Pillow, resized, turned into float32 [3, H, W] and
normalised by torchvision, in batches of 32, one eager forward in NCHW without gradients. All sides take the
same files in turns, in this process, loading included; the export before it is told
apart.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import transforms
from tqdm import tqdm

from serving.benchmarks.rows import make_images
from training.datasets.records import Record
from training.evaluation.deployed import EXPORTED_FROM, deployed_model
from training.evaluation.extract import EvaluationSet, extract
from zoo.errors import exit_on_user_error
from zoo.inference import InferenceModel
from zoo.loading import load_model
from zoo.weights import save_weights

BATCH = 32


def reference(model: torch.nn.Module, paths: list[Path], size: tuple[int, int]) -> np.ndarray:
    """The embeddings as evaluation code usually makes them, float32 [N, D]."""
    prepare = transforms.Compose(
        [
            transforms.Resize(size),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    found = []
    with torch.no_grad():
        for start in range(0, len(paths), BATCH):
            batch = [prepare(Image.open(path).convert("RGB")) for path in paths[start : start + BATCH]]
            found.append(model(torch.stack(batch), None, None, None).embedding.numpy())
    return np.concatenate(found)


def measure(weights: str, side: int, images: int, turns: int, threads: int) -> dict[str, object]:
    """Median seconds of wall and processor an image of each way, and how far their embeddings are apart."""
    torch.set_num_threads(threads)
    size = (side, side)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        root = Path(folder)
        paths = [root / f"{number:04}.jpg" for number in range(images)]
        for path, data in zip(paths, make_images(images), strict=True):
            path.write_bytes(data)
        network, card = load_model(weights)
        card = card.replace(input_size=size, pose_inputs=network.pose_inputs(size))
        resized = root / "weights.safetensors"
        save_weights(network, card, resized)
        data = EvaluationSet([Record(path, 0, 0) for path in paths], size)
        eager = InferenceModel(load_model(resized)[0], card).to(memory_format=torch.channels_last)
        began = time.process_time()
        graph, _ = stack.enter_context(deployed_model(resized, torch.device("cpu"), EXPORTED_FROM))
        export = time.process_time() - began
        assert not isinstance(graph, InferenceModel), "the graph was not taken"
        sides: dict[str, Callable[[], np.ndarray]] = {
            "reference": lambda: reference(network, paths, size),
            "torch, channels last": lambda: extract(eager, data).embedding,
            "training.evaluate": lambda: extract(graph, data).embedding,
        }
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        found: dict[str, np.ndarray] = {}
        for name, work in sides.items():
            found[name] = work()
        for _ in tqdm(range(turns), unit="turn", leave=False):
            for name, work in sides.items():
                start, before = time.perf_counter(), time.process_time()
                work()
                seconds[name].append((time.perf_counter() - start, time.process_time() - before))
    right = found["reference"]
    rows = {}
    for name, pairs in seconds.items():
        wall, cpu = (statistics.median(values) / images for values in zip(*pairs, strict=True))
        difference = float(np.abs(found[name] - right).max() / np.abs(right).max())
        rows[name] = {"wall_ms": 1e3 * wall, "cpu_ms": 1e3 * cpu, "difference": difference}
    for row in rows.values():
        row["cpu_ratio"] = rows["reference"]["cpu_ms"] / row["cpu_ms"]
    return {"weights": weights, "size": side, "images": images, "export_cpu_s": export, "sides": rows}


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluate_cpu", description=__doc__)
    parser.add_argument("--weights", default="densenet121.synthetic", help="[%(default)s]")
    parser.add_argument("--size", type=int, default=256, help="side of the images [%(default)s]")
    parser.add_argument("--images", type=int, default=64, help="of a turn [%(default)s]")
    parser.add_argument("--turns", type=int, default=5, help="[%(default)s]")
    parser.add_argument("--threads", type=int, default=2, help="[%(default)s]")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON line at the end")
    arguments = parser.parse_args(argv)
    result = measure(arguments.weights, arguments.size, arguments.images, arguments.turns, arguments.threads)
    print(f"{'an image':24}{'wall ms':>9}{'CPU ms':>9}{'times':>7}{'difference':>12}")
    for name, row in result["sides"].items():  # type: ignore[attr-defined]
        print(
            f"{name:24}{row['wall_ms']:9.1f}{row['cpu_ms']:9.1f}{row['cpu_ratio']:7.2f}{row['difference']:12.1e}"
        )
    print(f"export, once: {result['export_cpu_s']:.1f} s of processor time")
    if arguments.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
