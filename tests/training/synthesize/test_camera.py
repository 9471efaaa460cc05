"""Projection and its inverse."""

import numpy as np
import pytest

from training.synthesize.renderer.camera import FRAME_HEIGHT, FRAME_WIDTH, Camera, Crop

CAMERAS = [
    Camera(height=5.0, pitch=0.35, roll=0.0, focal=1500, distortion=0.0),
    Camera(height=7.0, pitch=0.5, roll=0.04, focal=1300, distortion=-0.16),
]


@pytest.mark.parametrize("camera", CAMERAS)
def test_rays_lead_back_to_the_points_they_were_projected_from(camera: Camera) -> None:
    points = np.array([[12.0, 0, 0], [14, 3, 1.5], [9, -2, 0.4], [18, 4, 2]])
    pixels, depth = camera.project(points)
    rays = camera.rays(pixels)
    reach = depth / (rays @ camera.rotation[2])
    assert np.allclose(camera.position + rays * reach[:, None], points, atol=1e-3)


def test_a_point_on_the_axis_is_in_the_middle_of_the_frame() -> None:
    camera = Camera(height=5.0, pitch=np.arctan2(5, 10), roll=0.3, focal=1000, distortion=-0.1)
    pixels, depth = camera.project(np.array([[10.0, 0, 0]]))
    assert np.allclose(pixels, [[FRAME_WIDTH / 2, FRAME_HEIGHT / 2]])
    assert depth[0] == pytest.approx(np.hypot(5, 10))


def test_the_left_of_the_street_is_left_in_the_frame_and_what_is_high_is_above() -> None:
    camera = CAMERAS[0]
    pixels, _ = camera.project(np.array([[12.0, 2, 0], [12, -2, 0], [12, 0, 2], [12, 0, 0]]))
    assert pixels[0, 0] < pixels[1, 0]
    assert pixels[2, 1] < pixels[3, 1]


def test_a_barrel_distortion_pulls_the_corners_in() -> None:
    straight = Camera(height=5, pitch=0.4, roll=0, focal=1300, distortion=0.0)
    barrel = Camera(height=5, pitch=0.4, roll=0, focal=1300, distortion=-0.15)
    point = np.array([[10.0, 5, 0]])
    centre = np.array([FRAME_WIDTH, FRAME_HEIGHT]) / 2
    far = [np.linalg.norm(camera.project(point)[0] - centre) for camera in (straight, barrel)]
    assert far[1] < far[0] * 0.99


def test_a_crop_keeps_its_box_when_it_is_drawn_smaller() -> None:
    crop = Crop(left=100, top=50, scale=0.5, width=256, height=128)
    small = crop.resized(128)
    assert (small.width, small.height) == (128, 64)
    pixels = np.array([[100.0, 50], [612, 306]])
    assert np.allclose(small.from_frame(pixels), crop.from_frame(pixels) / 2)


def test_a_grid_gives_the_pixels_that_are_drawn() -> None:
    crop = Crop(left=10, top=20, scale=2.0, width=8, height=6)
    grid = crop.grid()
    assert grid.shape == (7, 9, 2)
    assert np.allclose(crop.from_frame(grid[3, 5][None]), [[5.5, 3.5]])
