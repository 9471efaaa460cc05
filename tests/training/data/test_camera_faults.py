"""Cameras' faults: each does what it says, and leaves the image that it was given."""

from collections.abc import Callable

import numpy as np
import pytest

from training.data.camera_faults import LUMA, add_noise, change_tone, fade, soften
from training.data.transforms import Augmentation, vary_pixels

Fault = Callable[[np.ndarray, np.random.Generator], np.ndarray]

FAULTS: dict[str, Fault] = {
    "tone": change_tone,
    "softness": soften,
    "noise": add_noise,
    "fading": lambda image, rng: fade(image),
}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def image() -> np.ndarray:
    return rng(1).integers(0, 256, (32, 40, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", FAULTS)
def test_a_new_array_of_the_same_kind_by_the_generator_alone(name: str, image: np.ndarray) -> None:
    kept = image.copy()
    first, again = (FAULTS[name](image, rng(5)) for _ in range(2))
    assert (first.shape, first.dtype) == (image.shape, np.uint8)
    assert (first == again).all()
    assert (first != image).any()
    assert (image == kept).all()


@pytest.mark.parametrize("name", FAULTS)
def test_it_comes_as_often_as_asked(name: str, image: np.ndarray) -> None:
    spoiled = [(vary_pixels(image, rng(s), Augmentation(**{name: 0.3})) != image).any() for s in range(400)]
    assert 0.24 < np.mean(spoiled) < 0.36
    alone = vary_pixels(image, rng(5), Augmentation(**{name: 1.0}))
    chance = rng(5)
    chance.random()
    assert (alone == FAULTS[name](image, chance)).all()


def test_tone_keeps_the_order_of_levels_and_moves_channels_apart() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    middles = []
    for seed in range(300):
        toned = change_tone(ramp, rng(seed))[0].astype(int)
        assert (np.diff(toned, axis=0) >= 0).all()
        assert (toned[0] == 0).all()
        middles.append(toned[128])
    # exp(N(0, 0.1)) a channel, over a gamma that moves all three alike.
    apart = np.log(np.array(middles, float)) - np.log(np.mean(middles, axis=1, keepdims=True))
    assert 0.07 < apart.std() * np.sqrt(3 / 2) < 0.13
    assert 95 < np.mean(middles) < 160


def test_softness_takes_fine_detail_and_leaves_the_coarse() -> None:
    fine = np.zeros((64, 64, 3), np.uint8)
    fine[:, ::2] = 200
    coarse = np.zeros((64, 64, 3), np.uint8)
    coarse[:, 32:] = 200
    for seed in range(20):
        assert soften(fine, rng(seed)).std() < 0.8 * fine.std()
        soft = soften(coarse, rng(seed)).astype(int)
        assert (np.abs(soft - coarse)[:, np.r_[:24, 40:64]] <= 1).all()


def test_noise_has_its_strength_and_no_bias() -> None:
    grey = np.full((128, 128, 3), 128, np.uint8)
    noise = add_noise(grey, rng()).astype(float) - 128
    assert noise.std() == pytest.approx(0.04 * 255, rel=0.02)
    assert abs(noise.mean()) < 0.2
    assert (add_noise(np.full((8, 8, 3), 255, np.uint8), rng()) > 200).all(), "nothing wraps around"


def test_fading_takes_seven_tenths_of_the_colour_and_no_brightness(image: np.ndarray) -> None:
    luma = (image @ LUMA)[..., None]
    assert np.abs(fade(image) - (luma + 0.3 * (image - luma))).max() < 1
    grey = np.full((4, 4, 3), 77, np.uint8)
    assert (fade(grey) == 77).all()


def test_an_image_of_one_pixel() -> None:
    assert soften(np.full((1, 1, 3), 9, np.uint8), rng()).tolist() == [[[9, 9, 9]]]
