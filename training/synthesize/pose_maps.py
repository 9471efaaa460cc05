"""Heatmaps and segments drawn from keypoints, in the folders of VeRi's pose labels."""

from pathlib import Path

import cv2
import numpy as np

from training.synthesize.renderer.effects import encode_jpeg
from zoo.pose import SEGMENTS, visible_segments

_QUALITY = 90


def write_heatmaps(folder: Path, keypoints: np.ndarray, shape: tuple[int, int]) -> None:
    """Write one Gaussian a keypoint, as high as its confidence, as 00.jpg, 01.jpg, ... of (height, width)."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = np.arange(shape[0], dtype=np.float32)
    columns = np.arange(shape[1], dtype=np.float32)
    sigma = max(shape) / 40
    for index, (x, y, confidence) in enumerate(keypoints):
        down = np.exp(-((rows - y) ** 2) / (2 * sigma**2))
        across = np.exp(-((columns - x) ** 2) / (2 * sigma**2))
        heat = np.outer(down, across) * (255 * min(1.0, float(confidence)))
        (folder / f"{index:02d}.jpg").write_bytes(encode_jpeg(np.round(heat).astype(np.uint8), _QUALITY))


def write_segments(folder: Path, keypoints: np.ndarray, shape: tuple[int, int]) -> None:
    """Write one filled quad a surface, black where any of its corners has a confidence under 0.5."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = visible_segments(keypoints)
    for index, corners in enumerate(SEGMENTS):
        mask = np.zeros(shape, np.uint8)
        if shown[index]:
            cv2.fillPoly(mask, [np.round(keypoints[list(corners), :2]).astype(np.int32)], 255)
        (folder / f"{index:02d}.jpg").write_bytes(encode_jpeg(mask, _QUALITY))
