"""What a case keeps of a search: what was compared, and what was found."""

from collections.abc import Sequence

import numpy as np

from retrieval.cases.case import Findings, SavedSearch
from retrieval.gallery.entries import Result
from retrieval.query.feedback import still_there
from retrieval.query.sameness import verdict
from retrieval.query.searcher import Query, Searcher

MAX_RESULTS = 1000
"""That a case keeps."""


def findings_of(
    searcher: Searcher,
    queries: Sequence[Query],
    search: SavedSearch,
    results: Sequence[Result],
    false_match_rate: float | None = None,
) -> tuple[np.ndarray, Findings]:
    """Make what a case keeps of a search's results.

    Args:
        searcher: that found them.
        queries: what was searched with; none for a search by attributes.
        search: how.
        results: in order.
        false_match_rate: promised of the verdict; None for the searcher's own.

    Returns:
        what was compared, float32 [D], empty without queries; and what was found.
    """
    gallery = searcher.gallery
    promised = searcher.false_match_rate if false_match_rate is None else false_match_rate
    embedding = np.zeros(0, np.float32)
    with gallery.read_transaction():
        if queries:
            said = still_there(gallery, search.feedback)
            embedding = searcher.embedding(queries, said, search.query_camera)
        images, searched = len(gallery), gallery.count(search.filters)
    told = verdict(gallery, results, promised) if queries else None
    model = gallery.model
    return embedding, Findings(
        tuple(results[:MAX_RESULTS]), told, promised, images, searched, model.card.name, model.hash
    )
