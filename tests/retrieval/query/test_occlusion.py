"""Boxes, and the regions that make two images alike, on a model whose embedding is where the colours are."""

import numpy as np
import pytest
from PIL import Image

from retrieval.query.occlusion import GRID, compare
from retrieval.sources.crop import crop, parse_box
from serving.encoders.encoder import Encoder
from serving.encoders.image import InputImage
from tests.retrieval.small_model import write_bundle
from zoo.errors import UserError
from zoo.preprocess import ImageError


def halves(left: str, right: str) -> InputImage:
    image = Image.new("RGB", (64, 64), left)
    image.paste(right, (32, 0, 64, 64))
    return InputImage.from_pixels(np.asarray(image))


def test_what_is_alike_is_told_from_what_is_not(encoder: Encoder) -> None:
    """The left halves are equal, the right ones black and white."""
    found = compare(encoder, halves("red", "black"), halves("red", "white"))
    for regions in found.regions:
        assert regions.shape == (GRID, GRID)
        # Covering the equal halves takes the two apart; covering the other ones brings them nearer.
        assert regions[:, :2].min() > 0
        assert regions[:, -2:].max() < 0
    whole = encoder.encode([halves("red", "black"), halves("red", "white")]).embedding.astype(np.float64)
    assert found.distance == pytest.approx(np.linalg.norm(whole[0] - whole[1]))
    same = compare(encoder, halves("red", "blue"), halves("red", "blue"))
    assert (same.score, same.distance) == (1.0, 0.0)
    assert min(regions.min() for regions in same.regions) >= 0


def test_cosine_models_are_compared_by_the_angle(tmp_path) -> None:
    from serving.encoders.encoder import open_encoder

    angular = open_encoder(str(write_bundle(tmp_path / "b", metric="cosine")), threads=1)
    # Twice as bright is no other direction.
    found = compare(angular, halves("#400000", "#004000"), halves("#800000", "#008000"))
    assert found.distance == pytest.approx(0, abs=1e-6)
    assert found.score == pytest.approx(1, abs=1e-6)
    angular.close()


def test_bad_images_are_told(encoder: Encoder) -> None:
    with pytest.raises(ImageError, match="the result: not a JPEG"):
        compare(encoder, halves("red", "red"), InputImage(b"x", "the result"))


def test_boxes() -> None:
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    image = InputImage.from_pixels(pixels, "a.jpg")
    assert crop(image, None) is image
    assert (crop(image, (1, 0, 4, 3)).pixels == pixels[0:3, 1:4]).all()
    assert (crop(image, (0.6, -5, 99, 99)).pixels == pixels[:, 1:]).all()
    for box in ((6, 0, 9, 4), (0, 0, 1, 4), (-9, 0, -1, 4)):
        with pytest.raises(ImageError, match=r"a\.jpg: the box .* holds nothing of the 6x4 pixels"):
            crop(image, box)
    assert parse_box("1, 2.5,3,4") == (1, 2.5, 3, 4)
    for text in ("", "1,2,3", "1,2,3,4,5", "a,b,c,d", "3,2,1,4", "1,4,3,2", "nan,0,1,1", "0,0,inf,1"):
        with pytest.raises(UserError, match="is not a box"):
            parse_box(text)
