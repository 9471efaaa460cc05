"""Which triangle is nearest at each sample: the z-buffer."""

import math

import numba
import numpy as np

_NEAR = 0.3
"""Metres: a triangle with a corner nearer to the camera is left out."""


def cover(screen: np.ndarray, faces: np.ndarray, mask: np.ndarray) -> None:
    """Set to 1 the cells of `mask`, float32 [H, W], that a triangle covers; screen [V, 3] is x, y, 1."""
    scratch = np.empty(mask.shape, np.int32), np.empty(mask.shape, np.int16)
    rasterize(screen, faces, mask, *scratch, 0)


@numba.njit(cache=True, nogil=True)
def rasterize(
    screen: np.ndarray,
    faces: np.ndarray,
    nearness: np.ndarray,
    triangle: np.ndarray,
    owner: np.ndarray,
    number: int,
) -> None:
    """Leave each triangle's number where it is the nearest; screen [V, 3] = x, y in samples and 1 / depth."""
    height, width = nearness.shape
    for face in range(faces.shape[0]):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        za, zb, zc = screen[a, 2], screen[b, 2], screen[c, 2]
        if max(za, zb, zc) * _NEAR > 1.0:
            continue
        ax, ay, bx, by = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1]
        cx, cy = screen[c, 0], screen[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-6:
            continue
        first_row = max(0, math.ceil(min(ay, by, cy) - 0.5))
        last_row = min(height - 1, math.floor(max(ay, by, cy) - 0.5))
        first_column = max(0, math.ceil(min(ax, bx, cx) - 0.5))
        last_column = min(width - 1, math.floor(max(ax, bx, cx) - 0.5))
        if first_row > last_row or first_column > last_column:
            continue
        inverse = 1.0 / area
        # Weights of b and c are linear in the sample's place: step them along the row.
        step_b, step_c = (cy - ay) * inverse, -(by - ay) * inverse
        for row in range(first_row, last_row + 1):
            py = row + 0.5 - ay
            px = first_column + 0.5 - ax
            start_b = (px * (cy - ay) - py * (cx - ax)) * inverse
            start_c = (py * (bx - ax) - px * (by - ay)) * inverse
            for column in range(first_column, last_column + 1):
                wb = start_b + (column - first_column) * step_b
                wc = start_c + (column - first_column) * step_c
                if wb < 0.0 or wc < 0.0 or wb + wc > 1.0:
                    continue
                near = za + wb * (zb - za) + wc * (zc - za)
                if near > nearness[row, column]:
                    nearness[row, column] = near
                    triangle[row, column] = face
                    owner[row, column] = number
