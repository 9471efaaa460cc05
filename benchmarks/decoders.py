"""Milliseconds of decoding and of resizing one picture, in one thread: Pillow, OpenCV, torch and others."""

import importlib
import io
import statistics
import time
import warnings
from collections.abc import Callable

import cv2
import numpy as np
import torch
from PIL import Image

from zoo.preprocess import decode_image, resize

SIZE = (256, 256)


def pillow_draft(data: bytes) -> np.ndarray:
    """Pillow, allowed to decode at a half, a quarter or an eighth where that is still large enough."""
    with Image.open(io.BytesIO(data)) as image:
        image.draft("RGB", SIZE)
        return np.asarray(image.convert("RGB"))


def torchvision_jpeg(data: bytes) -> np.ndarray:
    """Deprecated by torchvision 0.29."""
    from torchvision.io import ImageReadMode, decode_jpeg

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        return decode_jpeg(encoded, ImageReadMode.RGB).permute(1, 2, 0).numpy()


DECODERS: dict[str, Callable[[bytes], np.ndarray]] = {
    "the encoder's (Pillow, all checks)": decode_image,
    "Pillow": lambda data: np.asarray(Image.open(io.BytesIO(data)).convert("RGB")),
    "Pillow with draft": pillow_draft,
    "OpenCV": lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB),
    "torchvision decode_jpeg": torchvision_jpeg,
}

RESIZERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "the encoder's (Pillow)": lambda image: resize(image, SIZE),
    "torch, antialiased": lambda image: (
        torch.nn.functional.interpolate(
            torch.from_numpy(image)[None].permute(0, 3, 1, 2), SIZE, mode="bilinear", antialias=True
        )[0]
        .permute(1, 2, 0)
        .numpy()
    ),
    "OpenCV, linear": lambda image: cv2.resize(image, SIZE[::-1], interpolation=cv2.INTER_LINEAR),
    "OpenCV, area": lambda image: cv2.resize(image, SIZE[::-1], interpolation=cv2.INTER_AREA),
}


def measure(data: bytes, repeats: int) -> dict[str, dict[str, dict[str, float]]]:
    """Time all in turns; each by its median, and by how far its pixels are from the encoder's at most."""
    decoders = dict(DECODERS)
    for name, call in (
        ("simplejpeg", lambda module: lambda data: module.decode_jpeg(data, "RGB")),
        ("imagecodecs", lambda module: module.jpeg8_decode),
    ):
        try:
            decoders[name] = call(importlib.import_module(name))
        except ImportError:
            continue  # no dependency of this project; measured where it is installed
    pixels = decode_image(data)
    return {
        "decode": _in_turns({k: lambda f=f: f(data) for k, f in decoders.items()}, pixels, repeats),  # type: ignore[misc]
        "resize": _in_turns(
            {k: lambda f=f: f(pixels) for k, f in RESIZERS.items()},  # type: ignore[misc]
            resize(pixels, SIZE),
            repeats,
        ),
    }


def _in_turns(
    sides: dict[str, Callable[[], np.ndarray]], expected: np.ndarray, repeats: int
) -> dict[str, dict[str, float]]:
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            start = time.perf_counter()
            side()
            seconds[name].append(time.perf_counter() - start)
    found = {}
    for name, side in sides.items():
        result = side()
        same = result.shape == expected.shape
        levels = float(np.abs(result.astype(int) - expected).max()) if same else float("nan")
        found[name] = {"ms": 1e3 * statistics.median(seconds[name]), "levels": levels}
    return found
