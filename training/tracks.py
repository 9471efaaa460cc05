"""Image-to-track search, VeRi's HIT protocol: what is found are drives past a camera, not single images.

A query image is searched among the tracks of the gallery, each as near as its nearest image; tracks of the
query's own vehicle and camera are junk (Liu et al., PROVID, IEEE Transactions on Multimedia 2018). HIT@k is
the share of queries with a right track among their first `k`, and the mAP is over tracks.
"""

import logging
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from training.distances import Embeddings, check_comparable, distance_rows
from training.metrics import Labels, RankMetrics, judge_rows
from training.records import Record
from zoo.errors import UserError

TRACK_FILE = "test_track.txt"
"""VeRi's own list, one track a line: the names of its images."""

MAX_GAP = 250
"""Frames between two images of one drive, where tracks are told by frame numbers: 10 s at 25 a second."""

_log = logging.getLogger(__name__)


def evaluate_tracks(
    query: np.ndarray,
    gallery: np.ndarray,
    query_records: Sequence[Record],
    gallery_records: Sequence[Record],
    metric: str = "euclidean",
) -> RankMetrics:
    """Judge the search for tracks by the embeddings of queries, [Q, D], and gallery, [G, D].

    Raises:
        ValueError: shapes that do not fit, an unknown metric, or an embedding that is not finite.
        UserError: the data set's list of tracks cannot be used.
    """
    check_comparable(query, gallery)
    tracks = track_numbers(gallery_records)
    # Images of one track side by side, so that a track's minimum is that of a stretch.
    order = np.argsort(tracks, kind="stable")
    starts = np.flatnonzero(np.diff(tracks[order], prepend=-1))
    first = [gallery_records[index] for index in order[starts]]
    labels = Labels(
        *(np.array([r.vehicle_id for r in records]) for records in (query_records, first)),
        *(np.array([r.camera_id for r in records]) for records in (query_records, first)),
    )
    rows = distance_rows(Embeddings(query, metric), Embeddings(gallery, metric))
    return judge_rows((np.minimum.reduceat(row[order], starts) for row in rows), labels)


def track_numbers(records: Sequence[Record]) -> np.ndarray:
    """Number the tracks of a gallery from 0, in the order of their first images: int64 [G].

    Told by the records where they know, else by the data set's list, else by frame numbers: images of one
    vehicle at one camera no more than `MAX_GAP` frames apart belong together.

    Raises:
        UserError: the list of tracks is of another data set, or mixes vehicles or cameras in a track.
    """
    listed = records[0].path.parent.parent / TRACK_FILE if records else Path(TRACK_FILE)
    keys: list[object]
    if all(record.track is not None for record in records):
        keys = [(record.vehicle_id, record.camera_id, record.track) for record in records]
    elif listed.is_file():
        keys = _listed_tracks(records, listed)
    else:
        keys = list(_tracks_by_frame(records))
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def _tracks_by_frame(records: Sequence[Record]) -> Iterator[tuple[int, int, int]]:
    """Vehicle, camera, and how many drives of that vehicle past that camera were before."""
    order = sorted(range(len(records)), key=lambda i: _place(records[i]))
    drives = np.zeros(len(records), np.int64)
    for before, after in pairwise(order):
        old, new = records[before], records[after]
        if _place(old)[:2] == _place(new)[:2]:
            drives[after] = drives[before] + (new.frame - old.frame > MAX_GAP)
    for record, drive in zip(records, drives, strict=True):
        yield record.vehicle_id, record.camera_id, int(drive)


def _place(record: Record) -> tuple[int, int, int]:
    return record.vehicle_id, record.camera_id, record.frame


def _listed_tracks(records: Sequence[Record], path: Path) -> list[object]:
    """The line number of each image; an image that no line names is a track of its own."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no list of tracks can be read there ({error}); copy it again") from error
    lines_of = {name: number for number, line in enumerate(lines, start=1) for name in line.split()}
    found: dict[int, Record] = {}
    keys: list[object] = []
    for record in records:
        number = lines_of.get(record.path.name)
        keys.append(record.path.name if number is None else number)
        if number is None:
            continue
        other = found.setdefault(number, record)
        if _place(other)[:2] != _place(record)[:2]:
            raise UserError(
                f"{path}:{number}: {other.path.name} and {record.path.name} are of different vehicles or "
                "cameras; a track is of one vehicle at one camera: copy the list again"
            )
    if not found:
        raise UserError(
            f"{path}: names none of the {len(records)} gallery images; is it another data set's? Copy it "
            "again, or remove it to tell tracks by frame numbers"
        )
    alone = sum(isinstance(key, str) for key in keys)
    if alone:
        _log.warning("%s: %d gallery images are in no track and count as tracks of their own", path, alone)
    return keys
