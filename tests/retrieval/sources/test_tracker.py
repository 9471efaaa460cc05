"""Tracks and passes: who is who from frame to frame, and what is kept of each."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrieval.galleries import open_gallery
from retrieval.gallery.entries import Facts, GalleryModel, Result
from retrieval.query.searcher import best_of_each
from retrieval.sources.decoding import VideoFrame
from retrieval.sources.detector import Detection, Detector
from retrieval.sources.passes import Pass, Passes, Shown, quality, track_id
from retrieval.sources.pipeline import ingest
from retrieval.sources.tracker import Track, Tracker
from retrieval.sources.video import Shot, read_video
from serving.encoders.encoder import Encoder
from serving.encoders.image import InputImage
from tests.retrieval.conftest import draw_vehicle
from tests.retrieval.sources.test_detector import DATA, REAL

Way = Callable[[float], tuple[float, float]]


def seen(x: float, y: float, score: float = 0.9, width: float = 80, height: float = 60) -> Detection:
    return Detection((x, y, x + width, y + height), score, "car")


def follow(times: list[float], paths: list[Way], hidden: Callable[[int, float], bool] = lambda *_: False):
    """The track of each vehicle at each time; None where it is hidden."""
    tracker, owners = Tracker(), []
    for time in times:
        there = [number for number in range(len(paths)) if not hidden(number, time)]
        found, _ = tracker.update(time, [seen(*paths[number](time)) for number in there])
        by_vehicle = dict(zip(there, found, strict=True))
        owners.append([by_vehicle.get(number) for number in range(len(paths))])
    return owners


def tracks_of(owners: list[list[Track | None]], vehicle: int) -> set[Track]:
    return {row[vehicle] for row in owners if row[vehicle] is not None}


@pytest.mark.parametrize("rate", [2, 5, 25])
def test_vehicles_of_two_lanes_keep_their_tracks(rate: int) -> None:
    times = [number / rate for number in range(4 * rate)]
    owners = follow(times, [lambda t: (150 * t, 100), lambda t: (600 - 150 * t, 170)])
    first, second = tracks_of(owners, 0), tracks_of(owners, 1)
    assert (len(first), len(second)) == (1, 1)
    assert first != second


def test_uneven_times_are_no_hindrance() -> None:
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.choice([0.04, 0.1, 0.5], 30)).tolist()
    owners = follow(times, [lambda t: (100 * t, 100), lambda t: (100 * t - 120, 100)])
    assert len(tracks_of(owners, 0)) == len(tracks_of(owners, 1)) == 1
    assert tracks_of(owners, 0) != tracks_of(owners, 1)


def test_a_vehicle_behind_a_post_is_the_same() -> None:
    times = [number / 10 for number in range(40)]
    owners = follow(times, [lambda t: (150 * t, 100)], lambda _, t: 1.5 < t < 2.5)
    assert len(tracks_of(owners, 0)) == 1


def test_a_vehicle_that_comes_much_later_is_another() -> None:
    times = [number / 10 for number in range(80)]
    owners = follow(times, [lambda t: (150 * (t % 4), 100)], lambda _, t: 2 < t < 4)
    assert len(tracks_of(owners, 0)) == 2


def test_what_stands_stays_the_same_behind_traffic() -> None:
    times = [number / 5 for number in range(300)]
    owners = follow(times, [lambda t: (200 + 0.5 * np.sin(9 * t), 100)], lambda _, t: t % 20 > 8)
    assert len(tracks_of(owners, 0)) == 1


def test_what_stood_and_drives_off_leaves_its_place_to_the_next() -> None:
    times = [number / 5 for number in range(100)]

    def stop(start: float) -> Way:
        # Drives up, waits four seconds, and drives off with 3 m/s2, a vehicle being 5 m and 80 pixels.
        def way(time: float) -> tuple[float, float]:
            since = time - start
            return (60 * min(since, 4) + 24 * max(since - 8, 0) ** 2, 100)

        return way

    ways = [stop(0), stop(8.6)]
    owners = follow(times, ways, lambda n, t: not (8.6 * n < t < 8.6 * n + 11))
    first, second = tracks_of(owners, 0), tracks_of(owners, 1)
    assert (len(first), len(second)) == (1, 1)
    assert first != second


def test_a_box_of_another_size_is_another_vehicle() -> None:
    tracker = Tracker()
    for number in range(6):
        tracker.update(number / 5, [seen(300 - 40 * number, 100, width=240, height=160)])
    (far,), _ = tracker.update(2.0, [seen(180, 150, width=50, height=32)])
    assert far is not None
    assert far.hits == 1


def test_uncertain_boxes_continue_a_track_and_begin_none() -> None:
    tracker = Tracker()
    (first,), _ = tracker.update(0, [seen(0, 0)])
    # Uncertain boxes are less exact, too.
    (second, other), _ = tracker.update(0.1, [seen(30, 0, 0.2), seen(400, 0, 0.2)])
    assert (second, other) == (first, None)
    (third,), over = tracker.update(9, [seen(2, 0)])
    assert over == [first]
    assert third is not first
    assert tracker.finish() == [third]


def passes_of(
    frames: list[tuple[float, list[Detection]]], size: tuple[int, int] = (240, 640)
) -> tuple[list[Pass], list[Pass]]:
    """Passes that came while frames did, and those at the end."""
    noise = np.random.default_rng(1)
    passes = Passes("a.mp4", "/v/a.mp4", 0.4, 3)
    pixels = noise.integers(0, 255, (*size, 3)).astype(np.uint8)
    during = []
    for time, found in frames:
        during += list(passes.add(VideoFrame(time, pixels), Facts(camera=2, time=1000 + time), found))
    return during, list(passes.finish(Facts(camera=2, time=1000 + time), time))


def test_a_pass_has_its_best_crops_of_several_places() -> None:
    frames = [(n / 5, [seen(40 * n, 50, 0.5 + 0.04 * n)]) for n in range(11)]
    during, (only,) = passes_of(frames)
    assert during == []
    assert len(only.shown) == 3
    assert [each.quality for each in only.shown] == sorted((e.quality for e in only.shown), reverse=True)
    # The most certain one that the edge does not cut.
    assert (only.facts.time, only.facts.box) == (1002, (400, 50, 480, 110))
    assert (only.facts.camera, only.label, round(only.score, 2)) == (2, "car", 0.7)
    loaded = only.load()
    assert len(loaded.views) == 3
    assert loaded.image is loaded.views[0].image


def test_a_vehicle_that_stands_is_one_pass_of_one_crop_and_reported_meanwhile() -> None:
    during, (last,) = passes_of([(float(n), [seen(100, 50)]) for n in range(150)])
    assert [each.key for each in during] == [last.key, last.key]
    assert len(last.shown) == 1


def test_noise_is_no_pass() -> None:
    assert passes_of([(0, [seen(0, 0, 0.6)]), (0.2, []), (0.4, [])]) == ([], [])


@pytest.mark.parametrize(
    "change",
    [
        {"box": (0.0, 50.0, 80.0, 110.0)},  # cut by the edge
        {"box": (100.0, 50.0, 140.0, 80.0)},  # small
        {"score": 0.5},
        {"others": [seen(120, 60)]},  # covered by a nearer one
        {"blurred": True},
    ],
)
def test_quality_falls(change: dict) -> None:
    rng = np.random.default_rng(1)
    scene = rng.integers(0, 255, (240, 640, 3)).astype(np.uint8)

    def of(box=(100.0, 50.0, 180.0, 110.0), score=0.9, others=(), blurred=False) -> float:
        left, top, right, bottom = map(int, box)
        pixels = scene[top:bottom, left:right]
        pixels = np.full_like(pixels, 90) if blurred else pixels
        return quality(pixels, Detection(box, score, "car"), others, (240, 640))

    assert 0 <= of(**change) < of() <= 1
    # What stands behind covers nothing.
    assert of(others=[seen(120, 40)]) == of()


def test_the_vector_of_a_pass_is_weighted_by_quality(tmp_path: Path, bundle: Path, encoder: Encoder) -> None:
    pixels = [np.asarray(draw_vehicle(1, camera)) for camera in (1, 4)]
    box = (0.0, 0.0, 96.0, 96.0)
    shown = tuple(Shown(weight, 0.0, box, each) for weight, each in zip((0.9, 0.3), pixels, strict=True))
    source = Pass("a#pass", Facts(track_id=7), "/a at 0 s", "/a", shown, "car", 0.9)
    with open_gallery(
        tmp_path / "g", model=GalleryModel(encoder.card, encoder.model_hash, str(bundle)), writable=True
    ) as gallery:
        assert ingest([source], gallery, encoder).added == 1
        entry = gallery.get("a#pass")
    assert entry is not None
    first, second = encoder.encode([InputImage.from_pixels(each) for each in pixels]).embedding
    assert np.abs(first - second).max() > 0.01
    assert np.allclose(entry.embedding, 0.75 * first + 0.25 * second, atol=1e-5)


def test_a_vehicle_that_stays_is_one_entry_however_often_it_is_reported(
    tmp_path: Path, bundle: Path, encoder: Encoder
) -> None:
    during, last = passes_of([(float(n), [seen(100, 50, 0.5 + n / 1000)]) for n in range(200)])
    model = GalleryModel(encoder.card, encoder.model_hash, str(bundle))
    with open_gallery(tmp_path / "g", model=model, writable=True) as gallery:
        for each in (*during, *last):
            ingest([each], gallery, encoder, is_live=True)
            assert len(gallery) == 1
        entry = gallery.get(last[0].key)
        assert entry is not None
        assert entry.time == 1199
        # Another video of the same name, with a pass at the same time and place, is another.
        other = replace(last[0], root="/w/a.mp4", origin="/w/a.mp4 at 1 s", facts=Facts(camera=3))
        ingest([other], gallery, encoder)
        assert len(gallery) == 2


def test_track_numbers_are_no_other_cameras_or_runs() -> None:
    asked = [(root, camera, key) for root in "ab" for camera in (1, 2, None) for key in "xyz"]
    assert len({track_id(*each) for each in asked}) == len(asked)
    assert track_id("a", 1, "x") == track_id("a", 1, "x")


def test_tracks_numbered_from_1_at_each_camera_are_not_one_group() -> None:
    results = [Result(str(n), camera=camera, track_id=1) for n, camera in enumerate((1, 1, 2, None, None))]
    assert [each.key for each in best_of_each(results, "track")] == ["0", "2", "3"]
    results = [Result(str(n), camera=camera, vehicle_id=1) for n, camera in enumerate((1, 2))]
    assert [each.key for each in best_of_each(results, "vehicle")] == ["0"]


@pytest.mark.parametrize("rate", [3, 6])
def test_a_real_video_has_four_passes(rate: int) -> None:
    if not REAL.is_file():
        pytest.skip(f"needs {REAL}, a real detector that is not part of the repository")
    detector = Detector(REAL, ["car", "bus", "truck", 67])
    found = list(read_video(DATA / "video" / "car-detection.mp4", Shot(rate=rate), detector, 5))
    assert all(isinstance(each, Pass) for each in found)
    times = [each.facts.time for each in found if each.facts is not None]
    # A white car, a light blue one beside a red one, and another white one.
    assert np.allclose(sorted(times), [6.5, 16.5, 17.3, 26.5], atol=1)
