"""Build one synthetic vehicle: proportions, look, body, marks and keypoints from a seed."""

import numpy as np

from training.synthesize.renderer.mesh import MeshBuilder, Vehicle
from training.synthesize.vehicle import palette
from training.synthesize.vehicle.atlas import Atlas, PartBuilder
from training.synthesize.vehicle.body import add_shell, region_ranges
from training.synthesize.vehicle.cargo import add_cargo, add_pickup_load, cargo_ranges, draw_cargo
from training.synthesize.vehicle.keypoints import place_keypoints
from training.synthesize.vehicle.livery import paint_livery
from training.synthesize.vehicle.lookalike import differ
from training.synthesize.vehicle.marks import paint_marks
from training.synthesize.vehicle.paint_ends import paint_front, paint_rear
from training.synthesize.vehicle.paint_side import paint_sides
from training.synthesize.vehicle.paint_tops import paint_tops
from training.synthesize.vehicle.parts import add_parts
from training.synthesize.vehicle.shape import draw_shape
from training.synthesize.vehicle.style import CHROME, DARK, Style, draw_style
from training.synthesize.vehicle.wheels import add_wheels, paint_wheel
from zoo.labels import COLORS, TYPES


def build_vehicle(
    seed: np.random.SeedSequence | int,
    color: int,
    type: int,
    loudness: float = 1.0,
    difference: np.random.Generator | None = None,
) -> Vehicle:
    """Build the vehicle of a seed; the same arguments give the same arrays.

    Args:
        seed: one per identity.
        color: 0-based index into `zoo.labels.COLORS`.
        type: 0-based index into `zoo.labels.TYPES`.
        loudness: 0..1, the share of loud marks (stripes, stickers, parts of another colour) that are kept;
            lower is harder: what is left are proportions, shade, trim, wheels, lamps, tint and small things.
        difference: makes a look-alike of the vehicle of the seed, which differs from it in one small thing.

    Raises:
        ValueError: the colour or type is outside its table.
    """
    if not (0 <= color < len(COLORS) and 0 <= type < len(TYPES)):
        last = f"0..{len(COLORS) - 1} and 0..{len(TYPES) - 1}"
        raise ValueError(f"colour {color} and type {type} have to be in {last}")
    entropy = seed.generate_state(4) if isinstance(seed, np.random.SeedSequence) else seed
    rng = np.random.default_rng(
        np.random.SeedSequence(np.atleast_1d(entropy).tolist(), spawn_key=(color, type))
    )
    shape = draw_shape(rng, type)
    style = draw_style(rng, shape, color, loudness)
    if difference is not None:
        style = differ(style, shape.kind, difference)
    ranges = region_ranges(shape) | cargo_ranges(shape) | {"wheel": ((-1.0, 1.0), (-1.0, 1.0))}
    atlas = Atlas(ranges, truck=shape.kind == "truck")
    _set_swatches(atlas, style)
    paint_sides(atlas, shape, style)
    paint_front(atlas, shape, style)
    paint_rear(atlas, shape, style)
    paint_tops(atlas, shape, style)
    paint_wheel(atlas, style)
    builder = MeshBuilder()
    add_shell(builder, shape, atlas)
    add_wheels(builder, shape, atlas)
    parts = PartBuilder(builder, atlas)
    add_parts(parts, shape, style)
    cargo = draw_cargo(rng, shape) if shape.kind == "truck" else None
    if cargo is not None:
        add_cargo(parts, shape, style, cargo)
        paint_livery(atlas, style, cargo)
    elif shape.kind == "pickup":
        add_pickup_load(parts, shape, rng)
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


def _set_swatches(atlas: Atlas, style: Style) -> None:
    atlas.set_swatch("paint", style.paint)
    atlas.set_swatch("dark", DARK)
    atlas.set_swatch("tyre", (26, 26, 28, 10))
    atlas.set_swatch("chrome", CHROME)
    atlas.set_swatch("trim", style.trim)
    atlas.set_swatch("accent", style.accent)
    atlas.set_swatch("mirror", style.mirror)
    atlas.set_swatch("box", style.roof_item_paint)
    atlas.set_swatch("lamp", (250, 200, 60, 200))
    atlas.set_swatch("wood", (150, 112, 70, 10))
    atlas.set_swatch("sack", palette.shaded(style.accent2, 0.9, 10))
    atlas.set_swatch("glass", style.glass)
