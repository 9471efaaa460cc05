"""Tiny data sets in VeRi layout: coloured stripes for vehicles, enough to learn from in seconds."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

SPLITS = ("train", "query", "test")


def make_veri(
    root: Path,
    train_ids: int = 8,
    test_ids: int = 5,
    images: int = 6,
    size: tuple[int, int] = (48, 56),
    seed: int = 0,
) -> Path:
    """Write a data set; a test vehicle's first image is the query, the others are its gallery.

    Args:
        root: the folder to make.
        train_ids: training vehicles, numbered from 1.
        test_ids: test vehicles, numbered after them.
        images: of each vehicle, each at a camera of its own.
        size: (height, width) of the images.
        seed: of everything.
    """
    rng = np.random.default_rng(seed)
    rows: dict[str, list[list[str]]] = {split: [] for split in SPLITS}
    for split in SPLITS:
        (root / f"image_{split}").mkdir(parents=True)
    for vehicle in range(1, train_ids + test_ids + 1):
        paint = rng.integers(0, 256, (2, 3))
        period = int(rng.integers(4, 17))
        color, kind = int(rng.integers(1, 11)), int(rng.integers(1, 10))
        for camera in range(1, images + 1):
            split = "train" if vehicle <= train_ids else "query" if camera == 1 else "test"
            name = f"{vehicle:04d}_c{camera:03d}_{camera * 100:08d}_0.jpg"
            stripes = paint[(np.arange(size[1]) // period) % 2][None].repeat(size[0], 0)
            noisy = stripes * rng.uniform(0.8, 1.1) + rng.normal(0, 12, stripes.shape)
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(
                root / f"image_{split}" / name, quality=90
            )
            rows[split].append(label_row(name, vehicle, color, kind, size, rng))
    for split in SPLITS:
        write_labels(root / f"label_{split}.csv", rows[split])
    return root


def label_row(
    name: str, vehicle: int, color: int, kind: int, size: tuple[int, int], rng: np.random.Generator
) -> list[str]:
    """A label row like the real ones: coordinates somewhat outside too, confidences up to 1.12."""
    points = rng.uniform((-0.05, -0.05, 0.0), (1.05, 1.05, 1.12), (36, 3)) * (size[1], size[0], 1.0)
    return [name, str(vehicle), str(color), str(kind), *(f"{value:.3f}" for value in points.ravel())]


def write_labels(path: Path, rows: list[list[str]]) -> None:
    """Write a label file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def read_rows(path: Path) -> list[list[str]]:
    """Read a label file's rows back, for a test to change."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def make_maps(root: Path, split: str, kind: str, count: int, size: tuple[int, int] = (28, 24)) -> None:
    """Write `<kind>_<split>` folders; map i of an image is gray 5 * i with its left half twice as bright."""
    for image in (root / f"image_{split}").iterdir():
        folder = root / f"{kind}_{split}" / image.stem
        folder.mkdir(parents=True)
        for index in range(count):
            values = np.full(size, 3 * index, np.uint8)
            values[:, : size[1] // 2] = 6 * index
            Image.fromarray(values).save(folder / f"{index:02d}.jpg", quality=95)
