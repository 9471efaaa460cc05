"""What the page's events do to the filters: chosen, read from words, and taken away again."""

import gradio as gr

from retrieval.gallery.filters import Filters
from retrieval.page import panels
from retrieval.page.audited_searcher import AuditedSearcher
from retrieval.page.filter_fields import EMPTY, contents
from retrieval.page.place import circle_at, ground_of
from retrieval.page.state import Answer, detail
from retrieval.page.texts import Say
from zoo.errors import UserError


class FilterEvents:
    """The handlers of filters; see `PageEvents`."""

    def __init__(self, searcher: AuditedSearcher) -> None:
        self._searcher = searcher
        self._gallery = searcher.gallery
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

    def pick(self, event: gr.EventData, camera: list[int]) -> Answer:
        """Choose the cameras of a spot of the map, or no longer; a place is no condition beside them."""
        given = detail(event, "cameras")
        known = [each.id for each in self._gallery.cameras()]
        if not isinstance(given, list) or not all(each in known for each in given):
            return {}
        others = [each for each in camera if each not in given]
        return {"camera": others if set(given) <= set(camera) else [*others, *given], "near": ""}

    def circle(self, event: gr.EventData) -> Answer:
        """Choose a circle that was drawn on the map; cameras are no condition beside it."""
        ground = ground_of(self._gallery.cameras())
        if ground is None:
            return {}
        try:
            x, y, radius = (float(detail(event, name)) for name in ("x", "y", "radius"))
            near = circle_at(ground, x, y, radius)
        except (TypeError, ValueError, UserError):
            return {}
        return {"near": Filters(near=near).parameters()["near"], "camera": []}

    def everywhere(self) -> Answer:
        """Neither a place nor cameras."""
        return {"near": "", "camera": []}

    def clear_filters(self) -> Answer:
        """No filter at all."""
        return {"words_before": Filters(), "understood": "", "words": ""} | EMPTY

    def loosen(self, event: gr.EventData) -> Answer:
        """Take one filter away."""
        name = str(detail(event, "field"))
        return {name: EMPTY[name]} if name in EMPTY else {}
