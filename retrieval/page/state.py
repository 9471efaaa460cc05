"""What the page keeps of a visitor between two events, and what an event brings and answers."""

from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from retrieval.gallery.entries import Box, Result
from retrieval.gallery.filters import Filters
from retrieval.query.searcher import Query

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
    """

    query: Query | None = None
    picture: bytes = b""
    fault: str = ""
    key: str = ""
    upload: str = ""
    box: Box | None = None


@dataclass(frozen=True)
class Shown:
    """What the page shows, and for what: the same again is not searched for twice."""

    asked: tuple[Any, ...] = ()
    results: tuple[Result, ...] = ()
    filters: Filters = field(default_factory=Filters)


def detail(event: gr.EventData, name: str) -> Any:
    """A value that an event of `actions.js` carries."""
    data = event._data
    return data.get(name) if isinstance(data, dict) else None
