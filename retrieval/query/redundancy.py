"""How many images of a vehicle a gallery has, as it tells of itself: see `zoo.sameness`."""

from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from retrieval.gallery.base import Gallery
from retrieval.gallery.distances import distances
from retrieval.gallery.filters import Filters
from zoo.sameness import COHORT, NEIGHBORS, PROBES, Sameness

_CHANGED = 0.1
"""Share of a gallery that may come or go before it is asked anew."""


class _Known(NamedTuple):
    sameness: Sameness
    images: int
    redundancy: float


_known: WeakKeyDictionary[Gallery, _Known] = WeakKeyDictionary()
"""Of the galleries that are open, as they were when they were asked."""


def redundancy_of(gallery: Gallery, sameness: Sameness, filters: Filters | None, images: int) -> float | None:
    """How many images of a vehicle there are among those that meet filters; None where it does not matter.

    The whole gallery is asked, and again when a tenth has come or gone: it takes a search for each of the
    images that answer. Filters are taken to leave some of each vehicle's images. One on a colour leaves all
    of some vehicles instead, and what is told then errs on the safe side.

    Args:
        gallery: that is searched; inside the search's read transaction.
        sameness: the calibration that holds for it.
        filters: that are searched with.
        images: how many meet them.
    """
    if not sameness.asks_for_redundancy:
        return None
    whole = images if filters is None else gallery.count()
    known = _known.get(gallery)
    if known is None or known.sameness != sameness or abs(whole - known.images) > _CHANGED * known.images:
        known = _known[gallery] = _Known(sameness, whole, _ask(gallery, sameness, whole))
    return 1 + (known.redundancy - 1) * min(images / whole, 1.0)


def _ask(gallery: Gallery, sameness: Sameness, images: int) -> float:
    metric, cohort = gallery.model.card.metric, gallery.sample(COHORT)
    searches = []
    for image in gallery.sample(PROBES):
        # The nearest is the image itself.
        others = gallery.search(image, NEIGHBORS + 1, is_centred=True)[1:]
        searches.append((distances(image, cohort, metric), np.array([each.distance for each in others])))
    return sameness.redundancy_among(searches, images)
