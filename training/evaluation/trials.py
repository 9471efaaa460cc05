"""Searches whose answer is known, made up of labelled embeddings.

Each has a query, a gallery of some size of other vehicles, and, but for the share of absent ones, pictures of
the query's vehicle by other cameras.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from training.evaluation.distances import Embeddings, distance_rows
from zoo.sameness import COHORT

ABSENT = 0.2
"""Share of the queries whose vehicle the gallery does not have."""

RESULTS = 20
"""Of each search; a page shows as many."""

MOST_ASKING = 10_000
"""Pictures that calibration compares with all; a row for each more takes memory and tells little."""

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
        redundancy: how many images of a vehicle the gallery has, as one of its images sees it.
    """

    count: int
    cohort: np.ndarray
    is_present: bool
    distances: np.ndarray
    is_same: np.ndarray
    stranger: float
    vehicles: tuple[int, int]
    redundancy: float


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


def spread_over_vehicles(vehicles: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """The places of at most so many pictures, of as many vehicles as there are: int64 [Q]."""
    order = rng.permutation(len(vehicles))
    counts: dict[int, int] = {}
    turn = np.zeros(len(order), np.int64)
    for place in order:
        turn[place] = counts.setdefault(int(vehicles[place]), 0)
        counts[int(vehicles[place])] += 1
    return order[np.argsort(turn[order], kind="stable")][:most]


def make_trials(
    pictures: Pictures,
    rng: np.random.Generator,
    count: int,
    sizes: Sequence[int] = (),
    absent: float = ABSENT,
    redundancy: Callable[[np.ndarray], float] | None = None,
    each: int | None = None,
) -> list[Trial]:
    """Make searches up.

    Args:
        pictures: of vehicles that training never saw.
        rng: chooses queries and galleries.
        count: trials wanted.
        sizes: of the galleries; empty for all from 10 images on, evenly in their logarithm.
        absent: share of the queries whose vehicle is left out of the gallery.
        redundancy: tells it of a gallery's pictures by their places; None for what their labels say.
        each: pictures of every vehicle in a gallery; None for one to eight by chance.
    """
    of = by_vehicle(pictures.vehicles)
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
        most = draw_most(rng, size, len(of) - 1, each)
        own = rng.permutation(own)[:most] if is_present else own[:0]
        gallery = np.append(own, draw_gallery(of, rng, size, most, without=vehicle)[: size - len(own)])
        apart = pictures.distances[row, gallery]
        nearest = gallery[int(apart.argmin())]
        pair = int(pictures.vehicles[query]), int(pictures.vehicles[nearest])
        seen = redundancy_of(pictures.vehicles[gallery]) if redundancy is None else redundancy(gallery)
        trials.append(_trial(apart, len(own), pair, seen))
    return trials


def redundancy_of(vehicles: np.ndarray) -> float:
    """How many pictures the vehicle of a picture has on average."""
    counts = np.unique(vehicles, return_counts=True)[1]
    return float((counts**2).sum() / counts.sum())


def by_vehicle(vehicles: np.ndarray) -> np.ndarray:
    """The rows of each vehicle's pictures, int64 [V, P], filled up with `_NONE`."""
    rows = [np.flatnonzero(vehicles == name) for name in np.unique(vehicles)]
    table = np.full((len(rows), max(map(len, rows))), _NONE, np.int64)
    for number, row in enumerate(rows):
        table[number, : len(row)] = row
    return table


def draw_most(rng: np.random.Generator, size: int, vehicles: int, each: int | None = None) -> int:
    """Pictures of each vehicle in a gallery: `each`, or one to eight, more where there would be too few."""
    most = int(rng.integers(1, _MOST_PICTURES + 1)) if each is None else each
    return max(most, -(-size // vehicles))


def draw_gallery(
    of: np.ndarray, rng: np.random.Generator, size: int, most: int, without: int = _NONE
) -> np.ndarray:
    """The places of a gallery's pictures.

    Args:
        of: see `by_vehicle`.
        rng: chooses vehicles and pictures.
        size: pictures wanted; fewer where there are no more.
        most: pictures of each vehicle.
        without: the row of a vehicle that is left out.
    """
    order = rng.permutation(len(of))
    order = order[order != without]
    # Rows fill up from the left: with whole last ones, as many vehicles as are needed will do.
    if (of[:, -1] != _NONE).all():
        order = order[: -(-size // min(most, of.shape[1]))]
    found = of[order][:, rng.permutation(of.shape[1])[:most]].ravel()
    return found[found != _NONE][:size]


def _trial(distances: np.ndarray, own: int, vehicles: tuple[int, int], redundancy: float) -> Trial:
    """Of distances to a gallery whose first `own` images show the query's vehicle."""
    is_same = np.arange(len(distances)) < own
    nearest = np.argpartition(distances, min(RESULTS, len(distances)) - 1)[:RESULTS]
    order = nearest[np.argsort(distances[nearest], kind="stable")]
    sample = distances[np.linspace(0, len(distances) - 1, min(COHORT, len(distances))).astype(int)]
    others = distances[own:]
    stranger = float(others.min()) if len(others) else float("inf")
    return Trial(
        len(distances),
        sample,
        own > 0,
        distances[order].astype(float),
        is_same[order],
        stranger,
        vehicles,
        redundancy,
    )
