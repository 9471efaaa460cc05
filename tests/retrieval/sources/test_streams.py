"""Live streams that break off, stall and come again, over HTTP and RTSP."""

import itertools
import time
from pathlib import Path

import numpy as np
import pytest

from retrieval.galleries import open_gallery
from retrieval.sources.decoding import VideoFrame
from retrieval.sources.streams import Connection, follow, without_secrets
from tests.retrieval.sources.cameras import Camera, RtspCamera, running
from tests.retrieval.sources.test_video import number_of, numbered, write_video
from tests.retrieval.test_ingest import run
from zoo.errors import UserError

DROPS = 50


def frame_of(number: int) -> np.ndarray:
    return numbered(number % 256)


@pytest.mark.parametrize(("scheme", "kind"), [("http", Camera), ("rtsp", RtspCamera)])
def test_drops_neither_lose_nor_double_a_frame(scheme: str, kind: type[Camera]) -> None:
    camera, said, waits = kind(frame_of, DROPS, 1), list[str](), list[float]()
    seconds = itertools.count(1_800_000_000)

    def clock() -> float:
        return float(next(seconds))

    frames: list[VideoFrame] = []
    with running(camera) as port:
        connection = Connection(1000, tell=said.append, stall=2, now=clock, steady=clock, sleep=waits.append)
        for frame in follow(f"{scheme}://user:secret@127.0.0.1:{port}/street", connection):
            frames.append(frame)
            if camera.connections > DROPS and number_of(frame.pixels) == camera.sent[-1] % 256:
                break
    assert [number_of(frame.pixels) for frame in frames] == [number % 256 for number in camera.sent]
    assert len(frames) > 2 * DROPS
    times = [frame.time for frame in frames]
    assert all(np.diff(times) > 0)
    assert min(times) >= 1_800_000_000
    # Each drop was told, and as each connection brought something, none was waited for longer.
    assert len(said) == DROPS
    assert set(waits) == {1.0}
    assert not any("secret" in text for text in said)


def test_a_clock_that_is_set_changes_times_alone() -> None:
    """Forwards they follow it; backwards they go on from the last. How long it is read is another matter."""
    camera = Camera(frame_of, 0, 1, frames=(14, 15))
    set_by = {3: 1e8, 6: -3600.0, 9: -2e8}
    moved = 0.0
    with running(camera) as port:
        connection = Connection(1000, stall=1, seconds=3600, now=lambda: 1e9 + time.monotonic() + moved)
        times = []
        for number, frame in zip(range(12), follow(f"http://127.0.0.1:{port}/", connection), strict=False):
            times.append(frame.time)
            moved += set_by.get(number + 1, 0.0)
    steps = np.diff(times)
    assert (steps > 0).all()
    assert np.flatnonzero(steps > 10).tolist() == [2]
    assert steps[2] == pytest.approx(1e8, abs=60)


def test_a_stream_that_is_away_is_tried_less_and_less_often() -> None:
    camera, said, waits = Camera(frame_of, 0, 1), list[str](), list[float]()

    class GivenUpError(Exception):
        pass

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 8:
            raise GivenUpError

    with running(camera) as port:
        connection = Connection(1000, tell=said.append, stall=0.5, sleep=sleep)
        found = follow(f"http://127.0.0.1:{port}/", connection)
        assert number_of(next(found).pixels) == 0
        camera.stop()
    with pytest.raises(GivenUpError):
        list(found)
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]


def test_a_stream_that_stalls_is_told() -> None:
    camera, said = Camera(frame_of, 0, 1), list[str]()
    with running(camera) as port:

        def sleep(_: float) -> None:
            camera.stop()
            raise KeyboardInterrupt

        connection = Connection(1000, tell=said.append, stall=1, sleep=sleep)
        frames = []
        with pytest.raises(KeyboardInterrupt):
            frames.extend(follow(f"http://127.0.0.1:{port}/", connection))
    assert "nothing came for 1 s; trying again in 1 s" in said[-1]


def test_a_camera_goes_into_a_gallery_at_once(tmp_path: Path, bundle: Path, capsys) -> None:
    camera = RtspCamera(frame_of, 9, 1)
    with running(camera) as port:
        code, summary, _ = run(
            capsys,
            *("--video", f"rtsp://admin:secret@127.0.0.1:{port}/street?channel=1", "--camera", 3),
            *("--seconds", 0, "--gallery", tmp_path / "g", "--encoder", bundle),
        )
    assert (code, summary["added"]) == (0, 1)
    with open_gallery(tmp_path / "g") as gallery:
        (key,) = gallery.sample_keys(9)
        entry = gallery.get(key)
    assert entry is not None
    assert key == f"127.0.0.1:{port}/street?channel=1#{entry.time:.3f}s"
    assert entry.camera == 3
    assert "secret" not in entry.source + (tmp_path / "g" / "ingest-report.json").read_text()


def test_a_served_recording_is_read_once(tmp_path: Path) -> None:
    data = write_video(tmp_path / "a.mp4", [0, 1, 2], options={"g": "1"}).read_bytes()

    class Recording(Camera):
        def _send(self, peer, count: int) -> None:
            while b"\r\n\r\n" not in peer.recv(65536):
                pass
            peer.sendall(f"HTTP/1.0 200 OK\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
            self._over.set()

    with running(Recording(frame_of, 99, 1)) as port:
        found = list(follow(f"http://127.0.0.1:{port}/a.mp4", Connection(1000)))
    assert [number_of(frame.pixels) for frame in found] == [0, 1, 2]


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://admin:a@b@10.0.0.7:554/cam?channel=1&password=x", "rtsp://10.0.0.7:554/cam?channel=1"),
        ("http://10.0.0.7/live.ts?auth_token=x#y", "http://10.0.0.7/live.ts"),
    ],
)
def test_secrets_are_not_shown(address: str, shown: str) -> None:
    assert without_secrets(address) == shown


def test_no_camera_there() -> None:
    with pytest.raises(UserError, match=r"^rtsp://127\.0\.0\.1:9/a: cannot be opened \(Connection refused\)"):
        follow("rtsp://user:secret@127.0.0.1:9/a", Connection(1))
