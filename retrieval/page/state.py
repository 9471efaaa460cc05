"""What the page keeps of a visitor between two events."""

from dataclasses import dataclass, field
from typing import Any

from retrieval.gallery.entries import Box
from retrieval.gallery.filters import Filters
from retrieval.query.searcher import Query
from retrieval.results.results import Result


@dataclass(frozen=True)
class Looked:
    """What is searched for.

    Attributes:
        query: None where there is none.
        fault: why the image cannot be used.
        key: of the gallery's image that is searched with; empty for an uploaded one.
        box: what is chosen of the upload.
    """

    query: Query | None = None
    fault: str = ""
    key: str = ""
    box: Box | None = None


@dataclass(frozen=True)
class Shown:
    """What the page shows, and for what: the same again is not searched for twice."""

    asked: tuple[Any, ...] = ()
    results: tuple[Result, ...] = ()
    filters: Filters = field(default_factory=Filters)
