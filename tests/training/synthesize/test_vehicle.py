"""Procedural vehicles: every body is closed, faces outwards, is reproducible, and carries its keypoints."""

import hashlib
from functools import cache

import numpy as np
import pytest

from training.synthesize.renderer.mesh import Mesh, Vehicle
from training.synthesize.vehicle.build import build_vehicle
from training.synthesize.vehicle.keypoints import KEYPOINT_NAMES
from training.synthesize.vehicle.palette import contrasting, paint_shade
from zoo.labels import COLORS, TYPES
from zoo.pose import FLIP_KEYPOINTS

# length, width, height in metres: what such vehicles measure on the road.
PLAUSIBLE = {
    "sedan": ((4.2, 5.1), (1.65, 1.95), (1.35, 1.55)),
    "suv": ((4.0, 5.1), (1.7, 2.05), (1.55, 1.95)),
    "van": ((3.6, 5.4), (1.5, 2.0), (1.75, 2.3)),
    "hatchback": ((3.4, 4.4), (1.55, 1.9), (1.4, 1.65)),
    "mpv": ((4.2, 5.1), (1.7, 2.0), (1.55, 1.9)),
    "pickup": ((4.7, 5.6), (1.7, 2.0), (1.6, 1.95)),
    "bus": ((6.5, 12.5), (2.2, 2.6), (2.6, 3.5)),
    "truck": ((4.8, 9.0), (1.8, 2.6), (1.9, 3.0)),
    "estate": ((4.3, 5.1), (1.65, 1.95), (1.38, 1.6)),
}
TYPE_INDEX = pytest.mark.parametrize("type_index", range(len(TYPES)), ids=TYPES)


@cache
def vehicle(seed: int, color: int, type_index: int) -> Vehicle:
    return build_vehicle(seed, color, type_index)


def digest(built: Vehicle) -> str:
    mesh = built.mesh
    arrays = (mesh.vertices, mesh.faces, mesh.uv, mesh.normals, mesh.gloss, mesh.texture, built.keypoints)
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def first_hits(mesh: Mesh, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Index of the first triangle that each ray meets, facing either way; -1 for none (Moeller-Trumbore)."""
    corners = mesh.vertices[mesh.faces].astype(float)
    edge1, edge2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    hits = np.full(len(origins), -1)
    for ray, (origin, direction) in enumerate(zip(origins, directions, strict=True)):
        across = np.cross(direction, edge2)
        determinant = (edge1 * across).sum(1)
        safe = np.where(np.abs(determinant) < 1e-12, np.inf, determinant)
        offset = origin - corners[:, 0]
        u = (offset * across).sum(1) / safe
        turned = np.cross(offset, edge1)
        v = turned @ direction / safe
        distance = (edge2 * turned).sum(1) / safe
        met = (u >= 0) & (v >= 0) & (u + v <= 1) & (distance > 1e-9) & np.isfinite(safe)
        if met.any():
            hits[ray] = int(np.argmin(np.where(met, distance, np.inf)))
    return hits


def distance_to_surface(mesh: Mesh, points: np.ndarray) -> np.ndarray:
    """Distance of points to the mesh, from samples 5 cm apart or closer on every triangle."""
    corners = mesh.vertices[mesh.faces].astype(float)
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    samples = []
    for triangle, length in zip(corners, longest, strict=True):
        steps = int(np.ceil(length / 0.05)) + 1
        a, b = np.meshgrid(np.linspace(0, 1, steps), np.linspace(0, 1, steps))
        inside = a + b <= 1
        weights = np.stack([1 - a[inside] - b[inside], a[inside], b[inside]], axis=1)
        samples.append(weights @ triangle)
    cloud = np.concatenate(samples)
    return np.array([np.linalg.norm(cloud - point, axis=1).min() for point in points])


@TYPE_INDEX
@pytest.mark.parametrize("color", range(len(COLORS)), ids=COLORS)
def test_every_type_builds_in_every_color(type_index: int, color: int) -> None:
    built = vehicle(color, color, type_index)
    mesh = built.mesh
    faces, vertices = len(mesh.faces), len(mesh.vertices)
    assert 600 <= faces <= 3000
    assert (mesh.uv.shape, mesh.normals.shape, mesh.gloss.shape) == ((faces, 3, 2), (faces, 3, 3), (faces,))
    assert mesh.faces.min() >= 0
    assert mesh.faces.max() < vertices
    assert (mesh.vertices.dtype, mesh.faces.dtype, mesh.texture.dtype) == (np.float32, np.int32, np.uint8)
    assert mesh.texture.shape[0] == mesh.texture.shape[1]
    assert mesh.texture.shape[2] == 4
    assert 0 <= mesh.uv.min() <= mesh.uv.max() <= 1
    assert 0 <= mesh.gloss.min() <= mesh.gloss.max() <= 1
    assert np.isfinite(mesh.vertices).all()
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=2), 1, atol=1e-3)
    assert (built.color, built.type) == (color, type_index)


@TYPE_INDEX
def test_sizes_are_plausible(type_index: int) -> None:
    for seed in range(4):
        built = vehicle(seed, 6, type_index)
        for value, (low, high) in zip(built.size, PLAUSIBLE[TYPES[type_index]], strict=True):
            assert low <= value <= high
        low, high = built.mesh.vertices.min(axis=0), built.mesh.vertices.max(axis=0)
        assert -0.01 <= low[2] <= 0.02, "the wheels stand on the ground"
        np.testing.assert_allclose([low[1], low[0]], [-high[1], -high[0]], atol=0.25)
        assert high[0] - low[0] == pytest.approx(built.size[0], abs=0.35)


@TYPE_INDEX
def test_whoever_looks_from_outside_sees_fronts_of_faces_and_no_holes(type_index: int) -> None:
    for seed in range(3):
        built = vehicle(seed, 6, type_index)
        rng = np.random.default_rng(seed)
        length, width, height = built.size
        targets = rng.uniform(-0.4, 0.4, (150, 3)) * (length, width, 0.0) + (0, 0, 0.45 * height)
        turn, rise = rng.uniform(0, 2 * np.pi, 150), rng.uniform(0.02, 0.9, 150)
        toward = np.stack([np.cos(rise) * np.cos(turn), np.cos(rise) * np.sin(turn), np.sin(rise)], axis=1)
        hits = first_hits(built.mesh, targets + 30 * toward, -toward)
        assert (hits >= 0).mean() > 0.95
        seen = built.mesh.face_normals()[hits[hits >= 0]]
        facing = (seen * toward[hits >= 0]).sum(axis=1)
        assert (facing > -1e-4).all(), (
            f"{(facing <= -1e-4).sum()} of {len(facing)} rays met a face from behind"
        )


@TYPE_INDEX
def test_shading_normals_agree_with_the_faces(type_index: int) -> None:
    mesh = vehicle(0, 6, type_index).mesh
    agreement = (mesh.normals * mesh.face_normals()[:, None]).sum(axis=2)
    assert agreement.min() > 0.3


def test_the_same_seed_builds_the_same_bytes_and_leaves_the_seed_as_it_was() -> None:
    sequence = np.random.SeedSequence([3, 5])
    first, second = build_vehicle(sequence, 4, 1), build_vehicle(sequence, 4, 1)
    assert digest(first) == digest(second)
    assert digest(build_vehicle(np.random.SeedSequence([3, 5]), 4, 1)) == digest(first)


@TYPE_INDEX
def test_two_vehicles_of_one_color_and_type_differ(type_index: int) -> None:
    first, second = vehicle(0, 6, type_index), vehicle(1, 6, type_index)
    assert first.size != second.size
    different = (
        np.abs(first.mesh.texture.astype(int) - second.mesh.texture)[..., :3].sum(axis=2) > 60
    ).mean()
    assert different > 0.02


def test_colour_and_type_enter_the_seed() -> None:
    assert vehicle(0, 6, 0).size != vehicle(0, 5, 0).size


def test_quiet_vehicles_carry_fewer_foreign_colors() -> None:
    def foreign(loudness: float) -> float:
        shares = []
        for seed in range(12):
            texture = build_vehicle(seed, 6, 0, loudness).mesh.texture[:600, :, :3].astype(int)
            shares.append((texture.max(axis=2) - texture.min(axis=2) > 70).mean())
        return float(np.mean(shares))

    assert foreign(0.0) < 0.5 * foreign(1.0)


def test_a_color_or_type_outside_the_tables_is_refused() -> None:
    for color, type_index in ((10, 0), (0, 9), (-1, 0)):
        with pytest.raises(ValueError, match="colour"):
            build_vehicle(0, color, type_index)


@TYPE_INDEX
def test_keypoints_lie_on_the_body_and_mirror(type_index: int) -> None:
    for seed in range(3):
        built = vehicle(seed, 6, type_index)
        assert built.keypoints.shape == built.keypoint_normals.shape == (36, 3)
        mirror = np.array([1, -1, 1], dtype=np.float32)
        np.testing.assert_array_equal(built.keypoints[list(FLIP_KEYPOINTS)], built.keypoints * mirror)
        np.testing.assert_array_equal(
            built.keypoint_normals[list(FLIP_KEYPOINTS)], built.keypoint_normals * mirror
        )
        distance = distance_to_surface(built.mesh, built.keypoints[:18])
        worst = int(np.argmax(distance))
        assert distance[worst] < 0.09, f"{KEYPOINT_NAMES[worst]} is {distance[worst]:.2f} m off the body"


@TYPE_INDEX
def test_keypoints_are_where_their_names_say(type_index: int) -> None:
    built = vehicle(2, 6, type_index)
    place = dict(zip(KEYPOINT_NAMES, built.keypoints, strict=True))
    assert len(place) == 36
    for name, point in place.items():
        assert (point[1] > 0) == name.startswith("left"), name
    names = (
        "front_bumper_lower_corner",
        "front_wheel_center",
        "rear_wheel_center",
        "rear_bumper_lower_corner",
    )
    assert np.all(np.diff([place[f"left_{name}"][0] for name in names]) < 0)
    outline = ("hood_front_corner", "windscreen_lower_corner", "roof_front_corner", "roof_rear_corner")
    assert np.all(np.diff([place[f"left_{name}"][0] for name in outline]) < 0)
    assert np.all(np.diff([place[f"left_{name}"][2] for name in outline[:3]]) > 0)
    assert place["left_rear_window_lower_corner"][2] < place["left_roof_rear_corner"][2]
    assert place["left_tail_upper_corner"][2] < place["left_roof_rear_corner"][2]


def test_shades_stay_within_their_color_class() -> None:
    rng = np.random.default_rng(0)
    shades = {name: np.array([paint_shade(rng, k)[:3] for _ in range(40)]) for k, name in enumerate(COLORS)}
    spread = {name: np.ptp(values, axis=1).max() for name, values in shades.items()}
    assert max(spread[name] for name in ("gray", "white", "black")) < 40
    assert shades["black"].max() < 70 < shades["gray"].min() + 20
    assert shades["gray"].max() < 190 < shades["white"].min() + 20
    assert (shades["red"][:, 0] > shades["red"][:, 1] + 60).all()
    assert (shades["blue"][:, 2] > shades["blue"][:, 0] + 40).all()
    assert all(values.std(axis=0).max() > 3 for values in shades.values()), "shades vary within a class"


def test_an_accent_stands_out_from_its_ground() -> None:
    rng = np.random.default_rng(0)
    for color in range(len(COLORS)):
        ground = paint_shade(rng, color)
        accent = contrasting(rng, ground)
        assert np.abs(np.array(accent[:3]) - ground[:3]).sum() > 170
