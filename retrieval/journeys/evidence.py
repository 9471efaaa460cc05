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
_BELIEVED = 0.5
"""Probability from which on two passes stand for one vehicle when others are held against it."""
_TOGETHER = 0.08
"""What N passes say on average counts N to this power times, because it is surer than what one says."""
_BLOCK = 256


class Strangers:
    """How alike passes of different vehicles look, as the upper tail of the likenesses of all pairs.

    At most one candidate of a pass at a camera is the vehicle itself. So as many pairs as there are passes
    with candidates at a camera may be of one vehicle, those that look most alike. The next ones tell how the
    tail of the strangers falls, which is held to be exponential.

    Args:
        look: of the pairs that look most alike, float64 [M].
        groups: how often a pass has candidates at a camera.
        possible: pairs in all.
    """

    def __init__(self, look: np.ndarray, groups: int, possible: int) -> None:
        falling = -np.sort(-look)
        last = min(_TAIL * groups, len(look)) - 1
        upto, self._from = falling[min(groups, last)], falling[last]
        between = falling[min(groups, last) : last + 1] - self._from
        # The mean excess of an exponential tail of which the upper part is not looked at.
        excess = float(between.sum()) + min(groups, last) * float(upto - self._from)
        self._length = max(excess / len(between), 1e-6)
        self._share = (last + 1) / possible

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


def joint_evidence(
    evidence: np.ndarray, belief: np.ndarray, earlier: np.ndarray, later: np.ndarray, passes: int
) -> np.ndarray:
    """Of each pass and the whole vehicle that the other one is believed to be of: average linkage.

    A stranger that looks like one pass of a vehicle hardly looks like all of them. What is no pair, as two
    passes of one camera, speaks against as much as anything does.

    Args:
        evidence: of each pair by itself, float64 [M].
        belief: the probability of each pair, float64 [M].
        earlier, later: the passes of each pair, int64 [M].
        passes: how many there are.
    """
    from scipy.sparse import csr_matrix

    ends = np.append(earlier, later), np.append(later, earlier)
    weight = np.tile(np.where(belief > _BELIEVED, belief, 0.0), 2)
    # Above the least, so that what is no pair is 0.
    own = np.tile(np.maximum(evidence, -_MOST) + _MOST, 2)
    vehicles = csr_matrix((weight, ends), (passes, passes))
    vehicles.eliminate_zeros()
    against = csr_matrix((own, ends), (passes, passes))
    order = np.argsort(ends[0], kind="stable")
    rows, columns = ends[0][order], ends[1][order]
    others = np.empty(len(order))
    # In parts, because the product is far less sparse than its factors.
    for first in range(0, passes, _BLOCK):
        part = slice(*np.searchsorted(rows, (first, first + _BLOCK)))
        product = vehicles[first : first + _BLOCK] @ against
        others[order[part]] = np.asarray(product[rows[part] - first, columns[part]]).ravel()
    # The other pass itself is left out of the vehicle that it is held against.
    count = 1 + np.bincount(ends[0], weight, passes)[ends[0]] - weight
    found = ((own + others) / count - _MOST) * count**_TOGETHER
    return np.asarray(found.reshape(2, -1).mean(axis=0))


def _smooth(histograms: np.ndarray) -> np.ndarray:
    kernel = _KERNEL / _KERNEL.sum()
    padded = np.pad(histograms, ((0, 0), (len(kernel) // 2, len(kernel) // 2)))
    return np.array([np.convolve(row, kernel, "valid") for row in padded])
