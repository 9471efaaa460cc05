"""The quick decoder of training: the exact one's pixels, or the exact one itself."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from training.data.images import ImageStore, load_resized, load_resized_quickly
from zoo.errors import UserError

SIZES = [(64, 48), (200, 220)]


def picture(seed: int = 0, size: tuple[int, int] = (90, 130)) -> Image.Image:
    """Smooth patches with noise on them: harder to resize than a photograph."""
    rng = np.random.default_rng(seed)
    patches = cv2.resize(rng.integers(0, 256, (9, 13, 3), dtype=np.uint8), size[::-1]).astype(np.int64)
    return Image.fromarray((patches + rng.integers(-30, 30, patches.shape)).clip(0, 255).astype(np.uint8))


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF>'
    b"</x:xmpmeta>"
)


def rotated() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize(
    "save",
    [
        lambda path: picture().save(path, quality=90),
        lambda path: picture().save(path, quality=60, subsampling=0),
        lambda path: picture().save(path, progressive=True),
        lambda path: picture().convert("L").save(path),
        lambda path: picture(size=(31, 400)).save(path),
    ],
    ids=["usual", "full colour", "progressive", "gray", "flat"],
)
@pytest.mark.parametrize("antialias", [True, False])
def test_an_ordinary_jpeg_differs_by_a_level_at_most(
    tmp_path: Path, save: Callable[[Path], None], antialias: bool
) -> None:
    path = tmp_path / "car.jpg"
    save(path)
    exact, source_size = load_resized(path, SIZES, antialias)
    quick, quick_size = load_resized_quickly(path, SIZES, antialias)
    assert quick_size == source_size
    for one, other in zip(exact, quick, strict=True):
        assert (other.shape, other.dtype) == (one.shape, np.uint8)
        assert np.abs(one.astype(int) - other).max() <= 1
        # Interpolated without antialiasing, torch's coarser weights show in a few more pixels.
        assert np.abs(one.astype(int) - other).mean() < (0.1 if antialias else 0.25)


@pytest.mark.parametrize(
    "save",
    [
        lambda path: picture().save(path, "JPEG", exif=rotated()),
        lambda path: picture().save(path, "JPEG", xmp=XMP),
        lambda path: picture().convert("CMYK").save(path, "JPEG"),
        lambda path: picture().save(path, "PNG"),
        lambda path: picture().convert("RGBA").save(path, "PNG"),
        lambda path: picture(size=(1500, 1500)).save(path, "JPEG", quality=98),
    ],
    ids=["rotated", "rotated by XMP", "CMYK", "PNG", "transparent", "large"],
)
def test_any_other_image_goes_the_exact_way(tmp_path: Path, save: Callable[[Path], None]) -> None:
    path = tmp_path / "car.jpg"
    save(path)
    exact, source_size = load_resized(path, SIZES)
    quick, quick_size = load_resized_quickly(path, SIZES)
    assert quick_size == source_size
    assert all((one == other).all() for one, other in zip(exact, quick, strict=True))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-2000] + bytes(2000),
        lambda data: b"",
        lambda data: data[:2] + b"\xff" * 100 + b"\xff\xd9",
        lambda data: b"no image\xff\xd9",
    ],
    ids=["truncated", "zero tail", "empty", "no content", "text"],
)
def test_a_damaged_image_is_named_as_ever(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "car.jpg"
    picture().save(path, quality=95)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError) as exact:
        load_resized(path, SIZES)
    with pytest.raises(UserError) as quick:
        load_resized_quickly(path, SIZES)
    assert str(quick.value) == str(exact.value)
    with pytest.raises(UserError, match="cannot be read"):
        load_resized_quickly(tmp_path / "missing.jpg", SIZES)


@pytest.mark.parametrize("quick", [False, True])
def test_preloading_changes_nothing(tmp_path: Path, quick: bool) -> None:
    paths = [tmp_path / f"{seed}.jpg" for seed in range(4)]
    for seed, path in enumerate(paths):
        picture(seed, (80 + seed, 100)).save(path)
    store = ImageStore(paths, quick)
    before = [store.get(index, size) for size in SIZES for index in range(4)]
    store.preload(SIZES)
    after = [store.get(index, size) for size in SIZES for index in range(4)]
    for (one, one_size), (other, other_size) in zip(before, after, strict=True):
        assert one_size == other_size
        assert (one == other).all()
