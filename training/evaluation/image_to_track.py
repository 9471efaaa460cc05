"""Image-to-track search, VeRi's HIT protocol: what is found are drives past a camera, not single images.

A query image is searched among the tracks of the gallery, each as near as its nearest image; tracks of the
query's own vehicle and camera are junk (Liu et al., PROVID, IEEE Transactions on Multimedia 2018). HIT@k is
the share of queries with a right track among their first `k`, and the mAP is over tracks.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from training.datasets.records import Record
from training.evaluation.distances import Embeddings, check_comparable, distance_rows
from training.evaluation.metrics import Labels, RankMetrics, judge_rows

MAX_GAP = 250
"""Frames between two images of one drive, where tracks are told by frame numbers: 10 s at 25 a second."""


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
    """
    check_comparable(query, gallery)
    tracks = track_numbers(gallery_records)
    # Images of one track side by side, so that a track's minimum is that of a stretch.
    order = np.argsort(tracks, kind="stable")
    starts = np.flatnonzero(np.diff(tracks[order], prepend=-1))
    first = [gallery_records[index] for index in order[starts]]
    labels = Labels.of(query_records, first)
    rows = distance_rows(Embeddings(query, metric), Embeddings(gallery, metric))
    return judge_rows((np.minimum.reduceat(row[order], starts) for row in rows), labels)


def track_numbers(records: Sequence[Record]) -> np.ndarray:
    """Number the tracks of a gallery from 0, in the order of their first images: int64 [G].

    Told by the records where they know, else by frame numbers: images of one vehicle at one camera no more
    than `MAX_GAP` frames apart belong together.
    """
    by_frame = _tracks_by_frame([record for record in records if record.track is None])
    numbers: dict[tuple[int, int, int, bool], int] = {}
    found = np.empty(len(records), np.int64)
    for index, record in enumerate(records):
        known = record.track is not None
        track = record.track if record.track is not None else next(by_frame)
        key = (record.vehicle_id, record.camera_id, track, known)
        found[index] = numbers.setdefault(key, len(numbers))
    return found


def _tracks_by_frame(records: Sequence[Record]) -> Iterator[int]:
    """For each record, how many drives of its vehicle past its camera were before."""
    order = sorted(range(len(records)), key=lambda i: _place(records[i]))
    drives = np.zeros(len(records), np.int64)
    for before, after in pairwise(order):
        old, new = records[before], records[after]
        if _place(old)[:2] == _place(new)[:2]:
            drives[after] = drives[before] + (new.frame - old.frame > MAX_GAP)
    return iter(drives.tolist())


def _place(record: Record) -> tuple[int, int, int]:
    return record.vehicle_id, record.camera_id, record.frame
