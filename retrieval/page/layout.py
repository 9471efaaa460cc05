"""The search page's layout: what stands where, and what it says in each language."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from retrieval.gallery.filters import FIELDS, FilterField, Filters
from retrieval.page import cards
from retrieval.page.events.page import PageEvents
from retrieval.page.events.query import DEFAULT_RESULTS, MAX_RESULTS
from retrieval.page.query_image import QueryImage
from retrieval.page.state import QueryState, Shown
from retrieval.page.texts import LANGUAGES, Say
from retrieval.query.feedback import Feedback

_IN_SIGHT = ("color", "type", "camera", "after", "before")
"""Filters that always show; the others are in a part that opens."""

ASSETS = Path(__file__).parent / "assets"


class Layout:
    """The parts of one page: its components and states, by name."""

    def __init__(self, events: PageEvents) -> None:
        self.events = events
        self.state = gr.State(QueryState())
        self.feedback = gr.State(Feedback())
        self.looks = gr.State(None)
        """`Looks` that weigh in the order, or None."""
        self.shown = gr.State(Shown())
        self.words_before = gr.State(Filters())
        self.compared = gr.State("")
        self.case = gr.State("")
        """The id of the case that the search is of."""
        self.asked = gr.State(0)
        """Changes whenever a search is asked for."""
        self.closely = gr.State(0)
        """Changes whenever a comparison wants its regions."""
        say = Say()
        with gr.Row(elem_id="top"):
            self.title = gr.HTML(
                events.header(say),
                elem_classes="vr-plain",
                elem_id="title",
                scale=5,
                js_on_load=(ASSETS / "calendar.js").read_text(encoding="utf-8"),
            )
            self.language = gr.Radio(
                [(name, code) for code, name in LANGUAGES.items()],
                value=say.language,
                show_label=False,
                container=False,
                min_width=150,
                scale=0,
                elem_id="language",
            )
            # The browser says it when the page is opened; events get it behind the language, in that order.
            self.zone = gr.Textbox(events.zone, visible=False)
        # The results come next to the picture for whoever goes by keyboard; the style sheet shows the search
        # above them.
        with gr.Row(equal_height=False, elem_id="layout"):
            with gr.Column(elem_id="query-column"):
                self.upload = _upload(say)
                self.scene = _html("scene", ("actions", "scene"))
                self.further = gr.UploadButton(
                    "", visible="hidden", file_count="multiple", file_types=["image"], elem_id="further"
                )
            with gr.Column(elem_id="result-column"):
                with gr.Tabs(elem_id="tabs"):
                    with gr.Tab(say("tab.pictures"), id="pictures") as self.pictures_tab:
                        empty = cards.notice(say("nothing"), say("nothing.text"))
                        self.found = _html("results", ("actions", "results"), empty)
                    with gr.Tab(say("tab.track"), id="track") as self.track_tab:
                        self.drawn = _html("drawings", ("journey", "actions"))
                    with gr.Tab(
                        say("tab.cases", count=0), id="cases", visible=events.cases.are_kept
                    ) as self.cases_tab:
                        self.case_form = _html("case-form", ("case", "actions"))
                        self.news = _html("news", ("actions",))
                        self.cases = _html("cases", ("actions", "cases"))
                self.address = _html("address", ("address",))
                with gr.Column(elem_id="search-column"):
                    self._filter_rows(say)
            with gr.Column(elem_id="look-column"):
                self.seen = _html("prediction", ("actions",))
                self.examples = _html("examples", ("actions",), events.queries.examples(say))
        self.comparison = _html("compare", ("actions", "compare"))
        self.file = gr.DownloadButton("", visible="hidden", elem_id="export-file")

    def _filter_rows(self, say: Say) -> None:
        with gr.Row(elem_id="words-row"):
            self.words = gr.Textbox(
                label=say("words"), placeholder=say("words.example"), scale=6, max_lines=1, elem_id="words"
            )
            self.apply = gr.Button(say("words.apply"), scale=0, min_width=90, elem_id="apply")
            self.clear = gr.Button(say("words.clear"), scale=0, min_width=160, elem_id="clear")
        self.understood = _html("understood")
        with gr.Accordion(say("filters"), open=True, elem_id="filters") as self.filters:
            self.fields: dict[str, Any] = {}
            with gr.Row():
                self.fields |= {field.name: _field(field, say) for field in FIELDS if field.name in _IN_SIGHT}
            self.place = _html("place", ("actions", "place"))
            with gr.Accordion(say("more"), open=False, elem_id="more") as self.more, gr.Row():
                rest = [field for field in FIELDS if field.name not in _IN_SIGHT]
                self.fields |= {field.name: _field(field, say) for field in rest}
                self.group = gr.Dropdown(
                    _groups(say), value="none", label=say("group"), min_width=130, elem_id="group"
                )
                self.k = gr.Slider(
                    minimum=1,
                    maximum=MAX_RESULTS,
                    value=DEFAULT_RESULTS,
                    step=1,
                    label=say("k"),
                    min_width=160,
                    buttons=[],
                    elem_id="k",
                )
                self.rerank = gr.Checkbox(False, label=say("rerank"), min_width=160, elem_id="rerank")
                # Only where the gallery centres its cameras.
                self.query_camera = gr.Dropdown(
                    [],
                    value=None,
                    label=say("query_camera"),
                    visible=False,
                    min_width=150,
                    elem_id="query-camera",
                )

    def part(self, name: str) -> Any:
        """The component or state of a name; a filter's field goes by the filter's."""
        return self.fields[name] if name in self.fields else getattr(self, name)

    def translate(self, language: str, zone: str) -> dict[str, Any]:
        """Everything that the page says, and what depends on the gallery's content, read anew."""
        say = Say(language if language in LANGUAGES else "en", self.events.zone or zone or "UTC")
        texts: dict[str, Any] = {
            "language": say.language,
            "zone": say.zone_name,
            "title": self.events.header(say),
            "examples": self.events.queries.examples(say),
            "upload": gr.update(label=say("upload"), placeholder=say("drop")),
            "words": gr.update(label=say("words"), placeholder=self.events.words_example(say)),
            "apply": say("words.apply"),
            "clear": say("words.clear"),
            "group": gr.update(label=say("group"), choices=_groups(say)),
            "pictures_tab": gr.update(label=say("tab.pictures")),
            "track_tab": gr.update(label=say("tab.track")),
        }
        texts |= {name: gr.update(label=say(name)) for name in ("filters", "more", "k", "rerank")}
        texts["query_camera"] = gr.update(
            label=say("query_camera"),
            choices=[(say("query_camera.any"), None), *self.events.cameras(say)],
            visible=self.events.camera_centring,
        )
        card = self.events.card
        choices: dict[str, Any] = {
            "color": _named(card.colors, say),
            "type": _named(card.types, say),
            "camera": self.events.cameras(say),
        }
        placeholders = self.events.placeholders(say)
        for name in self.fields:
            changes: dict[str, Any] = {}
            if name in choices:
                # Nothing can be chosen where the model tells no colours or no types.
                changes = {"choices": choices[name], "visible": name == "camera" or bool(choices[name])}
            if name in placeholders:
                changes["placeholder"] = placeholders[name]
            texts[name] = gr.update(label=say(name), **changes)
        return texts


def _html(name: str, scripts: Sequence[str] = (), value: str = "") -> gr.HTML:
    script = "\n".join((ASSETS / f"{each}.js").read_text(encoding="utf-8") for each in scripts)
    return gr.HTML(value, elem_id=name, elem_classes="vr-plain", js_on_load=script or None)


def _upload(say: Say) -> QueryImage:
    return QueryImage(
        label=say("upload"),
        sources=["upload", "clipboard", "webcam"],
        type="filepath",
        image_mode=None,
        height=260,
        buttons=[],
        placeholder=say("drop"),
        elem_id="query",
    )


def _field(field: FilterField, say: Say) -> Any:
    """The component in which a filter is given; what can be chosen comes with `translate`."""
    elem_id = field.name.replace("_", "-")
    if field.kind in ("class", "camera"):
        return gr.Dropdown(
            [],
            value=[],
            multiselect=True,
            label=say(field.name),
            min_width=150,
            scale=2,
            elem_id=f"filter-{elem_id}",
        )
    if field.kind == "probability":
        return gr.Slider(
            minimum=0,
            maximum=1,
            value=0,
            step=0.05,
            label=say(field.name),
            min_width=160,
            buttons=[],
            elem_id=elem_id,
        )
    scale = 2 if field.kind == "place" else 1
    return gr.Textbox(label=say(field.name), min_width=100, scale=scale, max_lines=1, elem_id=elem_id)


def _named(values: Sequence[str], say: Say) -> list[tuple[str, str]]:
    return [(say.label(value), value) for value in values]


def _groups(say: Say) -> list[tuple[str, str]]:
    return [(say(f"group.{name}"), name) for name in ("none", "track", "vehicle")]
