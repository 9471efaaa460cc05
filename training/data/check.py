"""What a data set holds, and what looks wrong in it: duplicates, labels that contradict each other."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from training.data.images import load_resized_quickly
from training.datasets.records import Record
from zoo.errors import UserError

THUMBNAIL = (16, 16)
"""(height, width) at which pictures are compared."""

NEAR = 4.0
"""Root mean square difference in brightness levels, of thumbnails of equal mean, up to which two pictures are
nearly the same."""

_FLAT = 4.0
"""Standard deviation of a thumbnail's brightness below which nothing is to be seen in it."""


@dataclass(frozen=True)
class Pictures:
    """What was found in the files themselves.

    Attributes:
        unreadable: a sentence for each file that is no picture.
        exact: groups of files with equal bytes.
        near: pairs of files that look nearly the same and are not equal.
    """

    unreadable: list[str]
    exact: list[list[Path]]
    near: list[tuple[Path, Path]]


def count(records: Sequence[Record]) -> dict[str, Any]:
    """Count one split's images, vehicles, cameras and labels."""
    vehicles = Counter(record.vehicle_id for record in records)
    return {
        "images": len(records),
        "vehicles": len(vehicles),
        "images_per_vehicle": [
            min(vehicles.values()),
            int(np.median(list(vehicles.values()))),
            max(vehicles.values()),
        ],
        "cameras": {
            str(camera): number
            for camera, number in sorted(Counter(record.camera_id for record in records).items())
        },
        "tracks": len({record.track for record in records if record.track is not None}),
        "with_keypoints": sum(record.keypoints is not None for record in records),
        "colors": _labels(record.color for record in records),
        "types": _labels(record.type for record in records),
    }


def _labels(names: Iterable[str]) -> dict[str, int]:
    """How often each name occurs, the most frequent first; the empty one for what is not labelled."""
    return dict(Counter(names).most_common())


def seen_by_one_camera(records: Iterable[Record]) -> list[int]:
    """The vehicles that only one camera saw: none of their pictures can be found from another camera."""
    cameras: dict[int, set[int]] = defaultdict(set)
    for record in records:
        cameras[record.vehicle_id].add(record.camera_id)
    return sorted(vehicle for vehicle, seen in cameras.items() if len(seen) == 1)


def without_match(query: Iterable[Record], gallery: Iterable[Record]) -> list[Path]:
    """The queries whose vehicle no other camera of the gallery saw."""
    cameras: dict[int, set[int]] = defaultdict(set)
    for record in gallery:
        cameras[record.vehicle_id].add(record.camera_id)
    return [record.path for record in query if not cameras[record.vehicle_id] - {record.camera_id}]


def contradictions(records: Iterable[Record], attribute: str) -> dict[int, dict[str, list[Path]]]:
    """The vehicles that are labelled with two colours or types: vehicle -> name -> files."""
    looks: dict[int, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if name := getattr(record, attribute):
            looks[record.vehicle_id][name].append(record.path)
    return {vehicle: dict(names) for vehicle, names in sorted(looks.items()) if len(names) > 1}


def compare_pictures(paths: Sequence[Path], threads: int = 2) -> Pictures:
    """Read all files, and find those that are equal or look so.

    Args:
        paths: files, each once.
        threads: that decode.
    """
    found: list[tuple[str, np.ndarray] | str] = []
    with ThreadPoolExecutor(threads) as pool:
        found += tqdm(pool.map(_read, paths), "read", len(paths), leave=False, unit="img")
    unreadable = [result for result in found if isinstance(result, str)]
    read = [(path, *result) for path, result in zip(paths, found, strict=True) if not isinstance(result, str)]
    groups: dict[str, list[Path]] = defaultdict(list)
    for path, digest, _ in read:
        groups[digest].append(path)
    # One of each group of equal files stands for it.
    once = list({digest: (path, thumbnail) for path, digest, thumbnail in reversed(read)}.values())[::-1]
    pairs = _near_pairs(np.array([thumbnail for _, thumbnail in once], np.float32)) if once else ()
    near = [(once[i][0], once[j][0]) for i, j in pairs]
    return Pictures(unreadable, [group for group in groups.values() if len(group) > 1], near)


def _read(path: Path) -> tuple[str, np.ndarray] | str:
    """A file's digest and its gray thumbnail, float32 [256] of mean 0; or what is wrong with it."""
    try:
        (pixels,), _ = load_resized_quickly(path, [THUMBNAIL])
        gray = np.asarray(pixels, np.float32).mean(2).ravel()
        return hashlib.sha256(path.read_bytes()).hexdigest(), gray - gray.mean()
    except UserError as error:
        return str(error)
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror or error})"


def _near_pairs(thumbnails: np.ndarray, block: int = 1024) -> Iterator[tuple[int, int]]:
    """Pairs i < j of rows of [N, P] that differ by at most `NEAR`; flat ones are left out."""
    kept = np.flatnonzero(thumbnails.std(1) >= _FLAT)
    points = thumbnails[kept]
    squares = np.square(points).sum(1)
    limit = NEAR**2 * points.shape[1]
    for start in range(0, len(points), block):
        part = slice(start, start + block)
        apart = squares[part, None] + squares[None, start:] - 2 * points[part] @ points[start:].T
        for i, j in zip(*np.nonzero(apart <= limit), strict=True):
            if i < j:
                yield int(kept[start + i]), int(kept[start + j])


def of_two_vehicles(groups: Iterable[Sequence[Path]], vehicles: Mapping[Path, int]) -> list[Sequence[Path]]:
    """Those groups of files that are labelled as more than one vehicle."""
    return [group for group in groups if len({vehicles[path] for path in group}) > 1]


def strangers(embeddings: np.ndarray, records: Sequence[Record]) -> list[tuple[Path, Path, float]]:
    """The pictures that are like another vehicle's and unlike all of their own.

    Args:
        embeddings: [N, D] of the records, of length 1.
        records: the images.

    Returns:
        File, the nearest file of another vehicle, and by how much nearer it is than the nearest one of its
        own, in cosine similarity; the worst first.
    """
    vehicles = np.array([record.vehicle_id for record in records])
    found = []
    # Of length 1, their cosines differ by half of what their squared distances differ by; about their mean,
    # float32 tells those apart however close together all of them lie.
    points = (embeddings - embeddings.mean(0, dtype=np.float64)).astype(embeddings.dtype)
    halves = np.square(points).sum(1) / 2
    for start in range(0, len(records), 1024):
        likeness = points[start : start + 1024] @ points.T - halves
        rows = np.arange(len(likeness))
        likeness[rows, start + rows] = -np.inf
        same = vehicles[start : start + 1024, None] == vehicles
        own = np.where(same, likeness, -np.inf).max(1)
        others = np.where(same, -np.inf, likeness)
        nearest = others.argmax(1)
        margins = others[rows, nearest] - own
        for row in np.flatnonzero(np.isfinite(margins) & (margins > 0)).tolist():
            found.append((records[start + row].path, records[int(nearest[row])].path, float(margins[row])))
    return sorted(found, key=lambda item: -item[2])
