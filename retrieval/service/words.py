"""Plain words over REST: read into the filters that a search takes."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from retrieval.query.searcher import Searcher
from retrieval.query.words import MAX_TEXT


def add_words_route(router: APIRouter, searcher: Searcher) -> None:
    """Add the route that reads words with the names of `searcher`'s gallery."""

    @router.get("/words")
    def words(
        text: Annotated[
            str, Query(description="such as `white suv camera 3 after 8:00`", max_length=MAX_TEXT)
        ],
    ) -> dict[str, Any]:
        """Filters that plain words, English or Chinese, mean; what was understood, and what was not."""
        understood = searcher.understand(text)
        return {
            "filters": understood.filters.parameters(),
            "understood": [asdict(phrase) for phrase in understood.phrases],
            "not_understood": list(understood.unknown),
        }
