"""Decoding: true times, whatever the frames' spread, rotation or damage, and recordings in folders."""

import struct
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.codec.hwaccel import hwdevices_available

from retrieval.galleries import open_gallery
from retrieval.gallery.clock import parse_time, parse_zone
from retrieval.sources import video
from retrieval.sources.decoding import Fault, VideoFrame, decode, open_video
from retrieval.sources.streams import named_time
from retrieval.sources.video import Shot, read_video
from tests.retrieval.test_ingest import run
from zoo.errors import UserError

SIZE = (96, 64)
CELL = 16


def numbered(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A frame that says its number in eight black or white cells, and survives compression."""
    image = np.full((size[1], size[0], 3), 96, np.uint8)
    for bit in range(8):
        row, column = divmod(bit, 4)
        cell = image[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
        cell[:] = 255 * (number >> bit & 1)
    return image


def number_of(pixels: np.ndarray) -> int:
    cells = pixels[: 2 * CELL, : 4 * CELL].reshape(2, CELL, 4, CELL, 3).mean((1, 3, 4)).reshape(-1)
    return sum(1 << bit for bit, light in enumerate(cells) if light > 128)


def write_video(
    path: Path,
    times: Iterable[float],
    *,
    codec: str = "libx264",
    rotation: int = 0,
    options: dict[str, str] | None = None,
    format: str | None = None,
) -> Path:
    """Write a numbered frame at each of the times, in milliseconds' steps."""
    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream(codec, rate=25, options=options or {"g": "10"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(numbered(number), format="rgb24")
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def seen(path: Path, rate: float) -> list[tuple[float, int]]:
    with open_video(str(path)) as container:
        return [
            (round(found.time, 3), number_of(found.pixels))
            for found in decode(container, rate)
            if isinstance(found, VideoFrame)
        ]


def faults(path: Path, rate: float = 100) -> list[str]:
    with open_video(str(path)) as container:
        return [found.reason for found in decode(container, rate) if isinstance(found, Fault)]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.mov"])
def test_times_are_those_at_which_frames_are_shown(tmp_path: Path, name: str) -> None:
    """A camera that slows down at night: bursts, and gaps of many seconds, with frames out of order."""
    times = [0, 0.04, 0.08, 0.5, 0.54, 20, 20.04, 54, 54.04, 54.08, 54.9, 55, 60]
    path = write_video(tmp_path / name, times)
    assert seen(path, 100) == list(zip(times, range(len(times)), strict=True))
    assert faults(path) == []
    # Two a second: the first frame of each half second that has one.
    assert seen(path, 2) == [(0, 0), (0.5, 3), (20, 5), (54, 7), (54.9, 10), (55, 11), (60, 12)]


def test_first_frame_is_the_zero(tmp_path: Path) -> None:
    path = write_video(tmp_path / "late.ts", [100 + number / 10 for number in range(10)])
    assert [time for time, _ in seen(path, 5)] == [0, 0.2, 0.4, 0.6, 0.8]


@pytest.mark.parametrize(("rate", "count"), [(1, 3), (4, 12), (12.5, 37), (30, 75)])
def test_even_rates_lose_no_time(tmp_path: Path, rate: float, count: int) -> None:
    path = write_video(tmp_path / "even.mp4", [number / 25 for number in range(75)])
    times = [time for time, _ in seen(path, rate)]
    assert len(times) in (count, count + 1)
    assert max(np.diff(times)) <= 1 / min(rate, 25) + 0.041


@pytest.mark.parametrize(
    ("matrix", "turns"), [((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1), ((1, 0, 0, 1), 0)]
)
def test_rotated_videos_are_upright(tmp_path: Path, matrix: tuple[int, ...], turns: int) -> None:
    """A telephone held upright says so in its track's header, by where right and down lie."""
    path = write_video(tmp_path / "a.mp4", [0, 0.04])
    (plain, *_) = _frames(path)

    def packed(a: int, b: int, c: int, d: int) -> bytes:
        one = 1 << 16
        return struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)

    data = path.read_bytes()
    header = data.index(b"tkhd")
    place = data.index(packed(1, 0, 0, 1), header)
    path.write_bytes(data[:place] + packed(*matrix) + data[place + 36 :])
    (turned, *_) = _frames(path)
    assert np.array_equal(turned, np.rot90(plain, turns))


def _frames(path: Path) -> Iterable[np.ndarray]:
    with open_video(str(path)) as container:
        yield from (found.pixels for found in decode(container, 100) if isinstance(found, VideoFrame))


@pytest.mark.parametrize("name", ["cut.mkv", "cut.avi", "cut.mp4"])
def test_cut_files_give_what_they_have(tmp_path: Path, name: str) -> None:
    options = {"movflags": "faststart"} if name.endswith("mp4") else {}
    path = tmp_path / name
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuvj420p"
        for number in range(60):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(number), format="rgb24")))
        container.mux(stream.encode(None))
    whole = seen(path, 100)
    assert len(whole) == 60
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    left = seen(path, 100)
    assert 20 < len(left) < 60
    assert left == whole[: len(left)]
    assert any("cut short" in reason for reason in faults(path))


def test_damaged_packets_are_passed_over_and_told(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.ts", [number / 10 for number in range(100)])
    whole, data = dict(seen(path, 100)), bytearray(path.read_bytes())
    rng = np.random.default_rng(1)
    for start in range(len(data) // 3, len(data) // 2, 2000):
        data[start : start + 600] = rng.bytes(600)
    path.write_bytes(data)
    left = dict(seen(path, 100))
    assert 40 < len(left) < 100
    # What is kept is what was there, at its own time.
    assert left.items() <= whole.items()
    assert any("damaged" in reason for reason in faults(path))


def test_a_clock_that_jumps_back_goes_on(tmp_path: Path) -> None:
    for part in (0, 1):
        write_video(tmp_path / f"{part}.ts", [number / 10 for number in range(30)])
    joined = tmp_path / "joined.ts"
    joined.write_bytes((tmp_path / "0.ts").read_bytes() + (tmp_path / "1.ts").read_bytes())
    times = [time for time, _ in seen(joined, 100)]
    assert len(times) >= 56
    assert all(step > 0 for step in np.diff(times))
    assert 5.5 < times[-1] < 7
    assert any("the clock jumps" in reason for reason in faults(joined))


def test_frames_may_change_their_size(tmp_path: Path) -> None:
    path = tmp_path / "sizes.ts"
    parts = []
    for number, size in enumerate([(96, 64), (160, 96)]):
        part = tmp_path / f"{number}.ts"
        with av.open(str(part), "w") as container:
            stream = container.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            for count in range(10):
                container.mux(
                    stream.encode(av.VideoFrame.from_ndarray(numbered(count, size), format="rgb24"))
                )
            container.mux(stream.encode(None))
        parts.append(part.read_bytes())
    path.write_bytes(b"".join(parts))
    shapes = [frame.shape for frame in _frames(path)]
    assert shapes.count((64, 96, 3)) >= 6
    assert shapes.count((96, 160, 3)) >= 9


def test_a_start_has_a_zone() -> None:
    berlin = parse_zone("Europe/Berlin")
    assert parse_time("2026-05-01T08:00", berlin) == parse_time("2026-05-01T06:00Z")
    assert parse_time("2026-05-01T08:00+00:00", berlin) == parse_time("2026-05-01T08:00")
    assert parse_time("8:00", berlin) == 8 * 3600
    with pytest.raises(UserError, match="not a time zone"):
        parse_zone("Mars/Base")


@pytest.mark.parametrize(
    "name", ["gate_20260501080000.mp4", "2026-05-01_08-00-00.mkv", "c1 2026.05.01 08.00.00 x.avi"]
)
def test_names_of_recordings_tell_their_start(name: str) -> None:
    assert named_time(name, parse_zone("Europe/Berlin")) == parse_time("2026-05-01T06:00:00")


@pytest.mark.parametrize("name", ["gate.mp4", "12345678.mp4", "20269901080000.mp4"])
def test_other_names_tell_none(name: str) -> None:
    assert named_time(name) is None


def test_a_folder_of_recordings(tmp_path: Path, bundle: Path, capsys) -> None:
    folder = tmp_path / "north"
    for day in ("monday", "tuesday"):
        (folder / day).mkdir(parents=True)
        write_video(folder / day / "2026-05-01_08-00-00.mp4", [0, 1, 2])
    (folder / "monday" / "broken.mp4").write_text("no video")
    other = tmp_path / "south"
    other.mkdir()
    write_video(other / "gate.mp4", [0, 0.5, 1, 1.5, 2])
    write_video(folder / "gate.mp4", [0, 1, 2])
    arguments = ("--gallery", tmp_path / "g", "--encoder", bundle, "--zone", "Europe/Berlin")
    code, summary, stderr = run(capsys, "--video", folder, *arguments)
    assert (code, summary["added"], summary["bad"]) == (0, 9, 1)
    assert "broken.mp4: not a video" in stderr
    # Another video of the same name replaces nothing, and each again is known.
    south = ("--video", other / "gate.mp4", "--camera", 2, *arguments)
    assert run(capsys, *south)[1]["added"] == 3
    assert run(capsys, "--video", folder, *arguments)[1]["known"] == 9
    _, summary, _ = run(capsys, *south)
    assert (summary["known"], summary["size"]) == (3, 12)
    with open_gallery(tmp_path / "g") as gallery:
        entry = gallery.get("tuesday/2026-05-01_08-00-00.mp4#2.000s")
        assert entry is not None
        assert entry.time == parse_time("2026-05-01T06:00:02")
        assert entry.source == f"{folder}/tuesday/2026-05-01_08-00-00.mp4 at 2.000 s"


def test_new_recordings_are_waited_for_until_they_are_whole(tmp_path: Path, monkeypatch) -> None:
    whole = write_video(tmp_path / "whole.mp4", [0, 1, 2]).read_bytes()
    folder = tmp_path / "in"
    folder.mkdir()
    steps = iter(
        [
            lambda: (folder / "1.mp4").write_bytes(whole[:500]),
            lambda: (folder / "1.mp4").write_bytes(whole),
            lambda: None,
            lambda: (folder / "2.mp4").write_bytes(whole),
            (folder / "2.mp4").touch,
        ]
    )

    class OverError(Exception):
        pass

    def look_again(_: float) -> None:
        step = next(steps, None)
        if step is None:
            raise OverError
        step()

    real = video.recordings
    monkeypatch.setattr(video, "recordings", lambda path, stays: real(path, stays, look_again))
    keys = []
    with pytest.raises(OverError):
        for source in read_video(folder, Shot(stays=True)):
            keys.append(source.key)
    assert keys == [f"1.mp4#{second}.000s" for second in range(3)]


def test_faults_of_who_asks(tmp_path: Path, bundle: Path, capsys) -> None:
    path = write_video(tmp_path / "a.mp4", [0, 1])
    (tmp_path / "empty").mkdir()
    arguments = ["--gallery", tmp_path / "g", "--encoder", bundle]
    for given, message in (
        (("--video", "ftp://host/a.mp4"), "streams are opened by rtsp://"),
        (("--video", tmp_path / "empty"), "no videos in it"),
        (("--video", path, "--zone", "Nowhere"), "is not a time zone"),
        (("--video", path, "--follow"), "is no folder"),
        (("--video", path, "--hardware", "abacus"), "this build of PyAV knows"),
        (("--video", path, "--seconds", "5"), "ends a stream"),
        (("--video", path, "--crops", "3", "--per", "image"), "--per, --crops: needs a detector"),
        (("--video", path, "--min-size", "40"), "do nothing without --detector"),
        (("--images", tmp_path, "--camera", "3", "--start", "8:00"), "--camera, --start: of a video alone"),
        (("--video", "rtsp://user:secret@127.0.0.1:9/a?channel=1&token=secret"), "127.0.0.1:9/a?channel=1:"),
        (("--video", "rtsp://127.0.0.1:9/a", "--start", "8:00"), "is that of the clock"),
    ):
        code, _, stderr = run(capsys, *given, *arguments)
        assert (code, message in stderr, len(stderr.splitlines())) == (2, True, 1), stderr
        assert "secret" not in stderr
        assert not (tmp_path / "g").exists()
    device = hwdevices_available()[0]
    code, _, stderr = run(capsys, "--video", path, "--hardware", device, *arguments)
    # Where there is such a device, it decodes.
    assert code == 0 or f"--hardware {device}: no such device can be used here" in stderr
