"""What the report tells beyond the figures, gathered in one pass over the distances, a block at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.datasets.records import Record
from training.evaluation.distances import Embeddings, distance_rows
from training.evaluation.metrics import Labels, match_ranks_of_distances
from training.evaluation.protocol import Embedded

FINE_BINS = 4096
"""That distances are counted in before their range is known."""

MAX_CAMERAS = 24
"""In the matrix; of more, those with the most queries."""


@dataclass(frozen=True)
class Distances:
    """Counted distances of query to gallery images, junk left out.

    Attributes:
        edges: float64 [bins + 1].
        same: int64 [bins], pairs of one vehicle at two cameras.
        different: int64 [bins], pairs of two vehicles.
    """

    edges: np.ndarray
    same: np.ndarray
    different: np.ndarray

    def equal_error(self) -> tuple[float, float]:
        """The distance at which as many same pairs are taken for different as different ones for same, and
        that share; NaN where either kind has no pair."""
        if not (self.same.sum() and self.different.sum()):
            return float("nan"), float("nan")
        missed = 1 - np.cumsum(self.same) / self.same.sum()
        alarmed = np.cumsum(self.different) / self.different.sum()
        at = int(np.abs(missed - alarmed).argmin())
        return float(self.edges[at + 1]), float((missed[at] + alarmed[at]) / 2)

    def coarse(self, bins: int) -> "Distances":
        """In `bins` bins over the range in which nearly all pairs of either kind lie."""
        total = np.stack([self.same, self.different]).cumsum(1)
        filled = total[:, -1] > 0
        shares = total[filled] / total[filled, -1:]
        if not len(shares):
            return self
        low = int((shares > 0.0005).argmax(1).min())
        high = int((shares >= 0.9995).argmax(1).max()) + 1
        step = -(-(high - low) // bins)
        starts = np.arange(low, high, step)
        ends = np.minimum(starts + step, len(self.same))
        same, different = (
            np.array([kind[a:b].sum() for a, b in zip(starts, ends, strict=True)])
            for kind in (self.same, self.different)
        )
        return Distances(np.append(self.edges[starts], self.edges[ends[-1]]), same, different)


@dataclass(frozen=True)
class CameraPairs:
    """mAP of the queries of one camera (row), searched in the images of another (column) alone.

    Attributes:
        cameras: ids.
        precision: float64 [C, C]; NaN where no query has a match there.
        count: int64 [C, C], queries with a match there.
        num_left_out: cameras that there is no room for.
    """

    cameras: tuple[int, ...]
    precision: np.ndarray
    count: np.ndarray
    num_left_out: int


@dataclass(frozen=True)
class Analysis:
    """Attributes: `nearest_other` is each query's distance to the nearest gallery image of another vehicle,
    float64 [Q], NaN where there is none."""

    distances: Distances
    nearest_other: np.ndarray
    camera_pairs: CameraPairs


@dataclass(frozen=True)
class Group:
    """Queries that have something in common: their mAP (NaN for none), and how many they are."""

    name: str
    precision: float
    count: int


def column(records: Sequence[Record], name: str) -> np.ndarray:
    """One field of all records, int64 [N]."""
    return np.array([getattr(record, name) for record in records], np.int64)


def analyse(found: Embedded) -> Analysis:
    """Look at every query's distances once."""
    asked = Embeddings(found.query.embedding, found.metric)
    known = Embeddings(found.gallery.embedding, found.metric)
    labels = Labels.of(found.query_records, found.gallery_records)
    farthest = np.sqrt(asked.squares.max(initial=0.0)) + np.sqrt(known.squares.max(initial=0.0))
    edges = np.linspace(0.0, max(float(farthest), 1e-12), FINE_BINS + 1)
    same, different = np.zeros(FINE_BINS, np.int64), np.zeros(FINE_BINS, np.int64)
    nearest = np.full(len(asked), np.nan)
    pairs = _CameraPairs(labels)
    for index, (row, (matches, junk)) in enumerate(
        zip(distance_rows(asked, known), labels.matches_and_junk(), strict=True)
    ):
        np.add(row, asked.squares[index], out=row)
        np.sqrt(np.maximum(row, 0.0, out=row), out=row)
        counts = _counted(row, edges)
        own = _counted(row[matches], edges)
        same += own
        different += counts - own - _counted(row[junk], edges)
        pairs.add(index, row, matches)
        row[matches] = row[junk] = np.inf
        least = row.min(initial=np.inf)
        nearest[index] = least if np.isfinite(least) else np.nan
    return Analysis(Distances(edges, same, different), nearest, pairs.conclude())


def _counted(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    index = np.minimum((values * (FINE_BINS / edges[-1])).astype(np.int64), FINE_BINS - 1)
    return np.bincount(index, minlength=FINE_BINS)


class _CameraPairs:
    """Gathers average precisions by the camera of the query and the camera that is searched."""

    def __init__(self, labels: Labels) -> None:
        cameras, counts = np.unique(labels.query_cameras, return_counts=True)
        seen = np.unique(np.concatenate([labels.query_cameras, labels.gallery_cameras]))
        often = dict(zip(cameras.tolist(), counts.tolist(), strict=True))
        chosen = sorted(seen.tolist(), key=lambda camera: (-often.get(camera, 0), camera))[:MAX_CAMERAS]
        self.cameras = tuple(sorted(chosen))
        self.num_left_out = len(seen) - len(chosen)
        self.labels = labels
        self.rows = {camera: row for row, camera in enumerate(self.cameras)}
        self.images = {camera: np.flatnonzero(labels.gallery_cameras == camera) for camera in self.cameras}
        self.sums = np.zeros((len(self.cameras),) * 2)
        self.counts = np.zeros((len(self.cameras),) * 2, np.int64)

    def add(self, query: int, distances: np.ndarray, matches: np.ndarray) -> None:
        row = self.rows.get(int(self.labels.query_cameras[query]))
        if row is None:
            return
        where = self.labels.gallery_cameras[matches]
        for camera in np.unique(where).tolist():
            if camera not in self.rows:
                continue
            images = self.images[camera]
            own = np.searchsorted(images, matches[where == camera])
            ranks = match_ranks_of_distances(distances[images], own, np.empty(0, np.int64))
            self.sums[row, self.rows[camera]] += np.mean(np.arange(1, len(ranks) + 1) / (ranks + 1.0))
            self.counts[row, self.rows[camera]] += 1

    def conclude(self) -> CameraPairs:
        with np.errstate(invalid="ignore"):
            precision = self.sums / self.counts
        return CameraPairs(self.cameras, precision, self.counts, self.num_left_out)


def groups_by_class(precision: np.ndarray, labels: Sequence[str]) -> list[Group]:
    """mAP by labelled class, for the classes that queries with a match have; an empty label is none."""
    classes = np.array(labels, object)
    judged = ~np.isnan(precision) & (classes != "")
    members = {name: precision[judged & (classes == name)] for name in sorted(set(classes[judged]))}
    return [Group(name, float(values.mean()), len(values)) for name, values in members.items()]


def groups_by_look_alike(precision: np.ndarray, nearest: np.ndarray, bins: int = 5) -> list[Group]:
    """mAP by the distance to the nearest look-alike, in bins of about as many queries each."""
    judged = np.flatnonzero(~np.isnan(precision) & ~np.isnan(nearest))
    parts = np.array_split(judged[np.argsort(nearest[judged], kind="stable")], bins)
    return [
        Group(f"{nearest[part[0]]:.3g} to {nearest[part[-1]]:.3g}", float(precision[part].mean()), len(part))
        for part in parts
        if len(part)
    ]
