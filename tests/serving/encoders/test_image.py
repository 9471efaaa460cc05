"""An image on its way: decoded once, kept small, sent as it came or without loss."""

import numpy as np
import pytest

from serving.encoders.image import InputImage
from tests.serving.conftest import make_image
from zoo.preprocess import MAX_BYTES, ImageError, decode_image, prepare

SIZE = (64, 48)


def test_pixels_are_decoded_once_and_are_the_decoders() -> None:
    data = make_image(1)
    image = InputImage(data)
    assert image.pixels is image.pixels
    assert (image.pixels == decode_image(data)).all()
    assert (image.resized(SIZE) == prepare(data, SIZE)).all()


def test_bytes_are_an_image_without_a_name() -> None:
    data = make_image(1)
    named = InputImage(data, "a.jpg")
    assert InputImage.of(named) is named
    assert InputImage.of(data).data is data
    with pytest.raises(ImageError, match=r"^image: not a JPEG"):
        _ = InputImage.of(b"x").pixels
    with pytest.raises(ImageError, match=r"^a\.jpg: not a JPEG"):
        InputImage(b"x", "a.jpg").resized(SIZE)


def test_what_waits_is_small() -> None:
    data = make_image(2)
    image = InputImage(data, "a.jpg")
    assert image.at_size(SIZE) is image, "what is not decoded is small already"
    expected = image.resized(SIZE)
    small = image.at_size(SIZE)
    assert small.pixels.shape == (*SIZE, 3)
    assert (small.resized(SIZE) == expected).all()
    assert (small.name, small.data) == ("a.jpg", data)


def test_a_server_makes_the_same_of_what_is_sent() -> None:
    data = make_image(3)
    assert InputImage(data).to_send(SIZE) is data
    noise = np.random.default_rng(0).integers(0, 256, (3400, 3400, 3), dtype=np.uint8)
    cut = InputImage.from_pixels(noise)
    sent = cut.to_send(SIZE)
    assert len(sent) < noise.nbytes / 1000 < MAX_BYTES < noise.nbytes
    assert (prepare(sent, SIZE) == cut.resized(SIZE)).all()
