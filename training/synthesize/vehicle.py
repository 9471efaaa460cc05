"""Build one synthetic vehicle: proportions, look, body, marks and keypoints from a seed."""

import numpy as np

from zoo.labels import COLORS, TYPES

from . import palette
from .atlas import Atlas
from .body import add_shell, region_ranges
from .cargo import add_cargo, cargo_ranges
from .keypoints import place_keypoints
from .marks import paint_marks
from .mesh import MeshBuilder, Vehicle
from .paint_ends import paint_front, paint_rear, paint_tops
from .paint_side import paint_sides
from .parts import add_parts
from .shape import draw_shape
from .style import CHROME, DARK, draw_style
from .wheels import add_wheels, paint_wheel


def build_vehicle(seed: np.random.SeedSequence | int, color: int, type: int) -> Vehicle:  # noqa: A002
    """Build the vehicle of a seed; the same arguments give the same arrays.

    Args:
        seed: one per identity.
        color: 0-based index into `zoo.labels.COLORS`.
        type: 0-based index into `zoo.labels.TYPES`.

    Raises:
        ValueError: the colour or type is outside its table.
    """
    if not (0 <= color < len(COLORS) and 0 <= type < len(TYPES)):
        raise ValueError(
            f"colour {color} or type {type} is outside 0..{len(COLORS) - 1}, 0..{len(TYPES) - 1}"
        )
    entropy = seed.generate_state(4) if isinstance(seed, np.random.SeedSequence) else seed
    rng = np.random.default_rng(
        np.random.SeedSequence(np.atleast_1d(entropy).tolist(), spawn_key=(color, type))
    )
    shape = draw_shape(rng, type)
    style = draw_style(rng, shape, color)
    atlas = Atlas(
        region_ranges(shape) | cargo_ranges(shape) | {"wheel": ((-1.0, 1.0), (-1.0, 1.0))},
        truck=shape.kind == "truck",
    )
    for name, paint in (
        ("paint", style.paint), ("dark", DARK), ("tyre", (26, 26, 28, 10)), ("chrome", CHROME), ("trim", style.trim),
        ("accent", style.accent), ("mirror", style.mirror), ("box", style.roof_item_paint),
        ("lamp", (250, 200, 60, 200)), ("wood", (150, 112, 70, 10)), ("sack", palette.shaded(style.accent2, 0.9, 10)),
        ("glass", style.glass),
    ):  # fmt: skip
        atlas.set_swatch(name, paint)
    paint_sides(atlas, shape, style)
    paint_front(atlas, shape, style)
    paint_rear(atlas, shape, style)
    paint_tops(atlas, shape, style)
    paint_wheel(atlas, style)
    builder = MeshBuilder()
    add_shell(builder, shape, atlas)
    add_wheels(builder, shape, atlas)
    add_parts(builder, shape, style, atlas)
    cargo = add_cargo(builder, shape, style, atlas)
    paint_marks(atlas, shape, style)
    keypoints, normals = place_keypoints(shape, cargo)
    return Vehicle(
        mesh=builder.finish(atlas.compose()),
        keypoints=keypoints,
        keypoint_normals=normals,
        color=color,
        type=type,
        size=(shape.length, shape.width, shape.height),
    )
