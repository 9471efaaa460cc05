"""One result a vehicle, or a track, so that one car does not fill the page."""

from collections.abc import Callable, Sequence
from typing import Literal

from retrieval.gallery.entries import Hit

Group = Literal["vehicle", "track"]


def best_of_each(hits: Sequence[Hit], group: Group) -> list[Hit]:
    """The nearest hit of each group, in order; an image that is in no known group is one of its own."""
    seen: set[int] = set()
    kept = []
    for hit in hits:
        name = hit.vehicle_id if group == "vehicle" else hit.track_id
        if name is None or name not in seen:
            kept.append(hit)
        if name is not None:
            seen.add(name)
    return kept


def search_groups(search: Callable[[int], list[Hit]], k: int, group: Group) -> list[Hit]:
    """Search deeper and deeper until there are k groups, or no more images.

    Args:
        search: gives that many results, all of them for 0.
        k: groups wanted; 0 for all.
    """
    if k <= 0:
        return best_of_each(search(k), group)
    fetch = 4 * k
    while True:
        hits = search(fetch)
        kept = best_of_each(hits, group)
        if len(kept) >= k or len(hits) < fetch:
            return kept[:k]
        fetch *= 4
