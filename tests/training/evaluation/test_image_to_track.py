"""Tracks: how they are told, and how a search for them is judged."""

from pathlib import Path

import numpy as np
import pytest

from training.datasets.records import Record
from training.evaluation.image_to_track import evaluate_tracks, track_numbers


def record(vehicle: int, camera: int, frame: int = 0, index: int = 0, track: int | None = None):
    name = f"{vehicle:04d}_c{camera:03d}_{frame:08d}_{index}.jpg"
    return Record(Path("image_test") / name, vehicle, camera, frame=frame, track=track)


def test_frames_tell_drives_apart() -> None:
    gallery = [
        record(1, 1, 100),
        record(2, 1, 110),
        record(1, 1, 5000),
        record(1, 1, 300),
        record(1, 2, 310),
        record(1, 1, 5250),
    ]
    assert track_numbers(gallery).tolist() == [0, 1, 2, 0, 3, 2]


def test_records_that_know_their_track_are_believed() -> None:
    gallery = [record(1, 1, 0, 0, track=7), record(1, 1, 1, 1, track=8), record(2, 1, 2, 2, track=7)]
    assert track_numbers(gallery).tolist() == [0, 1, 2]
    assert track_numbers([]).tolist() == []


def test_an_image_that_no_list_knows_is_told_by_its_frame() -> None:
    gallery = [
        record(1, 1, 0, track=0),
        record(1, 1, 10, 1),
        record(1, 1, 20, 2),
        record(1, 1, 0, 3, track=0),
    ]
    assert track_numbers(gallery).tolist() == [0, 1, 1, 0]


def by_definition(query, gallery, query_records, gallery_records):
    """AP and first hit over tracks, with sets and loops."""
    tracks = track_numbers(gallery_records)
    for q, own in zip(query, query_records, strict=True):
        ranking = []
        for track in range(tracks.max() + 1):
            members = np.flatnonzero(tracks == track)
            first = gallery_records[members[0]]
            if (first.vehicle_id, first.camera_id) != (own.vehicle_id, own.camera_id):
                nearest = min(float(np.square(q - gallery[m]).sum()) for m in members)
                ranking.append((nearest, track, first.vehicle_id == own.vehicle_id))
        hits = [hit for _, _, hit in sorted(ranking)]
        places = np.flatnonzero(hits)
        if len(places) == 0:
            yield None, -1
        else:
            yield np.mean(np.arange(1, len(places) + 1) / (places + 1)), places[0]


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def draw(count: int) -> list[Record]:
        ids, cameras, frames = (rng.integers(1, high, count).tolist() for high in (6, 4, 2000))
        return [record(*labels, index) for index, labels in enumerate(zip(ids, cameras, frames, strict=True))]

    asked, known = draw(12), draw(70)
    # Whole numbers: equal distances are equal, and the earlier track comes first.
    query, gallery = (rng.integers(0, 4, (n, 3)).astype(float) for n in (12, 70))
    found = evaluate_tracks(query, gallery, asked, known)
    precisions, firsts = zip(*by_definition(query, gallery, asked, known), strict=True)
    assert found.first_match.tolist() == list(firsts)
    assert [None if np.isnan(ap) else ap for ap in found.average_precision] == pytest.approx(
        list(precisions), abs=1e-12
    )


def test_one_good_image_brings_its_track_to_the_front() -> None:
    known = [record(1, 2, 10), record(1, 2, 11), record(2, 2, 10)]
    query, gallery = np.zeros((1, 1)), np.array([[0.1], [9.0], [1.0]])
    found = evaluate_tracks(query, gallery, [record(1, 1)], known)
    assert (found.mean_average_precision, found.rank(1)) == (1.0, 1.0)
