"""Huge images: one rule for what is kept of them, a bound on memory, and an order of decoding."""

import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo import preprocess
from zoo.decoding_memory import MAX_MEMORY, ORDINARY, DecoderBusyError, DecodingMemory
from zoo.preprocess import ImageError, clip_box, decode, decode_image, is_huge, resize

KINDS = [
    ("JPEG", "RGB"),
    ("JPEG", "L"),
    ("PNG", "RGB"),
    ("PNG", "RGBA"),
    ("PNG", "P"),
    ("WEBP", "RGBA"),
    ("BMP", "RGB"),
]


def picture(mode: str, width: int = 91, height: int = 61) -> Image.Image:
    """A smooth picture; half transparent where the mode can be."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 2, y * 4, 200 - x, np.full_like(x, 128)], axis=-1).astype(np.uint8)
    image = Image.fromarray(pixels, "RGBA")
    return image if mode == "RGBA" else image.convert("RGB").convert(mode)


def encode(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A picture of 91x61 is huge."""
    monkeypatch.setattr(preprocess, "WHOLE_PIXELS", 2000)
    yield


@pytest.mark.parametrize("sides", [(92, 62), (91, 61)], ids=["even", "odd"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("format", "mode"), KINDS)
def test_half_of_a_huge_image_is_kept(
    monkeypatch: pytest.MonkeyPatch, format: str, mode: str, orientation: int, sides: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {"quality": 95} if format == "JPEG" else {}
    data = encode(picture(mode, *sides), format, **options, **({} if format == "BMP" else {"exif": exif}))
    whole = decode_image(data)
    monkeypatch.setattr(preprocess, "WHOLE_PIXELS", 2000)
    half = decode(data)
    assert half.size == whole.shape[:2]
    assert half.pixels.shape == (*(-(-side // 2) for side in half.size), 3)
    assert half.pixels.flags.writeable
    # The same picture, upright as well: each pixel the mean of four.
    if not any(side % 2 for side in half.size):
        rows, columns = half.pixels.shape[:2]
        means = whole.reshape(rows, 2, columns, 2, 3).mean((1, 3))
        assert np.abs(half.pixels - means).max() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_part_has_all_of_its_pixels(
    small_limit: None, monkeypatch: pytest.MonkeyPatch, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(picture("RGB"), "PNG", exif=exif)
    part = decode(data, box=(10, 5, 40, 35))
    monkeypatch.setattr(preprocess, "WHOLE_PIXELS", 10**9)
    whole = decode_image(data)
    assert np.array_equal(part.pixels, whole[5:35, 10:40])
    monkeypatch.setattr(preprocess, "WHOLE_PIXELS", 500)
    assert decode(data, box=(10, 5, 40, 35)).pixels.shape == (15, 15, 3)


def test_bands_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    for format, mode in KINDS:
        data = encode(picture(mode), format)
        at_once = decode_image(data)
        with monkeypatch.context() as patch:
            patch.setattr(preprocess, "_BAND", 200)
            assert np.array_equal(decode_image(data), at_once)


def test_boxes_are_clipped() -> None:
    assert clip_box((-5, 3.4, 1e8, 9.6), (8, 20), "a") == (0, 3, 20, 8)
    with pytest.raises(ImageError, match=r"^a: the box 18,0,25,5 holds nothing of the 19x8 pixels"):
        clip_box((18, 0, 25, 5), (8, 19), "a")


@pytest.mark.parametrize("size", [(1, 257), (64_000_000, 1), (300, 1)])
def test_lines_are_no_pictures(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match="times the other; cut the vehicle out"):
        decode_image(encode(Image.new("1", size), "PNG"))


def test_jpegs_of_very_many_scans_are_refused() -> None:
    data = encode(picture("RGB"), "JPEG", progressive=True)
    assert decode_image(data).shape == (61, 91, 3)
    scan = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(ImageError, match="more than 100 scans; save it again"):
        decode_image(data[:-2] + scan * 100 + data[-2:])


def test_what_takes_too_much_is_refused_by_its_header() -> None:
    bomb = encode(Image.new("RGBA", (8000, 8000)), "WEBP", lossless=True, method=0, quality=0)
    assert len(bomb) < 3000
    with pytest.raises(ImageError, match="take more than 512 MiB to decode; make it smaller"):
        decode_image(bomb)
    assert is_huge(bomb)
    assert not is_huge(encode(picture("RGB"), "PNG"))
    assert not is_huge(b"none")


MEASURED = """
import resource, sys
from pathlib import Path
from zoo.preprocess import decode_image
decode_image(Path(sys.argv[1]).read_bytes())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
decode_image(Path(sys.argv[2]).read_bytes())
now = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, now - before)
"""


@pytest.mark.parametrize(
    ("format", "mode", "side", "options"),
    [
        pytest.param("PNG", "RGBA", 7900, {"compress_level": 1}, marks=pytest.mark.slow),
        pytest.param("PNG", "P", 7900, {"transparency": 0, "compress_level": 1}, marks=pytest.mark.slow),
        ("WEBP", "RGBA", 5200, {"lossless": True, "method": 0, "quality": 0}),
        ("JPEG", "RGB", 7900, {"progressive": True, "subsampling": 0}),
    ],
    ids=["alpha", "palette", "webp", "progressive"],
)
def test_the_worst_images_stay_below_the_limit(
    tmp_path: Path, format: str, mode: str, side: int, options: dict[str, object]
) -> None:
    (tmp_path / "small").write_bytes(encode(picture("RGB"), "PNG"))
    (tmp_path / "large").write_bytes(encode(Image.new(mode, (side, side), 1), format, **options))
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        MEASURED,
        str(tmp_path / "small"),
        str(tmp_path / "large"),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    peak, afterwards = (int(kilobytes) * 1024 for kilobytes in ran.stdout.split())
    assert peak < MAX_MEMORY + 2**25
    assert afterwards < 2**25, "memory is given back"


def test_ordinary_images_do_not_wait_for_huge_ones() -> None:
    memory = DecodingMemory()
    with memory.taken(MAX_MEMORY), memory.taken(ORDINARY):
        pass


def test_the_largest_takes_what_it_lacks_from_the_ordinary_ones() -> None:
    memory = DecodingMemory()
    with memory.taken(MAX_MEMORY), memory.taken(ORDINARY):
        assert memory._huge._free == memory._ordinary._free == 0
    assert memory._huge._free + memory._ordinary._free == 640 * 2**20


@pytest.mark.parametrize("shape", [(2900, 3000), (8400, 1000), (300, 28000)])
def test_a_large_image_is_resized_in_parts_with_the_same_numbers(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for size in ((256, 192), (shape[0], 40), (40, shape[1])):
        whole = Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR)
        assert np.array_equal(resize(pixels, size), np.asarray(whole))


def test_huge_images_wait_in_order_and_no_more_than_may() -> None:
    memory = DecodingMemory()
    memory.max_waiting = 2
    order: list[int] = []

    def decode_one(number: int) -> None:
        with memory.taken(MAX_MEMORY):
            order.append(number)

    threads = [threading.Thread(target=decode_one, args=(number,)) for number in range(2)]
    with memory.taken(MAX_MEMORY):
        for count, thread in enumerate(threads, 1):
            thread.start()
            while len(memory._huge._queue) < count:
                pass
        with pytest.raises(DecoderBusyError, match="send this one again later"), memory.taken(ORDINARY + 1):
            pass
        assert not order
    for thread in threads:
        thread.join(10)
    assert order == [0, 1]
    with memory.taken(MAX_MEMORY):
        pass


def test_a_forked_child_starts_with_all_of_it() -> None:
    memory = preprocess.decoding
    with memory.taken(MAX_MEMORY):
        child = os.fork()
        if child == 0:
            try:
                memory.max_waiting = 0
                with memory.taken(MAX_MEMORY):
                    os._exit(7)
            finally:
                os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
