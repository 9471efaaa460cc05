"""What the page keeps of a visitor between two events, and what an event brings and answers."""

from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from retrieval.cases.case import SavedSearch
from retrieval.gallery.entries import Box, Result
from retrieval.page.address import OF_GALLERY, Address
from retrieval.query.searcher import Query
from retrieval.service.access import Caller

Answer = dict[str, Any]
"""New values of the page's parts, by their names; what is not in it stays as it is."""


@dataclass(frozen=True)
class QueryState:
    """The image that a visitor searches with, an upload or one of the gallery's.

    Attributes:
        query: what the model says of it; None where there is none, or none that can be used.
        picture: a small JPEG of it; empty where there is none.
        fault: why the image cannot be used.
        key: of the gallery's image; empty for an upload.
        upload: the name that `Uploads` knows the upload by; empty for the gallery's image.
        box: which part of the upload; None for all of it.
        others: further images of the same vehicle that are searched with; those have no others.
    """

    query: Query | None = None
    picture: bytes = b""
    fault: str = ""
    key: str = ""
    upload: str = ""
    box: Box | None = None
    others: tuple["QueryState", ...] = ()

    @property
    def all(self) -> tuple["QueryState", ...]:
        """All images that are searched with."""
        return self, *self.others

    @property
    def name(self) -> str:
        """What an address calls it, among the others."""
        return f"{OF_GALLERY}{self.key}" if self.key else self.upload

    @property
    def queries(self) -> list[Query]:
        """What the model says of them."""
        return [each.query for each in self.all if each.query is not None]

    def address(self, search: SavedSearch, case: str) -> Address:
        """The address of a search with them; `case` is the one that it is of."""
        others = tuple((each.name, each.box) for each in self.others)
        return Address(self.upload, self.key, self.box, others, search, case)


@dataclass(frozen=True)
class Shown:
    """What the page shows, and for what: the same again is not searched for twice.

    Attributes:
        asked: everything that the search depends on.
        results: in order.
        search: how was searched.
        place: a hash of what the map to choose on shows.
        is_answer: whether the results answer a search; none may be the answer, too.
    """

    asked: tuple[Any, ...] = ()
    results: tuple[Result, ...] = ()
    search: SavedSearch = field(default_factory=SavedSearch)
    place: int = 0
    is_answer: bool = False


def asked_with(state: QueryState, words: str, caller: Caller) -> dict[str, Any]:
    """Who searches, and with what, for the audit log; never the image itself."""
    return {
        "caller": caller.name,
        "key": state.key,
        "query_sha256": state.upload,
        "other_sha256": [each.name for each in state.others],
        "box": state.box,
        "words": words.strip(),
    }


def detail(event: gr.EventData, name: str) -> Any:
    """A value that an event of `actions.js` carries."""
    data = event._data
    return data.get(name) if isinstance(data, dict) else None
