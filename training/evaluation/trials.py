"""Searches whose answer is known, made up of labelled embeddings.

Each has a query, a gallery of some size of other vehicles, and, but for the share of absent ones, pictures of
the query's vehicle by other cameras.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.evaluation.distances import Embeddings, distance_rows
from zoo.sameness import COHORT

ABSENT = 0.2
"""Share of the queries whose vehicle the gallery does not have."""

RESULTS = 20
"""Of each search; a page shows as many."""

_SMALLEST = 10
_NONE = -1
_MOST_PICTURES = 8
"""Of one vehicle in a gallery."""


@dataclass(frozen=True)
class Trial:
    """A search whose answer is known.

    Attributes:
        count: images searched.
        cohort: distances [M] to a sample of them.
        is_present: whether one of them shows the query's vehicle.
        distances: of the nearest, ascending, [K].
        is_same: whether they show it, bool [K].
        stranger: the distance of the nearest that does not.
        vehicles: the query's, and the one that the nearest image shows.
    """

    count: int
    cohort: np.ndarray
    is_present: bool
    distances: np.ndarray
    is_same: np.ndarray
    stranger: float
    vehicles: tuple[int, int]


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures, and how far the Q of them that may be queries are from all N.

    Attributes:
        distances: float32 [Q, N].
        vehicles, cameras: int64 [N].
        asking: the places of the queries among all, int64 [Q].
    """

    distances: np.ndarray
    vehicles: np.ndarray
    cameras: np.ndarray
    asking: np.ndarray

    @classmethod
    def of(
        cls,
        embeddings: np.ndarray,
        vehicles: np.ndarray,
        cameras: np.ndarray,
        metric: str,
        asking: np.ndarray | None = None,
    ) -> "Pictures":
        """Compare those that ask, or all, with all of embeddings [N, D]."""
        compared = Embeddings(embeddings, metric)
        asking = np.arange(len(compared)) if asking is None else asking
        queries = Embeddings(embeddings[asking], metric)
        distances = np.empty((len(asking), len(compared)), np.float32)
        for number, row in enumerate(distance_rows(queries, compared)):
            apart = np.maximum(row + queries.squares[number], 0)
            distances[number] = apart / 2 if metric == "cosine" else np.sqrt(apart)
        return cls(distances, vehicles, cameras, asking)

    def only(self, vehicles: np.ndarray) -> "Pictures":
        """Those of some vehicles, where all may be queries."""
        kept = np.isin(self.vehicles, vehicles)
        asked = kept[self.asking]
        places = np.cumsum(kept) - 1
        return Pictures(
            self.distances[np.ix_(asked, kept)],
            self.vehicles[kept],
            self.cameras[kept],
            places[self.asking[asked]],
        )

    def asked_by(self, vehicles: np.ndarray) -> "Pictures":
        """All of them, where only those of some vehicles may be queries."""
        asked = np.isin(self.vehicles[self.asking], vehicles)
        return Pictures(self.distances[asked], self.vehicles, self.cameras, self.asking[asked])


def make_trials(
    pictures: Pictures,
    rng: np.random.Generator,
    count: int,
    sizes: Sequence[int] = (),
    absent: float = ABSENT,
) -> list[Trial]:
    """Make searches up.

    Args:
        pictures: of vehicles that training never saw.
        rng: chooses queries and galleries.
        count: trials wanted.
        sizes: of the galleries; empty for all from 10 images on, evenly in their logarithm.
        absent: share of the queries whose vehicle is left out of the gallery.
    """
    of = _by_vehicle(pictures.vehicles)
    place = {int(pictures.vehicles[row[0]]): number for number, row in enumerate(of)}
    largest = len(pictures.vehicles) - of.shape[1]
    smallest = min(_SMALLEST, largest)
    trials: list[Trial] = []
    while len(trials) < count:
        row = int(rng.integers(len(pictures.asking)))
        query = int(pictures.asking[row])
        vehicle = place[int(pictures.vehicles[query])]
        own = of[vehicle][of[vehicle] != _NONE]
        own = own[pictures.cameras[own] != pictures.cameras[query]]
        is_present = bool(rng.random() >= absent)
        if is_present and not len(own):
            continue
        size = (
            int(rng.choice(sizes)) if len(sizes) else round(smallest * (largest / smallest) ** rng.random())
        )
        most = int(rng.integers(1, _MOST_PICTURES + 1))
        own = rng.permutation(own)[:most] if is_present else own[:0]
        others = np.delete(rng.permutation(of, axis=1), vehicle, axis=0)
        # As many of every other one, or more where there would be too few for the gallery.
        others = rng.permutation(others)[:, : max(most, -(-size // len(others)))].ravel()
        gallery = np.append(own, others[others != _NONE][: size - len(own)])
        apart = pictures.distances[row, gallery]
        nearest = gallery[int(apart.argmin())]
        pair = int(pictures.vehicles[query]), int(pictures.vehicles[nearest])
        trials.append(_trial(apart, len(own), pair))
    return trials


def _by_vehicle(vehicles: np.ndarray) -> np.ndarray:
    """The rows of each vehicle's pictures, int64 [V, P], filled up with `_NONE`."""
    rows = [np.flatnonzero(vehicles == name) for name in np.unique(vehicles)]
    table = np.full((len(rows), max(map(len, rows))), _NONE, np.int64)
    for number, row in enumerate(rows):
        table[number, : len(row)] = row
    return table


def _trial(distances: np.ndarray, own: int, vehicles: tuple[int, int]) -> Trial:
    """Of distances to a gallery whose first `own` images show the query's vehicle."""
    is_same = np.arange(len(distances)) < own
    nearest = np.argpartition(distances, min(RESULTS, len(distances)) - 1)[:RESULTS]
    order = nearest[np.argsort(distances[nearest], kind="stable")]
    sample = distances[np.linspace(0, len(distances) - 1, min(COHORT, len(distances))).astype(int)]
    others = distances[own:]
    stranger = float(others.min()) if len(others) else float("inf")
    return Trial(
        len(distances), sample, own > 0, distances[order].astype(float), is_same[order], stranger, vehicles
    )
