"""The rasteriser against a naive one, and what it hands out."""

import numpy as np
import pytest

from training.synthesize.renderer.camera import Camera, Crop
from training.synthesize.renderer.mesh import Mesh, MeshBuilder, box
from training.synthesize.renderer.render import Placed, cover, rasterize, render
from training.synthesize.renderer.shading import Light

SIZE = 24


def naive(screen: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each sample asks every triangle, by the sign of three edge functions."""
    nearness = np.zeros((SIZE, SIZE))
    triangle = np.full((SIZE, SIZE), -1)
    for row in range(SIZE):
        for column in range(SIZE):
            p = np.array([column + 0.5, row + 0.5])
            for index, face in enumerate(faces):
                a, b, c = screen[face].astype(np.float64)
                matrix = np.array([[a[0], b[0], c[0]], [a[1], b[1], c[1]], [1, 1, 1]])
                if abs(np.linalg.det(matrix)) < 1e-6:
                    continue
                weights = np.linalg.solve(matrix, [*p, 1])
                if np.all(weights >= 0) and weights @ [a[2], b[2], c[2]] > nearness[row, column]:
                    nearness[row, column] = weights @ [a[2], b[2], c[2]]
                    triangle[row, column] = index
    return nearness, triangle


@pytest.mark.parametrize("seed", range(4))
def test_rasterize_agrees_with_a_naive_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    screen = np.column_stack([rng.uniform(-6, SIZE + 6, (12, 2)), rng.uniform(0.05, 1, 12)]).astype(
        np.float32
    )
    faces = rng.permutation(12).reshape(4, 3).astype(np.int32)
    nearness = np.zeros((SIZE, SIZE), np.float32)
    triangle = np.full((SIZE, SIZE), -1, np.int32)
    owner = np.full((SIZE, SIZE), -1, np.int16)
    rasterize(screen, faces, nearness, triangle, owner, 3)
    expected_nearness, expected = naive(screen, faces)
    assert np.any(expected >= 0)
    assert np.array_equal(triangle, expected)
    assert np.allclose(nearness, expected_nearness, atol=1e-5)
    assert np.array_equal(owner, np.where(expected >= 0, 3, -1))


def test_a_degenerate_or_too_near_triangle_draws_nothing() -> None:
    line = np.array([[0, 0, 0.1], [10, 10, 0.1], [20, 20, 0.1]], np.float32)
    near = np.array([[0, 0, 9], [10, 0, 9], [0, 10, 9]], np.float32)
    for screen in (line, near):
        mask = np.zeros((SIZE, SIZE), np.float32)
        cover(screen, np.array([[0, 1, 2]], np.int32), mask)
        assert not mask.any()


def light() -> Light:
    return Light(
        sun=np.array([0, 0, 1], np.float32),
        sun_color=np.full(3, 0.5, np.float32),
        sky_color=np.full(3, 0.5, np.float32),
        ground_color=np.zeros(3, np.float32),
        environment=np.zeros((4, 4, 3), np.float32),
        dapple=np.ones((2, 2), np.float32),
        dapple_metres=10.0,
    )


def painted_box(color: tuple[int, int, int], half: float = 1.0) -> Mesh:
    builder = MeshBuilder()
    builder.add_quads(box((-half, -half, 0), (half, half, 2 * half)), np.full((6, 4, 2), 0.5), gloss=0.0)
    texture = np.zeros((8, 8, 4), np.uint8)
    texture[..., :3] = color
    return builder.finish(texture)


CAMERA = Camera(height=6.0, pitch=np.arctan2(5.0, 12.0), roll=0, focal=1500, distortion=0)
CROP = Crop(left=760, top=340, scale=0.2, width=80, height=80)


def test_a_lit_box_has_its_own_color_and_a_top_brighter_than_its_sides() -> None:
    canvas = render([Placed(painted_box((255, 0, 0)), 12, 0, 0.3)], CAMERA, CROP, light())
    inside = canvas.coverage == 1
    assert 0.1 < inside.mean() < 0.9
    assert np.all(canvas.color[inside][:, 1:] == 0)
    top, _ = CAMERA.project(np.array([[12.0, 0, 2]]))
    side, _ = CAMERA.project(np.array([[11.0, 0.0, 0.7]]))
    brightness = []
    for pixel in (top, side):
        x, y = CROP.from_frame(pixel)[0].astype(int)
        brightness.append(canvas.color[y, x, 0])
    assert brightness[0] == pytest.approx(1.0, abs=0.01), "white light on full red from straight above"
    assert brightness[1] == pytest.approx(0.25, abs=0.02), "half of the sky and no sun"


def test_the_nearer_object_hides_the_further_whichever_is_drawn_first() -> None:
    near, far = Placed(painted_box((255, 0, 0)), 9, 0, 0), Placed(painted_box((0, 255, 0)), 14, 0, 0)
    one = render([near, far], CAMERA, CROP, light())
    other = render([far, near], CAMERA, CROP, light())
    assert np.array_equal(one.depth, other.depth)
    assert set(np.unique(one.owner)) == {-1, 0, 1}
    swapped = np.where(other.owner < 0, -1, 1 - other.owner)
    assert np.array_equal(one.owner, swapped)
    assert np.isinf(one.depth[one.owner == -1]).all()


def test_textures_are_mapped_in_perspective() -> None:
    builder = MeshBuilder()
    quad = np.array([[(-3.0, -1, 0), (3, -1, 0), (3, 1, 0), (-3, 1, 0)]])
    builder.add_quads(quad, np.array([[(0.0, 0), (1, 0), (1, 1), (0, 1)]]), gloss=0.0)
    texture = np.zeros((64, 64, 4), np.uint8)
    texture[:, 32:, 0] = 255
    canvas = render([Placed(builder.finish(texture), 12, 0, 0)], CAMERA, CROP, light())
    for x, expected in ((11.7, False), (12.3, True)):
        pixel, _ = CAMERA.project(np.array([[x, 0.0, 0]]))
        column, row = CROP.from_frame(pixel)[0].astype(int)
        assert (canvas.color[row, column, 0] > 0.2) == expected
