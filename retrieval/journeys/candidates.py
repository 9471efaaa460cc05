"""Pairs of passes that may be of one vehicle: of two cameras, one after the other, and not too fast."""

from dataclasses import dataclass, fields

import numpy as np

from retrieval.gallery.geography import metres_between
from retrieval.journeys.passes import Passes
from zoo.camera_means import CameraSums
from zoo.camera_traffic import traffic_warning

_BLOCK = 256
_KEPT = 20
"""Candidates of a pass at one other camera, at most: those that look most alike."""
_VIEW = 50.0
"""Metres that a camera may see a vehicle nearer to another camera than it stands itself."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """M pairs of passes.

    Attributes:
        earlier, later: rows of the passes, int64 [M].
        look: how alike they look, float64 [M]; higher is more alike, in no unit.
        class_match: logarithm of how much likelier their colours and types are those of one vehicle than of
            two, float64 [M].
        travel: seconds between them, float64 [M].
        ahead: of each pair, how many passes of the later one's camera may follow the earlier one, int64 [M].
        behind: how many passes of the earlier one's camera the later one may follow, int64 [M].
    """

    earlier: np.ndarray
    later: np.ndarray
    look: np.ndarray
    class_match: np.ndarray
    travel: np.ndarray
    ahead: np.ndarray
    behind: np.ndarray

    def of(self, rows: np.ndarray) -> "Pairs":
        """Some of them."""
        return Pairs(*(getattr(self, field.name)[rows] for field in fields(self)))


def find_pairs(passes: Passes, metric: str, within: float, fastest: float) -> Pairs:
    """The pairs that are possible; of many alike at one camera, the most alike.

    Args:
        passes: in order of time.
        metric: of the embeddings.
        within: seconds, the longest time between two passes.
        fastest: metres a second, along the straight line.
    """
    vectors = comparable(passes, metric)
    cameras, camera = np.unique(passes.camera, return_inverse=True)
    behind = np.zeros((len(passes), len(cameras)), np.int64)
    found: list[tuple[np.ndarray, ...]] = []
    for first in range(0, len(passes), _BLOCK):
        rows = np.arange(first, min(first + _BLOCK, len(passes)))
        last = int(np.searchsorted(passes.start, passes.end[rows].max() + within, "right"))
        columns = np.arange(first, last)
        travel = passes.start[columns] - passes.end[rows][:, None]
        possible = (travel > 0) & (travel <= within) & (camera[columns] != camera[rows][:, None])
        apart = metres_between(passes.place[rows][:, None], passes.place[columns]) - _VIEW
        possible &= ~(apart > fastest * travel)
        look = _likeness(vectors[rows], vectors[columns], metric)
        look[~possible] = -np.inf
        for there in range(len(cameras)):
            at = np.flatnonzero(camera[columns] == there)
            ahead = possible[:, at].sum(axis=1)
            behind_here = np.zeros((len(cameras), len(at)), np.int64)
            np.add.at(behind_here, camera[rows], possible[:, at])
            behind[columns[at]] += behind_here.T
            best = np.argsort(-look[:, at], axis=1, kind="stable")[:, :_KEPT]
            row = np.repeat(np.arange(len(rows)), best.shape[1])
            column = at[best.ravel()]
            kept = possible[row, column]
            row, column = row[kept], column[kept]
            found.append((rows[row], columns[column], look[row, column], travel[row, column], ahead[row]))
    if not found:
        return Pairs(*(np.zeros(0, kind) for kind in (int, int, float, float, float, int, int)))
    earlier, later, looks, travels, ahead = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((later, earlier))
    earlier, later = earlier[order], later[order]
    match = _class_match(passes.color_probs, earlier, later) + _class_match(passes.type_probs, earlier, later)
    return Pairs(
        earlier,
        later,
        looks[order],
        match,
        travels[order],
        ahead[order],
        behind[later, camera[earlier]],
    )


def comparable(passes: Passes, metric: str) -> np.ndarray:
    """Embeddings without what they share, float32 [N, D].

    What they share is each camera's mean, or that of all where cameras see different kinds of vehicles.
    """
    cameras = passes.camera
    told = {"type": _classes(passes.type_probs), "colour": _classes(passes.color_probs)}
    if traffic_warning(cameras, told):
        cameras = np.zeros_like(cameras)
    sums = CameraSums(passes.embedding.shape[1]).with_pictures(passes.embedding, cameras)
    return sums.means.centred(passes.embedding, cameras, metric)


def _classes(probabilities: np.ndarray) -> np.ndarray:
    if not probabilities.shape[1]:
        return np.full(len(probabilities), -1)
    return np.asarray(probabilities.argmax(axis=1))


def _likeness(rows: np.ndarray, columns: np.ndarray, metric: str) -> np.ndarray:
    """float64 [M, N]: the cosine, or the negative distance."""
    products: np.ndarray = (rows @ columns.T).astype(np.float64)
    if metric == "cosine":
        return products
    squares = np.square(rows).sum(axis=1)[:, None] + np.square(columns).sum(axis=1) - 2 * products
    return np.asarray(-np.sqrt(np.maximum(squares, 0)))


def _class_match(probabilities: np.ndarray, earlier: np.ndarray, later: np.ndarray) -> np.ndarray:
    """log sum_c p(c) q(c) / P(c), with the share P(c) of the class among all."""
    if not probabilities.shape[1]:
        return np.zeros(len(earlier))
    share = np.maximum(probabilities.mean(axis=0), 0.01)
    ratio = (probabilities[earlier] * probabilities[later] / share).sum(axis=1)
    return np.asarray(np.log(np.maximum(ratio, 0.05)), np.float64)
