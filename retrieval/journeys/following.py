"""How likely a pass is the next one of another's vehicle, by cameras and times, learned from links."""

import numpy as np

from retrieval.journeys.candidates import Pairs
from retrieval.journeys.passes import Passes

_STEP = 0.05
_KERNEL = np.exp(-0.5 * (np.arange(-12, 13) / 2.8) ** 2)
_KERNEL /= _KERNEL.sum()
"""Of travel times: a standard deviation of 0.14 in their logarithm. Those of one step vary less."""
_DOUBT = 5.0
"""Links, as many as which have to speak for a way before its own travel times count for half."""
_COMMON = 0.7
"""Of what is believed of a way of which nothing is known: all ways' travel times; the rest is any time."""
_UNSEEN = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Links that may count beforehand for all ways from a camera together."""
_SHORTEST = 60.0
"""Seconds, the least over which passes are counted."""


class Following:
    """Of each pair, whether the later pass is the next one of the earlier one's vehicle.

    A vehicle goes on to one of the other cameras, or is not seen again; what comes to a camera was at another
    one before, or is new. Held against each other are the rate at which the earlier pass's vehicle comes and
    the rate at which new ones do.

    Args:
        passes: in order of time.
        pairs: of them, M.
        within: seconds, the longest time between two passes.
        uses_travel: whether travel times count; else a vehicle may come at any time.
    """

    def __init__(self, passes: Passes, pairs: Pairs, within: float, uses_travel: bool) -> None:
        cameras, camera = np.unique(passes.camera, return_inverse=True)
        self._here, self._there = camera[pairs.earlier], camera[pairs.later]
        ways, self._way = np.unique(self._here * len(cameras) + self._there, return_inverse=True)
        self._ways, self._passes = len(ways), np.bincount(camera, minlength=len(cameras))
        edges = np.expm1(np.arange(int(np.log1p(within) / _STEP) + 2) * _STEP)
        self._width = np.diff(edges)
        self._column = (np.log1p(pairs.travel) / _STEP).astype(np.int64)
        self._any = 1 / within
        self._density: np.ndarray | None = None
        if not uses_travel:
            begin, end = passes.start.min(), passes.start.max()
            left = (end - passes.end[pairs.earlier]).clip(_SHORTEST, within)
            gone = (passes.start[pairs.later] - begin).clip(_SHORTEST, within)
            self._density = 1 / np.sqrt(left * gone)
        self._rate = _rates(passes, camera, within)[pairs.later]

    def evidence(self, links: np.ndarray) -> np.ndarray:
        """Log-likelihood ratio of each pair, float64 [M]; a pair does not speak for itself.

        Args:
            links: how surely each pair is a link, float64 [M].
        """
        cameras = len(self._passes)
        on = np.bincount(self._here, links, cameras)
        reached = np.bincount(self._there, links, cameras)
        ending = (np.maximum(self._passes - on, 0) + 1) / (self._passes + 2)
        new = (np.maximum(self._passes - reached, 0) + 1) / (self._passes + 2)
        count = np.bincount(self._way, links, self._ways)[self._way]
        share = self._shares(links, count)
        density = self._densities(links, count) if self._density is None else self._density
        odds = share * density / (ending[self._here] * new[self._there] * self._rate)
        return np.asarray(np.log(odds))

    def _shares(self, links: np.ndarray, count: np.ndarray) -> np.ndarray:
        """Of the passes at a camera, those that go the way of each pair next, float64 [M].

        How much is left for ways that nobody has gone yet is what makes the other links most likely.
        """
        cameras = len(self._passes)
        others, passes = count - links, self._passes[self._here] - 1
        guesses = [(others + some / cameras) / (passes + some + 1) for some in _UNSEEN]
        return np.asarray(max(guesses, key=lambda share: float(links @ np.log(share))))

    def _densities(self, links: np.ndarray, count: np.ndarray) -> np.ndarray:
        """Of the travel time of each pair among those of its way, a second, float64 [M]."""
        from scipy.ndimage import convolve1d

        histograms = np.zeros((self._ways, len(self._width)))
        np.add.at(histograms, (self._way, self._column), links)
        smooth = convolve1d(histograms, _KERNEL, axis=1, mode="constant")
        common = smooth.sum(axis=0)
        common = common / max(float(common.sum()), 1e-9) / self._width
        expected = _COMMON * common + (1 - _COMMON) * self._any
        own = links * _KERNEL.max()
        near = np.maximum(smooth[self._way, self._column] - own, 0) / self._width[self._column]
        return np.asarray((near + _DOUBT * expected[self._column]) / (count - links + _DOUBT))


def _rates(passes: Passes, camera: np.ndarray, within: float) -> np.ndarray:
    """Passes a second at each one's camera around its time, float64 [N]."""
    begin, end = passes.start.min(), passes.start.max()
    rates = np.zeros(len(passes))
    for here in range(int(camera.max()) + 1):
        rows = np.flatnonzero(camera == here)
        times = passes.start[rows]
        first, last = times - within / 2, times + within / 2
        near = np.searchsorted(times, last, "right") - np.searchsorted(times, first, "left")
        seconds = np.minimum(last, end) - np.maximum(first, begin)
        rates[rows] = near / seconds.clip(_SHORTEST)
    return rates
