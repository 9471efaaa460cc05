"""The shell of a vehicle: cross sections along x, lofted, closed at both ends, mapped to the atlas."""

from itertools import pairwise

import numpy as np

from training.synthesize.renderer.mesh import MeshBuilder, smooth_normals
from training.synthesize.vehicle.atlas import Atlas
from training.synthesize.vehicle.shape import Shape

_TOPS = ("hood", "screen", "roof", "back", "deck")
_COLUMN = 0.72
"""Where the roof's inner line runs, as a fraction of its half width; end faces have columns there too."""


def region_ranges(shape: Shape) -> dict[str, tuple[tuple[float, float], tuple[float, float]]]:
    """Metric spans (a, b) of the atlas regions that the shell uses.

    left and right: x (front at the viewer's left on the left side) by z; front and rear: y by z; the tops:
    y by arc length along the middle, seen from the front (the rear window and deck from behind).
    """
    half, top = shape.width / 2 + 0.02, shape.height + 0.08
    arc = shape.arc(np.array(shape.profile_x)).tolist()
    ranges = {
        "left": ((shape.front + 0.05, shape.tail - 0.05), (0.0, top)),
        "right": ((shape.tail - 0.05, shape.front + 0.05), (0.0, top)),
        "front": ((-half, half), (0.0, shape.profile_z[0] + 0.1)),
        "rear": ((half, -half), (0.0, shape.profile_z[5] + 0.1)),
    }
    for index, name in enumerate(_TOPS):
        span = (arc[index], max(arc[index + 1], arc[index] + 0.02))
        if name == "roof":
            ranges[name] = ((span[1], span[0]), (-half, half))
        elif name in ("back", "deck"):
            ranges[name] = ((half, -half), (span[1], span[0]))
        else:
            ranges[name] = ((-half, half), (span[0], span[1]))
    return ranges


def stations(shape: Shape) -> np.ndarray:
    """The x of the cross sections from front to tail, dense over the wheel arches and the corners."""
    _, cowl, roof_front, roof_rear, base, _ = shape.profile_x
    front, tail = shape.front, shape.tail
    x = [front, front - 0.06, front - 0.2, front - 0.45, cowl, roof_front, roof_rear, base, tail]
    x += [tail + 0.05, tail + 0.16, tail + 0.4, (cowl + roof_front) / 2, (roof_rear + base) / 2]
    x += np.linspace(roof_front, roof_rear, 4)[1:3].tolist()
    if shape.bed_depth:
        x += [base - 0.02, tail + 0.06]
    for wheel in shape.wheel_x:
        for offset in (0.0, 0.5, 0.8, 0.95, 0.9998, 1.002):
            x += [wheel - offset * shape.arch, wheel + offset * shape.arch]
    kept: list[float] = []
    for value in sorted((v for v in x if tail <= v <= front), reverse=True):
        # 0.5 mm is less than the step of an arch's edge and more than the profile's own ties.
        if not kept or kept[-1] - value > 2e-4:
            kept.append(value)
    return np.array(kept)


def sections(shape: Shape, x: np.ndarray, ends: bool = False) -> np.ndarray:
    """Half cross sections [N, 9, 3] on the left side, from the bottom's middle to the top's middle.

    With `ends`, the first and the last are the body's ends, slanted as bumpers and tail are.
    """
    bottom, shoulder, top = shape.bottom(x), shape.shoulder(x), shape.top(x)
    shoulder = np.maximum(shoulder, bottom + 0.06)
    low = np.clip(shape.clearance + 0.18, bottom + 0.015, shoulder - 0.03)
    crease = shape.wheel_radius + shape.arch + 0.05
    middle = np.clip(np.minimum(crease, shape.profile_z[0] - 0.1), low + 0.01, shoulder - 0.015)
    edge = shape.roof_edge(x)
    cabin = np.clip((top - shoulder - 0.05) / 0.25, 0, 1)
    points = np.zeros((len(x), 9, 3))
    points[:, :, 0] = x[:, None]
    for index, z in ((1, bottom), (2, low), (3, middle), (4, shoulder)):
        points[:, index, 1] = shape.half_width(x, z)
        points[:, index, 2] = z
    points[:, 0, 2] = bottom
    points[:, 5, 1] = shape.half_width(x, shoulder) * 0.965
    points[:, 5, 2] = shoulder + 0.018
    points[:, 6, 1] = edge
    points[:, 6, 2] = np.maximum(top - (0.022 + 0.05 * cabin), shoulder + 0.02)
    points[:, 7, 1] = edge * (_COLUMN + 0.14 * cabin)
    points[:, 7, 2] = np.maximum(top, shoulder + 0.03)
    points[:, 8, 2] = points[:, 7, 2] + shape.crown
    if shape.bed_depth:
        bed = (x < shape.profile_x[4] - 0.01) & (x > shape.tail + 0.055)
        floor = shoulder - shape.bed_depth
        points[bed, 7, 1] = points[bed, 6, 1] - 0.02
        points[bed, 6, 2] = shoulder[bed] + 0.022
        points[bed, 7, 2] = points[bed, 8, 2] = np.maximum(floor, bottom + 0.02)[bed]
        rim = (x < shape.profile_x[4] - 0.01) & ~bed
        points[rim, 6:, 2] = (shoulder[rim] + 0.022)[:, None]
    if ends:
        _lean_ends(shape, points)
    return points


def _lean_ends(shape: Shape, points: np.ndarray) -> None:
    """Slant the end sections in place: bumpers stand out, the upper edge leans back."""
    for index, sign, lean, top in (
        (0, -1, shape.lean[0], shape.profile_z[0]),
        (-1, 1, shape.lean[1], shape.profile_z[5]),
    ):
        height = (points[index, :, 2] - shape.clearance) / max(top - shape.clearance, 0.1)
        points[index, :, 0] += sign * np.interp(
            height, (0.0, 0.18, 0.55, 0.62, 1.0), (0.05, 0.0, 0.0, 0.35 * lean, min(lean, 0.055))
        )


def add_shell(builder: MeshBuilder, shape: Shape, atlas: Atlas) -> None:
    """Add the lofted shell with both end faces."""
    x = stations(shape)
    half = sections(shape, x, ends=True)
    quads: list[np.ndarray] = []
    uvs: list[np.ndarray] = []
    arc = shape.arc(x)
    bounds = shape.profile_x
    for i in range(len(x) - 1):
        middle = 0.5 * (x[i] + x[i + 1])
        segment = int(np.clip(np.sum(middle < np.array(bounds)) - 1, 0, 4))
        for j in range(8):
            quad = half[[i, i + 1, i + 1, i], [j, j, j + 1, j + 1]]
            top_part = j >= (4 if segment in (0, 4) else 6)
            for side in (1, -1):
                corners = quad * (1, side, 1)
                if j == 0:
                    uv = atlas.swatch_uv("dark", (4,))
                elif top_part:
                    s = arc[[i, i + 1, i + 1, i]]
                    name = _TOPS[segment]
                    ab = np.stack([s, corners[:, 1]] if name == "roof" else [corners[:, 1], s], axis=1)
                    uv = atlas[name].uv(ab)
                else:
                    uv = atlas["left" if side > 0 else "right"].uv(corners[:, [0, 2]])
                # Front to rear, then upwards, turns counter-clockwise seen from the left.
                order = [0, 1, 2, 3] if side > 0 else [3, 2, 1, 0]
                quads.append(corners[order])
                uvs.append(uv[order])
    for name, section, outward in (("front", half[0], 1), ("rear", half[-1], -1)):
        _add_end(quads, uvs, atlas, name, section, outward)
    corners = np.array(quads)[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3, 3)
    uv = np.array(uvs)[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3, 2)
    builder.add(corners, uv, smooth_normals(corners))


def _add_end(
    quads: list[np.ndarray], uvs: list[np.ndarray], atlas: Atlas, name: str, section: np.ndarray, outward: int
) -> None:
    """Close an end: rows at the section's heights, columns across, bulging outwards in the middle."""
    columns = np.array([-1.0, -_COLUMN, 0.0, _COLUMN, 1.0])
    rows = []
    for j in range(1, 7):
        row = np.repeat(section[j][None], 5, axis=0)
        row[:, 1] *= columns
        row[:, 0] += outward * 0.05 * (1 - columns**2)
        rows.append(row)
    top = section[[6, 7, 8, 7, 6]] * np.array([[1, -1, 1], [1, -1, 1], [1, 0, 1], [1, 1, 1], [1, 1, 1]])
    rows[-1] = top
    bottom = section[[1, 1, 0, 1, 1]] * np.array([[1, -1, 1], [1, -1, 1], [1, 0, 1], [1, 1, 1], [1, 1, 1]])
    bottom[[1, 3], 1] *= _COLUMN
    rows[0] = bottom
    for lower, upper in pairwise(rows):
        for c in range(4):
            quad = np.array([lower[c], lower[c + 1], upper[c + 1], upper[c]])[::outward]
            quads.append(quad)
            uvs.append(atlas[name].uv(quad[:, [1, 2]]))
