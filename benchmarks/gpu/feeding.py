"""What feeds the card: the loader's processes on this machine's cores, and decoding on the card itself."""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from benchmarks.data_speed import make_pictures
from benchmarks.gpu.steps import wait
from training.data.batches import TrainingSet, collate, raise_failures
from training.data.sampler import Draw
from training.data.transforms import Augmentation
from training.distributed.devices import begin_loading, loader_context

BATCH = 32


def measure_loader(device: torch.device, size: int, seconds: float) -> dict[str, Any]:
    """Measure pictures of 256 pixels to augmented batches of bytes, by the number of processes."""
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        records = make_pictures(Path(folder), 256, 256, with_maps=0)
        labels = {record.vehicle_id: number for number, record in enumerate(records)}
        data = TrainingSet(records, labels, (size, size), Augmentation(crop=0.5, flip=0.5), seed=0)
        rows = [
            {"workers": workers, "images_per_second": round(_loaded(data, workers, device, seconds), 1)}
            for workers in sorted({1, max(1, cores // 2), cores})
        ]
        on_card = _decoded_on_card([record.path for record in records], size, device, seconds)
    return {"cores": cores, "rows": rows, "nvjpeg_images_per_second": on_card}


def _loaded(data: TrainingSet, workers: int, device: torch.device, seconds: float) -> float:
    indices = [index % len(data) for index in range(100 * len(data))]
    draws = [
        [Draw(0, start + n, index) for n, index in enumerate(indices[start : start + BATCH])]
        for start in range(0, len(indices), BATCH)
    ]
    loader: DataLoader[Any] = DataLoader(
        data,
        batch_sampler=draws,  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=collate,
        multiprocessing_context=loader_context(device, workers),
        worker_init_fn=begin_loading,
    )
    images, began = 0, 0.0
    for number, batch in enumerate(raise_failures(loader)):
        if number == 2 * workers:
            # What the processes had ready when they were first asked does not count.
            images, began = 0, time.perf_counter()
        images += len(batch)
        if began and time.perf_counter() - began > seconds:
            break
    return images / (time.perf_counter() - began)


def _decoded_on_card(paths: list[Path], size: int, device: torch.device, seconds: float) -> float | None:
    """Images/s of torchvision's nvjpeg and a resize on the card; None where there is none."""
    if device.type != "cuda":
        return None
    from torchvision.io import ImageReadMode, decode_jpeg, read_file

    files = [read_file(str(path)) for path in paths[:BATCH]]

    def step() -> None:
        pictures = torch.stack(decode_jpeg(files, mode=ImageReadMode.RGB, device=device))
        torch.nn.functional.interpolate(pictures.float(), (size, size), mode="bilinear", antialias=True)

    step()
    wait(device)
    images, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        step()
        wait(device)
        images += len(files)
    return round(images / (time.perf_counter() - began), 1)
