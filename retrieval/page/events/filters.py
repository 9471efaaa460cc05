"""What the page's events do to the filters: chosen, read from words, and taken away again."""

from collections.abc import Sequence
from dataclasses import replace

import gradio as gr

from retrieval.gallery.filters import Filters
from retrieval.page import panels
from retrieval.page.audited_searcher import AuditedSearcher
from retrieval.page.filter_fields import EMPTY, contents
from retrieval.page.place import circle_at, ground_of
from retrieval.page.state import Answer, detail
from retrieval.page.texts import Say
from retrieval.query.looks import Looks
from retrieval.query.sameness import can_weigh
from zoo.errors import UserError

_CLASSES = {"color": "colors", "type": "types"}
"""What a card and looks call the classes of a filter."""


class FilterEvents:
    """The handlers of filters; see `PageEvents`."""

    def __init__(self, searcher: AuditedSearcher) -> None:
        self._searcher = searcher
        self._gallery = searcher.gallery
        self._card = searcher.gallery.model.card

    def choose(self, event: gr.EventData, color: list[str], type: list[str], looks: Looks | None) -> Answer:
        """Let a predicted colour or type weigh in the order, or no longer.

        Where the field names some, or where nobody knows what they are worth, it is a filter instead.
        """
        name, value = self._kind(event), detail(event, "value")
        chosen, weighed = {"color": color, "type": type}[name], looks or Looks()
        if value not in getattr(self._card, _CLASSES[name]):
            return {}
        if chosen or not can_weigh(self._gallery)[name]:
            return {name: _toggled(chosen, value)}
        return _weighed(_with(weighed, name, _toggled(_of(weighed, name), value)))

    def weigh_or_hide(
        self, event: gr.EventData, color: list[str], type: list[str], looks: Looks | None
    ) -> Answer:
        """Let what is chosen of the colours, or of the types, hide the others; or only weigh, if it does."""
        name, weighed = self._kind(event), looks or Looks()
        if chosen := {"color": color, "type": type}[name]:
            return {name: []} | _weighed(_with(weighed, name, chosen))
        return {name: list(_of(weighed, name)), "looks": _or_none(_with(weighed, name, ()))}

    def weigh(self, color: list[str], type: list[str], looks: Looks | None) -> Answer:
        """Let the colours and types that hide others only weigh."""
        old = looks or Looks()
        return {"color": [], "type": []} | _weighed(
            Looks(tuple(color) or old.colors, tuple(type) or old.types)
        )

    def rerank(self, rerank: bool, looks: Looks | None) -> Answer:
        """Re-ranking orders the first results alone."""
        return {"looks": None if rerank else looks}

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
        return {"words_before": Filters(), "understood": "", "words": "", "looks": None} | EMPTY

    def loosen(self, event: gr.EventData) -> Answer:
        """Take one filter away."""
        name = str(detail(event, "field"))
        return {name: EMPTY[name]} if name in EMPTY else {}

    @staticmethod
    def _kind(event: gr.EventData) -> str:
        return "color" if detail(event, "condition") == "color" else "type"


def _of(looks: Looks, name: str) -> tuple[str, ...]:
    classes: tuple[str, ...] = getattr(looks, _CLASSES[name])
    return classes


def _with(looks: Looks, name: str, classes: Sequence[str]) -> Looks:
    return replace(looks, **{_CLASSES[name]: tuple(classes)})


def _toggled(chosen: Sequence[str], value: str) -> list[str]:
    return [name for name in chosen if name != value] if value in chosen else [*chosen, value]


def _weighed(looks: Looks) -> Answer:
    """Looks and re-ranking both order the first results: what is asked for last does."""
    return {"looks": _or_none(looks), "rerank": False}


def _or_none(looks: Looks) -> Looks | None:
    return None if looks == Looks() else looks
