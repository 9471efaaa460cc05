"""Heatmaps and segments drawn from keypoints, a batch at a time, where the network runs.

A heatmap holds one Gaussian as high as its keypoint's confidence, a segment one filled quad. Both are made of
small tables that are the same everywhere: a heatmap is the outer product of a column and a row of numbers, a
segment the pixels between the places where its edges cross a row. Only the last step, from tables to bytes,
is done in two ways, sparsely on a CPU and densely on an accelerator, with equal bytes.
"""

import numba
import numpy as np
import torch
from torch import Tensor

from training.data.transforms import Size
from zoo.pose import NUM_KEYPOINTS, NUM_SEGMENTS, SEGMENTS, visible_segments

SPREAD = 1 / 40
"""Standard deviation of a heatmap's Gaussian, as a share of the longer side of the source image."""


def spread(source_size: Size, resized: Size) -> np.ndarray:
    """Standard deviations (down, across), float32 [2], in pixels of an image of `source_size` that was
    stretched to `resized`."""
    sigma = SPREAD * max(source_size)
    return np.array([sigma * resized[0] / source_size[0], sigma * resized[1] / source_size[1]], np.float32)


def draw_heatmaps(points: Tensor, spreads: Tensor, size: Size, device: torch.device) -> Tensor:
    """Draw 36 heatmaps an image.

    Args:
        points: float32 [N, 36, 3] of x, y in pixels of the result and confidence, on the CPU.
        spreads: float32 [N, 2], see `spread`.
        size: (height, width) of the result.
        device: where to draw.

    Returns:
        uint8 [N, H, W, 36] on the device.
    """
    down, across = heat_tables(points, spreads, size)
    if device.type == "cpu":
        maps = torch.zeros((len(points), *size, NUM_KEYPOINTS), dtype=torch.uint8)
        _fill_heat(down.numpy(), across.numpy(), maps.numpy())
        return maps
    return expand_heat(down.to(device), across.to(device))


def draw_segments(points: Tensor, size: Size, device: torch.device) -> Tensor:
    """Draw 13 segments an image, 255 inside; one with a keypoint of confidence below 0.5 is all zero.

    Args:
        points: as of `draw_heatmaps`.
        size: (height, width) of the result.
        device: where to draw.

    Returns:
        uint8 [N, H, W, 13] on the device.
    """
    crossings = segment_tables(points, size)
    if device.type == "cpu":
        maps = torch.zeros((len(points), *size, NUM_SEGMENTS), dtype=torch.uint8)
        _fill_segments(crossings.numpy(), maps.numpy())
        return maps
    return expand_segments(crossings.to(device), size[1])


def heat_tables(points: Tensor, spreads: Tensor, size: Size) -> tuple[Tensor, Tensor]:
    """The columns [N, H, 36] and rows [N, W, 36] whose products are the heatmaps, float32."""
    x, y, confidence = points.unbind(2)

    def bell(count: int, center: Tensor, sigma: Tensor) -> Tensor:
        steps = torch.arange(count, dtype=torch.float32)[None, :, None]
        return torch.exp(-((steps - center[:, None]) ** 2) / (2 * sigma[:, None, None] ** 2))

    height = 255 * confidence.clamp(0, 1)
    return bell(size[0], y, spreads[:, 0]), bell(size[1], x, spreads[:, 1]) * height[:, None]


def segment_tables(points: Tensor, size: Size) -> Tensor:
    """Where each segment's four edges cross each row: float32 [N, H, 13, 4] of x, -inf for no crossing.

    A pixel is inside where an odd number of crossings lies to its right.
    """
    corners = points[:, torch.tensor(SEGMENTS)]
    shown = torch.from_numpy(visible_segments(points.numpy()))[:, None, :, None]
    x0, y0 = corners[:, None, ..., 0], corners[:, None, ..., 1]
    x1, y1 = x0.roll(-1, -1), y0.roll(-1, -1)
    rows = torch.arange(size[0], dtype=torch.float32)[None, :, None, None]
    crosses = ((y0 <= rows) != (y1 <= rows)) & shown
    return torch.where(crosses, x0 + (rows - y0) * ((x1 - x0) / (y1 - y0)), -torch.inf)


def expand_heat(down: Tensor, across: Tensor) -> Tensor:
    """Multiply out the tables of `heat_tables`, on any device."""
    maps = down.new_empty((*down.shape[:2], *across.shape[1:]), dtype=torch.uint8)
    # An image at a time: a batch of products in full precision would be four times the maps.
    for image, column, row in zip(maps, down, across, strict=True):
        image.copy_((column[:, None] * row[None]).round_())
    return maps


def expand_segments(crossings: Tensor, width: int) -> Tensor:
    """Fill the tables of `segment_tables`, on any device."""
    columns = torch.arange(width, dtype=torch.float32, device=crossings.device)[None, :, None]
    maps = crossings.new_empty((*crossings.shape[:2], width, crossings.shape[2]), dtype=torch.uint8)
    for image, edges in zip(maps, crossings, strict=True):
        inside = edges[:, None, :, 0] > columns
        for edge in range(1, edges.shape[-1]):
            inside = inside ^ (edges[:, None, :, edge] > columns)
        image.copy_(inside * 255)
    return maps


@numba.njit(cache=True, nogil=True)
def _fill_heat(down: np.ndarray, across: np.ndarray, maps: np.ndarray) -> None:
    """As `expand_heat`, leaving out what rounds to zero."""
    for n in range(maps.shape[0]):
        for k in range(maps.shape[3]):
            first, last, peak = maps.shape[2], -1, np.float32(0)
            for c in range(maps.shape[2]):
                if across[n, c, k] > 0.5:
                    first, last = min(first, c), c
                    peak = max(peak, across[n, c, k])
            for r in range(maps.shape[1]):
                factor = down[n, r, k]
                if factor * peak > 0.5:
                    for c in range(first, last + 1):
                        maps[n, r, c, k] = np.uint8(np.rint(factor * across[n, c, k]))


@numba.njit(cache=True, nogil=True)
def _fill_segments(crossings: np.ndarray, maps: np.ndarray) -> None:
    """As `expand_segments`, looking only at the pixels between the outermost crossings."""
    width = maps.shape[2]
    for n in range(maps.shape[0]):
        for r in range(maps.shape[1]):
            for k in range(maps.shape[3]):
                a, b, c, d = crossings[n, r, k]
                last = max(a, b, c, d)
                if last <= 0:
                    continue
                first = np.float32(np.inf)
                for x in (a, b, c, d):
                    if x > -np.inf:
                        first = min(first, x)
                for column in range(max(0, int(min(first, width))), min(width, int(min(last, width)) + 1)):
                    if ((a > column) ^ (b > column)) ^ ((c > column) ^ (d > column)):
                        maps[n, r, column, k] = 255
