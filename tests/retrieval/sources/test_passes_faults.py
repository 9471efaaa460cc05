"""What goes wrong while vehicles are followed: what was acknowledged stays, and what was cut says so."""

import json
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from retrieval.galleries import open_gallery
from retrieval.gallery.entries import Facts
from retrieval.ingest import main as ingest
from retrieval.sources import video
from retrieval.sources.decoding import VideoFrame
from retrieval.sources.detector import Detection, DetectorError
from retrieval.sources.passes import Pass, Passes
from retrieval.sources.source import SO_FAR, Unusable, file_of
from retrieval.sources.video import Shot, read_video
from tests.retrieval.sources.detectors import write_detector
from tests.retrieval.sources.test_video import number_of, write_video

av = pytest.importorskip("av")

GRAY = np.full((240, 640, 3), 90, np.uint8)
CAR = Detection((16.0, 8.0, 76.0, 48.0), 0.9, "car")


class Told:
    """Stands in for a detector: one car in each numbered frame, but for those on which it fails."""

    confidence = 0.4

    def __init__(self, fails: range = range(0), sees: bool = True) -> None:
        self.fails, self.sees = fails, sees
        self.frames: list[int] = []

    def find(self, image: np.ndarray, least: float | None = None) -> list[Detection]:
        self.frames.append(number_of(image))
        if number_of(image) in self.fails:
            raise DetectorError("told.onnx: failed on an image (out of memory); try another detector")
        return [CAR] if self.sees else []


def test_a_detector_that_throws_costs_a_frame_and_not_the_pass(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [number / 5 for number in range(40)])
    found = list(read_video(path, Shot(rate=5), Told(range(10, 14)), 5))  # type: ignore[arg-type]
    assert [type(each) for each in found] == [Unusable] * 4 + [Pass]
    assert "the best of 36 boxes" in found[-1].origin
    assert all("out of memory" in each.reason for each in found[:4] if isinstance(each, Unusable))


def test_a_detector_that_only_throws_is_given_up_and_what_was_followed_is_kept(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(video, "reading_threads", lambda: 2)
    path = write_video(tmp_path / "a.mp4", [number / 5 for number in range(60)])
    detector = Told(range(20, 60))
    found = []
    with pytest.raises(DetectorError):
        for each in read_video(path, Shot(rate=5), detector, 5):  # type: ignore[arg-type]
            found.append(each)
    assert 30 <= len(detector.frames) <= 41  # it may have looked at the next eleven
    assert isinstance(found[-1], Pass)


class Paired(Told):
    """Looks at no frame before another one is looked at as well, and is done with the later one first."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.later = threading.Barrier(2), threading.Event()

    def find(self, image: np.ndarray, least: float | None = None) -> list[Detection]:
        self.begun.wait(timeout=30)
        is_later = number_of(image) % 2 == 1
        if not is_later:
            assert self.later.wait(timeout=30)
            self.later.clear()
        found = super().find(image)
        if is_later:
            self.later.set()
        return found


def test_a_recordings_frames_are_looked_at_side_by_side_and_followed_in_their_order(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(video, "reading_threads", lambda: 2)
    path = write_video(tmp_path / "a.mp4", [number / 5 for number in range(40)])
    detector = Paired()
    (only,) = read_video(path, Shot(rate=5), detector, 5)  # type: ignore[arg-type]
    assert detector.frames == [number ^ 1 for number in range(40)]
    assert (only.key, only.origin.partition(", ")[2]) == (
        "a.mp4#pass-0.000s/16,8,76,48",
        "the best of 40 boxes",
    )


def test_a_streams_frames_are_looked_at_as_they_come_and_none_is_waited_for(monkeypatch) -> None:
    monkeypatch.setattr(video, "reading_threads", lambda: 2)
    detector, sent = Told(), []

    def frames() -> Iterator[VideoFrame]:
        for number in range(20):
            assert len(detector.frames) == number
            sent.append(number)
            yield VideoFrame(number / 5, GRAY)

    film = video.Film("a", "rtsp://a", 0.0, frames(), is_live=True)
    for frame, _ in video._looked_at(film, detector, 0.1):  # type: ignore[arg-type]
        assert frame.time == sent[-1] / 5
    assert len(sent) == 20


def test_a_camera_that_shows_nothing_for_a_day_keeps_nothing_and_goes_on() -> None:
    detector = Told(sees=False)
    passes = Passes("a", "rtsp://a", detector.confidence)

    def shows(now: float) -> list[Pass]:
        return list(passes.add(VideoFrame(now, GRAY), Facts(camera=1, time=now), detector.find(GRAY)))

    for minute in range(24 * 60):
        assert not shows(60.0 * minute)
    assert (passes._collected, passes._tracker._tracks) == ({}, [])
    detector.sees = True
    for second in range(5):
        now = 86_400.0 + second
        assert not shows(now)
    (only,) = passes.finish(Facts(camera=1, time=now), now)
    assert only.key.startswith("a#pass-86400.000s/")


def test_a_pass_that_was_cut_is_marked_until_it_is_over() -> None:
    detector, during = Told(), []
    passes = Passes("a", "rtsp://a", detector.confidence)
    for second in range(130):
        facts = Facts(camera=1, time=second)
        during += list(passes.add(VideoFrame(second, GRAY), facts, detector.find(GRAY)))
    (last,) = passes.finish(Facts(camera=1, time=129), 129)
    assert [each.origin.endswith(SO_FAR) for each in (*during, last)] == [True, True, False]
    assert len({each.key for each in (*during, last)}) == 1
    # The same crops: the mark alone has to change what the gallery has.
    assert during[-1].load().digest != last.load().digest
    assert file_of(during[-1].origin) == file_of(last.origin) == "rtsp://a"


@pytest.fixture
def command(tmp_path: Path, bundle: Path) -> list[str]:
    """An ingest of ten recordings, with one pass in each."""
    (tmp_path / "v").mkdir()
    red = np.zeros((160, 320, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
    for number in range(10):
        with av.open(str(tmp_path / "v" / f"{number}.mp4"), "w") as container:
            stream = container.add_stream("mpeg4", rate=5)
            stream.width, stream.height, stream.pix_fmt = 320, 160, "yuv420p"
            for _ in range(10):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(red, format="rgb24")))
            container.mux(stream.encode(None))
    detector = write_detector(tmp_path / "detector.onnx")
    options = ("--video", tmp_path / "v", "--detector", detector, "--detector-classes", "1", "--camera", 1)
    return [*map(str, options), "--encoder", str(bundle), "--batch-size", "1"]


def keys(folder: Path) -> set[str]:
    with open_gallery(folder) as gallery:
        return {entry.key for batch in gallery.entries() for entry in batch}


def test_kill_amid_passes_keeps_what_is_there_and_the_rest_comes_again(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen(
        [sys.executable, "-m", "retrieval.ingest", *command, "--gallery", str(killed)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    before: set[str] = set()
    while process.poll() is None and not before and time.monotonic() < deadline:
        time.sleep(0.02)
        if (killed / "gallery.sqlite-wal").exists():
            try:
                before = keys(killed)
            except Exception:
                continue
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert before
    assert ingest([*command, "--gallery", str(whole), "--json"]) == 0
    capsys.readouterr()
    assert ingest([*command, "--gallery", str(killed), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert before <= keys(killed) == keys(whole)
    assert summary["known"] >= len(before)
    assert summary["size"] == 10


def test_a_full_disk_amid_a_video_is_told_and_what_is_there_stays(tmp_path: Path, command: list[str]) -> None:
    """A limit on the file size stands in for the full disk: the kernel refuses the same write."""
    gallery = tmp_path / "g"
    run = [sys.executable, "-m", "retrieval.ingest", *command, "--gallery", str(gallery)]

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))

    done = subprocess.run(run, capture_output=True, text=True, check=False, preexec_fn=full)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "Free some space" in done.stderr.splitlines()[-1]
    there = keys(gallery)
    assert 0 < len(there) < 10
    assert ingest([*command, "--gallery", str(gallery)]) == 0
    assert there < keys(gallery)
