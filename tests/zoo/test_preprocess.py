"""Every image fault that a user or a stranger sends, and the arithmetic that training and serving share."""

import io
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from zoo import decoding_memory, preprocess
from zoo.preprocess import ImageError, decode, decode_image, prepare, read_image, resize


def encode(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def blocks(mode: str = "RGB") -> Image.Image:
    """A smooth 48x64 picture, so that lossy formats stay near it."""
    y, x = np.mgrid[0:48, 0:64]
    pixels = np.stack([x * 4, y * 5, 255 - x * 2], axis=-1).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def noise() -> Image.Image:
    """A picture that no format packs away, so that a cut file has lost pixels and not just its trailer."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))


def png_header_only(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    image_data = chunk(b"IDAT", zlib.compress(b"0" * 64))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + image_data + chunk(b"IEND", b"")


@pytest.mark.parametrize(("format", "tolerance"), [("PNG", 0), ("BMP", 0), ("JPEG", 3), ("WEBP", 3)], ids=str)
def test_formats_decode_to_the_same_picture(format: str, tolerance: int) -> None:
    decoded = decode_image(encode(blocks(), format))
    assert decoded.dtype == np.uint8
    assert decoded.shape == (48, 64, 3)
    assert decoded.flags.writeable
    assert np.abs(decoded.astype(int) - np.asarray(blocks()).astype(int)).mean() <= tolerance


@pytest.mark.parametrize("format", ["PNG", "BMP", "JPEG", "WEBP"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.95])
def test_truncated_images_are_refused_by_name(format: str, part: float) -> None:
    data = encode(noise(), format)
    with pytest.raises(ImageError, match=r"^half\.jpg: .*copy it again$"):
        decode_image(data[: int(len(data) * part)], "half.jpg")


def test_jpeg_with_a_tail_of_zeros_is_refused() -> None:
    data = encode(noise(), "JPEG", quality=95)
    half = len(data) // 2
    with pytest.raises(ImageError, match="copied in part"):
        decode_image(data[:half] + bytes(len(data) - half))


def test_jpeg_padded_after_its_end_is_taken() -> None:
    data = encode(blocks(), "JPEG")
    assert np.array_equal(decode_image(data + bytes(4096)), decode_image(data))


@pytest.mark.parametrize("data", [b"x" * 100, b"<html>not found</html>", encode(blocks("P"), "GIF")])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"^note: not a JPEG, PNG, WebP or BMP image; convert it"):
        decode_image(data, "note")


def test_empty_image_is_refused() -> None:
    with pytest.raises(ImageError, match=r"^none\.jpg: the image is empty \(0 bytes\); copy it again$"):
        decode_image(b"", "none.jpg")


@pytest.mark.parametrize("size", [(20_000, 20_000), (9_000, 9_000), (64_000_001, 1)])
def test_huge_images_are_refused_on_their_header(size: tuple[int, int]) -> None:
    # Nothing but a header is there: a decoder that was started would complain of truncation instead.
    with pytest.raises(ImageError, match=r"^huge: .*exceeds the limit of 64000000 pixels; make it smaller$"):
        decode_image(png_header_only(*size), "huge")


def test_too_many_bytes_are_refused_unread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(preprocess, "MAX_BYTES", 100)
    with pytest.raises(ImageError, match=r"bytes are more than the limit of 100; make it smaller"):
        decode_image(encode(blocks()), "large")
    path = tmp_path / "large.png"
    path.write_bytes(encode(blocks()))
    with pytest.raises(ImageError, match=r"large\.png: .*limit of 100"):
        read_image(path)


def test_cmyk_jpeg() -> None:
    decoded = decode_image(encode(blocks("CMYK"), "JPEG", quality=95))
    assert np.abs(decoded.astype(int) - np.asarray(blocks()).astype(int)).mean() < 6


def test_sixteen_bit_gray_keeps_its_range() -> None:
    levels = np.linspace(0, 65535, 64, dtype=np.uint16)
    decoded = decode_image(encode(Image.fromarray(np.tile(levels, (8, 1)))))
    assert np.array_equal(decoded[0, :, 0], levels >> 8)
    assert decoded[0, -1].tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["1", "L"])
def test_gray_images_become_three_equal_channels(mode: str) -> None:
    decoded = decode_image(encode(blocks(mode)))
    assert np.array_equal(decoded, np.asarray(blocks(mode).convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(mode: str) -> None:
    image = Image.new(mode, (2, 1), 0)
    image.putpixel((1, 0), (0, 0, 0, 255) if mode == "RGBA" else (0, 255))
    assert decode_image(encode(image)).tolist() == [[[255] * 3, [0] * 3]]


def test_palette_with_a_transparent_colour() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    assert decode_image(encode(image, transparency=0)).tolist() == [[[255, 255, 255], [200, 100, 50]]]
    assert decode_image(encode(image)).tolist() == [[[10, 20, 30], [200, 100, 50]]]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_exif_rotation_is_applied(orientation: int, format: str) -> None:
    upright = blocks()
    undo = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a.transpose(1, 0, 2), 2),
        8: lambda a: np.rot90(a, -1),
    }
    stored = Image.fromarray(np.ascontiguousarray(undo[orientation](np.asarray(upright))))
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode_image(encode(stored, format, exif=exif))
    assert decoded.shape == (48, 64, 3)
    assert np.abs(decoded.astype(int) - np.asarray(upright).astype(int)).mean() < 3


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_does_not_cost_the_image() -> None:
    data = encode(blocks(), "JPEG", exif=b"Exif\0\0MM\0\x2a\0\0\xff\xff\xff\xff")
    assert decode_image(data).shape == (48, 64, 3)


def test_paths_with_spaces_and_chinese_characters(tmp_path: Path) -> None:
    path = tmp_path / "车辆 图片" / "白色 轿车.png"
    path.parent.mkdir()
    path.write_bytes(encode(blocks()))
    assert np.array_equal(read_image(path).pixels, np.asarray(blocks()))
    path.write_bytes(b"")
    with pytest.raises(ImageError, match=r"车辆 图片/白色 轿车\.png: the image is empty"):
        read_image(str(path))


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.jpg", tmp_path):
        with pytest.raises(ImageError, match=f"^{path}: cannot be read .*check the path"):
            read_image(path)


def test_messages_are_one_line() -> None:
    for data in (b"", b"\n\n", encode(noise())[:200], png_header_only(20_000, 20_000)):
        with pytest.raises(ImageError) as caught:
            decode_image(data, "a.png")
        assert "\n" not in str(caught.value)


def test_resize_is_pillows_antialiased_bilinear() -> None:
    image = np.asarray(blocks())
    expected = Image.fromarray(image).resize((20, 16), Image.Resampling.BILINEAR)
    assert np.array_equal(resize(image, (16, 20)), np.asarray(expected))
    # Antialiased: a chessboard of single pixels shrinks to an even gray, not to either colour.
    chess = np.repeat((np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
    assert np.abs(resize(chess, (8, 8)).astype(int) - 127).max() <= 12


@pytest.mark.parametrize("size", [(16, 20), (7, 300), (48, 64), (96, 128), (1, 1)])
def test_resize_without_antialiasing_is_plain_interpolation(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    found = resize(image, size, antialias=False)
    assert found.dtype == np.uint8
    expected = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    assert np.abs(found.astype(int) - expected).max() <= 1
    planes = torch.from_numpy(image).permute(2, 0, 1)[None].double()
    exact = torch.nn.functional.interpolate(planes, size, mode="bilinear", antialias=False)[0].permute(
        1, 2, 0
    )
    assert np.abs(found - exact.numpy()).max() <= 0.501
    if size == (16, 20):
        assert np.abs(found.astype(int) - resize(image, size)).max() > 20, "the pixels between are left out"


def test_resize_refuses_other_arrays() -> None:
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 4), np.uint8)):
        with pytest.raises(ValueError, match="uint8"):
            resize(wrong, (2, 2))


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK", "turned", "transparent colour"])
def test_prepare_is_decode_then_resize(mode: str, antialias: bool) -> None:
    """Pictures that are RGB and upright go from the decoder to the filter without a copy; no other does."""
    buffer = io.BytesIO()
    if mode == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        blocks().save(buffer, "JPEG", exif=exif)
    elif mode == "transparent colour":
        blocks().save(buffer, "PNG", transparency=blocks().getpixel((0, 0)))
    else:
        blocks().convert(mode).save(buffer, "JPEG" if mode in ("RGB", "L", "CMYK") else "PNG")
    data = buffer.getvalue()
    prepared = prepare(data, (32, 24), antialias=antialias)
    # A box of the whole is decoded band by band.
    whole = decode(data, box=(0, 0, *decode(data).size[::-1])).pixels
    assert np.array_equal(decode(data).pixels, whole)
    assert np.array_equal(prepared, resize(whole, (32, 24), antialias))
    assert prepared.shape == (32, 24, 3)
    assert prepared.flags.writeable


def test_a_lone_copy_of_the_file_works(tmp_path: Path) -> None:
    # This is how the server's Python backend runs it: copied, with none of our packages to import.
    for module in (preprocess, decoding_memory):
        shutil.copy(module.__file__, tmp_path)
    (tmp_path / "a.png").write_bytes(encode(blocks()))
    code = (
        "import sys, preprocess; from pathlib import Path\n"
        "print(preprocess.prepare(Path('a.png').read_bytes(), (8, 6)).shape, 'zoo' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.strip() == "(8, 6, 3) False"
