"""What speaks for two passes being of one vehicle: log-likelihood ratios, learned without labels."""

import numpy as np

_STEP = 0.05
_KERNEL = np.exp(-0.5 * (np.arange(-12, 13) / 4.0) ** 2)
"""Of travel times: a standard deviation of 0.2 in their logarithm."""
_DOUBT = 5.0
"""Links, as many as which have to speak for a way before its travel times count for half."""
_TAIL = 4
"""Pairs for each that may be of one vehicle from which the tail of the strangers is read."""
_MOST = 6.0
"""No evidence counts for more: nothing is as sure as 400 to 1."""


class Strangers:
    """How alike passes of different vehicles look, as the upper tail of the likenesses of all pairs.

    The tail is held to be exponential. At most one candidate of a pass at a camera is the vehicle itself. So
    as many pairs as there are passes with candidates at a camera may be of one vehicle, those that look most
    alike. Until something is believed, the next ones tell how the tail falls.

    Args:
        look: of the pairs that look most alike, float64 [M].
        groups: how often a pass has candidates at a camera.
        possible: pairs in all.
    """

    def __init__(self, look: np.ndarray, groups: int, possible: int) -> None:
        falling = -np.sort(-look)
        last = min(_TAIL * groups, (len(look) + 1) // 2) - 1
        first = min(groups, last // 2)
        self._from = falling[last]
        self._possible = possible
        self._is_tail = look >= self._from
        self._above = np.maximum(look - self._from, 0)
        # The mean excess of an exponential tail of which the upper part is not looked at.
        between = falling[first : last + 1] - self._from
        excess = float(between.sum()) + first * float(between[0])
        self._length = max(excess / len(between), 1e-6)
        self._share = (last + 1) / possible

    def learn(self, belief: np.ndarray) -> None:
        """From the pairs of the tail that are not believed to be of one vehicle; belief is float64 [M]."""
        weight = np.where(self._is_tail, 1 - belief, 0.0)
        count = max(float(weight.sum()), 1.0)
        self._length = max(float(weight @ self._above) / count, 1e-6)
        self._share = count / self._possible

    def log_density(self, look: np.ndarray) -> np.ndarray:
        """Of the tail; below it, that of its beginning."""
        above = np.maximum(look - self._from, 0)
        return np.asarray(np.log(self._share / self._length) - above / self._length)


def look_evidence(look: np.ndarray, strangers: Strangers, belief: np.ndarray) -> np.ndarray:
    """Of how alike passes look; the likeness within vehicles is normal, of the mean that is believed in.

    Args:
        look: float64 [M].
        strangers: how alike different vehicles look.
        belief: the probability of each pair, float64 [M].
    """
    weight = belief / max(float(belief.sum()), 1e-9)
    mean = float(weight @ look)
    # Whoever believes in few pairs does not know how they scatter.
    spread = max(float(np.sqrt(weight @ np.square(look - mean))), 0.25 * float(look.std()), 1e-6)

    def ratio(values: np.ndarray) -> np.ndarray:
        normal = -0.5 * np.square((values - mean) / spread) - np.log(spread * np.sqrt(2 * np.pi))
        return np.asarray(normal - strangers.log_density(values))

    grid = np.linspace(look.min(), look.max(), 256)
    # More alike never speaks against.
    rising = np.maximum.accumulate(ratio(grid))
    return np.asarray(np.clip(np.interp(look, grid, rising), -_MOST, _MOST))


def travel_evidence(travel: np.ndarray, way: np.ndarray, belief: np.ndarray, within: float) -> np.ndarray:
    """Of the time between passes, for each ordered pair of cameras by itself.

    The travel times that are believed in are held against those of all pairs, in histograms of their
    logarithm. A pair does not speak for itself. Where few pairs are believed in, nothing is said.

    Args:
        travel: seconds, float64 [M].
        way: the number of the ordered pair of cameras, int64 [M].
        belief: the probability of each pair, float64 [M].
        within: seconds, the longest travel time.
    """
    ways, row = np.unique(way, return_inverse=True)
    column = (np.log1p(travel) / _STEP).astype(np.int64)
    shape = (len(ways), int(np.log1p(within) / _STEP) + 1)
    believed, everything = np.zeros(shape), np.zeros(shape)
    np.add.at(believed, (row, column), belief)
    np.add.at(everything, (row, column), 1.0)
    believed, everything = _smooth(believed), _smooth(everything) + 1e-3
    own = belief * _KERNEL.max() / _KERNEL.sum()
    mass = np.bincount(row, belief, len(ways))[row] - belief
    count = np.bincount(row, minlength=len(ways))[row]
    near = np.maximum(believed[row, column] - own, 0) / np.maximum(mass, 1e-9)
    far = everything[row, column] / count
    share = mass / (mass + _DOUBT)
    return np.asarray(np.clip(np.log(share * near / far + 1 - share), -_MOST, _MOST))


def _smooth(histograms: np.ndarray) -> np.ndarray:
    kernel = _KERNEL / _KERNEL.sum()
    padded = np.pad(histograms, ((0, 0), (len(kernel) // 2, len(kernel) // 2)))
    return np.array([np.convolve(row, kernel, "valid") for row in padded])
