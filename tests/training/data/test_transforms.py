"""Augmentation: reproducible, nothing mutated, pixels and keypoints moved alike."""

import hashlib

import numpy as np
import pytest

from training.data.transforms import Augmentation, Geometry, draw_geometry, vary_pixels
from zoo.pose import FLIP_KEYPOINTS

SIZE = (32, 40)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_same_generator_same_result() -> None:
    image = rng(1).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    strong = Augmentation(erasing=1.0, jitter=0.4)
    first, again, other = (vary_pixels(image, rng(seed), strong) for seed in (5, 5, 6))
    assert (first == again).all()
    assert (first != other).any()
    assert draw_geometry(rng(5), SIZE, strong) == draw_geometry(rng(5), SIZE, strong)


def test_nothing_is_mutated_over_many_passes() -> None:
    image = rng(1).integers(0, 256, (36, 45, 3), dtype=np.uint8)
    keypoints = rng(2).uniform(-5, 60, (36, 3)).astype(np.float32)
    kept_image, kept_keypoints = image.copy(), keypoints.copy()
    geometry = Geometry(SIZE, (36, 45), 2, 3, flip=True)
    results = []
    for _ in range(4):
        pixels = vary_pixels(geometry.apply(image), rng(3), Augmentation(erasing=1.0, jitter=0.3))
        results.append((pixels, geometry.apply_to_keypoints(keypoints, (50, 60))))
    assert (image == kept_image).all()
    assert (keypoints == kept_keypoints).all()
    for pixels, points in results[1:]:
        assert (pixels == results[0][0]).all()
        assert (points == results[0][1]).all()


@pytest.mark.parametrize("flip", [False, True])
def test_a_keypoint_stays_on_its_pixel(flip: bool) -> None:
    image = np.zeros((36, 45, 3), np.uint8)
    image[20, 11] = 255
    keypoints = np.zeros((36, 3), np.float32)
    keypoints[4] = 11, 20, 0.9
    geometry = Geometry(SIZE, (36, 45), top=3, left=2, flip=flip)
    moved = geometry.apply_to_keypoints(keypoints, (36, 45))[FLIP_KEYPOINTS[4] if flip else 4]
    row, column = np.argwhere(geometry.apply(image)[..., 0])[0]
    assert moved.tolist() == pytest.approx([column, row, 0.9])


def test_flipping_twice_gives_the_keypoints_back() -> None:
    keypoints = rng(4).uniform(0, 30, (36, 3)).astype(np.float32)
    geometry = Geometry(SIZE, SIZE, flip=True)
    once = geometry.apply_to_keypoints(keypoints, SIZE)
    assert (once != keypoints).any()
    assert geometry.apply_to_keypoints(once, SIZE) == pytest.approx(keypoints, abs=1e-4)


def test_cropped_out_points_lose_their_confidence_alone() -> None:
    keypoints = np.tile(np.array([20.0, 15.0, 0.8], np.float32), (36, 1))
    keypoints[0, :2] = 1.0, 15.0  # left of a cut that starts at column 4
    keypoints[1, :2] = -3.0, 15.0  # outside of the image already
    moved = Geometry(SIZE, (36, 45), top=0, left=4).apply_to_keypoints(keypoints, (36, 45))
    assert moved[:3, 2].tolist() == pytest.approx([0.0, 0.8, 0.8])
    kept = Geometry(SIZE, (36, 45), top=0, left=4).apply_to_points(keypoints, (36, 45))
    assert kept[:, 2].tolist() == pytest.approx([0.8] * 36)
    assert (kept[:, :2] == moved[:, :2]).all()


def test_crop_and_flip_come_as_often_as_asked() -> None:
    drawn = [draw_geometry(rng(seed), SIZE, Augmentation()) for seed in range(800)]
    assert 0.44 < np.mean([g.resized != SIZE for g in drawn]) < 0.56
    assert 0.44 < np.mean([g.flip for g in drawn]) < 0.56
    offsets = {(g.top, g.left) for g in drawn if g.resized != SIZE}
    assert {top for top, _ in offsets} == set(range(5))
    assert {left for _, left in offsets} == set(range(6))


def test_without_augmentation_pixels_stay() -> None:
    plain = Augmentation(crop=0.0, flip=0.0)
    image = rng().integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    assert (vary_pixels(draw_geometry(rng(), SIZE, plain).apply(image), rng(), plain) == image).all()


def test_erasing_covers_a_part() -> None:
    image = np.full((*SIZE, 3), 7, np.uint8)
    shares = [(vary_pixels(image, rng(s), Augmentation(erasing=1.0)) != 7).any(-1).mean() for s in range(200)]
    assert min(shares) > 0.01
    assert max(shares) < 0.40


def test_recipes_without_cameras_faults_draw_what_they_always_drew() -> None:
    image = rng(1).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    erased, chance = hashlib.sha256(), hashlib.sha256()
    for seed in range(20):
        erased.update(vary_pixels(image, rng(seed), Augmentation(erasing=0.5)).tobytes())
        used = rng(seed)
        vary_pixels(image, used, Augmentation(erasing=0.5, jitter=0.4))
        chance.update(used.bytes(8))
    # As they were before there were any. Jittered pixels may differ by machine, what is drawn may not.
    assert erased.hexdigest().startswith("1ab200043697e195")
    assert chance.hexdigest().startswith("d9ddf0d6d062a572")


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="flip"):
        Augmentation(flip=1.5)
    with pytest.raises(ValueError, match="softness"):
        Augmentation(softness=-0.1)
    with pytest.raises(ValueError, match="crop_scale"):
        Augmentation(crop_scale=0.9)
