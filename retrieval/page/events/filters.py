"""What the page's events do to the filters: chosen, read from words, and taken away again."""

import gradio as gr

from retrieval.gallery.filters import Filters
from retrieval.page import panels
from retrieval.page.audited_searcher import AuditedSearcher
from retrieval.page.filter_fields import EMPTY, contents
from retrieval.page.state import Answer, detail
from retrieval.page.texts import Say


class FilterEvents:
    """The handlers of filters; see `PageEvents`."""

    def __init__(self, searcher: AuditedSearcher) -> None:
        self._searcher = searcher
        self._card = searcher.gallery.model.card

    def choose(self, event: gr.EventData, color: list[str], type: list[str]) -> Answer:
        """Make a predicted colour or type a filter, or no longer one."""
        value = detail(event, "value")
        field = "color" if detail(event, "condition") == "color" else "type"
        chosen, known = (color, self._card.colors) if field == "color" else (type, self._card.types)
        if value not in known:
            return {}
        return {field: [name for name in chosen if name != value] if value in chosen else [*chosen, value]}

    def read(self, words: str, words_before: Filters, say: Say) -> Answer:
        """Make plain words filters.

        A field that these words do not speak of stays as it is, unless the last ones had set it.
        """
        found = self._searcher.understand(words, say.zone)
        said = {"words_before": found.filters, "understood": panels.understood(found, say)}
        forgotten = {name: EMPTY[name] for name in contents(words_before, say.zone)}
        return said | forgotten | contents(found.filters, say.zone)

    def clear_filters(self) -> Answer:
        """No filter at all."""
        return {"words_before": Filters(), "understood": "", "words": ""} | EMPTY

    def loosen(self, event: gr.EventData) -> Answer:
        """Take one filter away."""
        name = str(detail(event, "field"))
        return {name: EMPTY[name]} if name in EMPTY else {}
