"""The search page's layout: what stands where, and which event calls which handler of `PageEvents`."""

from collections.abc import Callable, Sequence
from functools import wraps
from itertools import count
from pathlib import Path
from typing import Any

import gradio as gr

from retrieval.gallery.filters import Filters
from retrieval.page import cards
from retrieval.page.audited_searcher import AuditedSearcher
from retrieval.page.events import PageEvents
from retrieval.page.guard import GuardedBlocks
from retrieval.page.query_image import QueryImage
from retrieval.page.state import QueryState, Shown
from retrieval.page.texts import LANGUAGES, Say
from retrieval.query.feedback import Feedback

DEFAULT_RESULTS = 20
MAX_RESULTS = 100
ASSETS = Path(__file__).parent / "assets"
STREAM_SCRIPT = ASSETS / "stream.js"
"""What runs in the page's head, before Gradio's own scripts."""

_REMEMBERED = """(language) => {
  const known = localStorage.getItem("vehicle-search-language");
  return known || (navigator.language.startsWith("zh") ? "zh" : "en");
}"""
_REMEMBER = """(language) => {
  localStorage.setItem("vehicle-search-language", language);
  return language;
}"""
_FETCH = """(file) => {
  if (!file?.url) return;
  const link = document.createElement("a");
  link.href = file.url;
  link.download = file.orig_name || file.path.split("/").pop();
  link.click();
}"""


def build_page(searcher: AuditedSearcher, examples: Sequence[Path]) -> gr.Blocks:
    """Lay the page out.

    Args:
        searcher: answers.
        examples: image files to offer; Gradio copies them into its own folder.
    """
    events = PageEvents(searcher)
    with GuardedBlocks(title="Find this vehicle", analytics_enabled=False, fill_width=True) as blocks:
        page = _Page(events, examples)
        page.connect(blocks)
    return blocks


class _Page:
    """The components of one page, and their wiring."""

    def __init__(self, events: PageEvents, examples: Sequence[Path]) -> None:
        self.events = events
        self.query = gr.State(QueryState())
        self.feedback = gr.State(Feedback())
        self.shown = gr.State(Shown())
        self.words_before = gr.State(Filters())
        self.compared = gr.State("")
        self.asked = gr.State(0)
        """Changes whenever a search is asked for."""
        self.closely = gr.State(0)
        """Changes whenever a comparison wants its regions."""
        say = Say()
        with gr.Row(elem_id="top"):
            self.title = gr.HTML(events.header(say), elem_classes="vr-plain", elem_id="title", scale=5)
            self.language = gr.Radio(
                [(name, code) for code, name in LANGUAGES.items()],
                value=say.language,
                show_label=False,
                container=False,
                min_width=150,
                scale=0,
                elem_id="language",
            )
        with gr.Row(equal_height=False, elem_id="layout"):
            with gr.Column(scale=1, min_width=300, elem_id="query-column"):
                self._query_column(examples, say)
            with gr.Column(scale=4, min_width=320, elem_id="result-column"):
                self._filter_rows(say)
                with gr.Tabs(elem_id="tabs"):
                    with gr.Tab(say("tab.pictures"), id="pictures") as self.pictures_tab:
                        empty = cards.notice(say("nothing"), say("nothing.text"))
                        self.found = _html("results", ("actions", "results"), empty)
                    with gr.Tab(say("tab.track"), id="track") as self.track_tab:
                        self.drawn = _html("drawings", ("actions",))
        self.comparison = _html("compare", ("actions", "compare"))
        self.file = gr.DownloadButton("", visible="hidden", elem_id="export-file")

    def _query_column(self, examples: Sequence[Path], say: Say) -> None:
        self.image = QueryImage(
            label=say("vehicle"),
            sources=["upload", "clipboard", "webcam"],
            type="filepath",
            image_mode=None,
            height=280,
            buttons=[],
            placeholder=say("drop"),
            elem_id="query",
        )
        self.scene = _html("scene", ("actions", "scene"))
        self.seen = _html("prediction", ("actions",))
        self.examples: gr.Dataset | None = None
        if examples:
            self.examples = gr.Examples(
                [[str(path)] for path in examples],
                inputs=[self.image],
                label=say("examples"),
                examples_per_page=12,
                cache_examples=False,
                api_visibility="private",
                elem_id="examples",
            ).dataset

    def _filter_rows(self, say: Say) -> None:
        card = self.events.card
        with gr.Row(elem_id="words-row"):
            self.words = gr.Textbox(
                label=say("words"), placeholder=say("words.example"), scale=6, max_lines=1, elem_id="words"
            )
            self.apply = gr.Button(say("words.apply"), scale=0, min_width=90, elem_id="apply")
            self.clear = gr.Button(say("words.clear"), scale=0, min_width=160, elem_id="clear")
        self.understood = _html("understood")
        with gr.Accordion(say("filters"), open=True, elem_id="filters") as self.filters:
            with gr.Row():
                self.color = _choice("color", say, card.colors)
                self.type = _choice("type", say, card.types)
                self.camera = _choice("camera", say, ())
                self.after = _text("after", say)
                self.before = _text("before", say)
            with gr.Accordion(say("more"), open=False, elem_id="more") as self.more, gr.Row():
                self.near = _text("near", say, 2)
                self.vehicle = _text("vehicles", say)
                self.color_confidence = _share("color_confidence", say)
                self.type_confidence = _share("type_confidence", say)
                self.group = gr.Dropdown(
                    _groups(say), value="none", label=say("group"), min_width=130, elem_id="group"
                )
                self.k = gr.Slider(
                    *(1, MAX_RESULTS, DEFAULT_RESULTS),
                    step=1,
                    label=say("k"),
                    min_width=160,
                    buttons=[],
                    elem_id="k",
                )
                self.rerank = gr.Checkbox(False, label=say("rerank"), min_width=160, elem_id="rerank")

    @property
    def conditions(self) -> list[Any]:
        """The filters' fields, in the order of `filter_fields.EMPTY`."""
        return [
            *(self.color, self.type, self.camera, self.after, self.before, self.near, self.vehicle),
            *(self.color_confidence, self.type_confidence),
        ]

    def connect(self, blocks: gr.Blocks) -> None:
        """Say which event does what; whatever changes a search asks for one."""
        on, language = self.events, self.language
        conditions = self.conditions
        encoded = [self.query, self.feedback, self.scene]
        self._ask_after(
            self.image.change, on.encode, [self.image, self.query, self.feedback, language], encoded
        )
        self._ask_after(self.scene.select, on.draw, [self.image, language], encoded, **_EACH)
        self._ask_after(self.scene.edit, on.whole, [self.image, language], encoded)
        # Emptying the field ends in `encode`; where it is empty already, this is all.
        self._ask_after(
            self.scene.clear, lambda: (QueryState(), Feedback(), "", None), [], [*encoded, self.image]
        )
        for component in (self.found, self.comparison):
            self._ask_after(component.submit, on.similar, [language], [*encoded, self.image], **_EACH)
            self._ask_after(component.like, on.mark, [self.feedback], [self.feedback], **_EACH)
        self._ask_after(self.found.clear, Feedback, [], [self.feedback])
        self._ask_after(
            self.seen.select, on.choose, [self.color, self.type], [self.color, self.type], **_EACH
        )
        said = [self.words, self.words_before, language]
        read = [self.words_before, self.understood, *conditions]
        self._ask_after(self.words.submit, on.read, said, read)
        self._ask_after(self.apply.click, on.read, said, read)
        self._ask_after(self.clear.click, on.clear, [], [*read[:2], self.words, *conditions])
        compare = [self.image, self.query, self.shown, self.feedback, language]
        closely = self.closely.change(
            on.regions, [self.compared, *compare], self.comparison, trigger_mode="always_last", **_QUIET
        )
        for component in (self.found, self.drawn, self.comparison):
            # First, for events are answered in order: it must not end what this comparison starts.
            component.select(None, cancels=closely, **_QUIET)
            component.select(
                *(_counted(on.compare), compare, [self.comparison, self.compared, self.closely]),
                trigger_mode="multiple",
                **_QUIET,
            )
        exported = [self.query, self.shown, self.feedback]
        self.found.download(on.download, exported, [self.file], **_QUIET).then(
            None, [self.file], None, js=_FETCH
        )
        translated = [
            *(language, self.title, self.image, self.words, self.apply, self.clear, self.filters),
            *(self.more, *conditions, self.group, self.k, self.rerank, self.pictures_tab, self.track_tab),
        ]
        if self.examples is not None:
            translated.append(self.examples)
        loaded = self._ask_after(blocks.load, self.translate, [language], translated, js=_REMEMBERED)
        loaded.then(None, None, None, js=(ASSETS / "page.js").read_text(encoding="utf-8"))
        self._ask_after(language.input, self.translate, [language], translated, js=_REMEMBER).then(
            on.scene, [self.image, self.query, language], [self.scene], **_QUIET
        )
        self._search()

    def _search(self) -> None:
        """The one search of all causes: one follows another, so that what was asked last is shown last."""
        texts = (self.after, self.before, self.near, self.vehicle)
        gr.on(
            [
                self.asked.change,
                *(field.input for field in (self.color, self.type, self.camera, self.group, self.rerank)),
                *(slider.release for slider in (self.color_confidence, self.type_confidence)),
                # A number that is typed beside a slider is not released.
                self.k.change,
                *(cause for text in texts for cause in (text.submit, text.blur)),
            ],
            self.events.search,
            [
                *(self.query, self.feedback, self.shown, self.language),
                *(self.k, self.group, self.rerank, *self.conditions),
            ],
            [self.found, self.drawn, self.seen, self.shown],
            trigger_mode="always_last",
            concurrency_limit=4,
            **_QUIET,
        )

    def _ask_after(
        self,
        event: Callable[..., Any],
        handler: Callable[..., Any],
        takes: Sequence[Any],
        gives: Sequence[Any],
        **options: Any,
    ) -> Any:
        """Let a handler answer an event, and ask for a search afterwards."""
        options = {"trigger_mode": "always_last", "concurrency_limit": 4, **options}
        return event(_counted(handler), takes, [*gives, self.asked], **_QUIET, **options)

    def translate(self, language: str) -> tuple[Any, ...]:
        """Everything that the page says, and what depends on the gallery's content, read anew."""
        say = Say(language if language in LANGUAGES else "en")
        first, last = self.events.placeholders()
        card = self.events.card
        return (
            say.language,
            self.events.header(say),
            gr.update(label=say("vehicle"), placeholder=say("drop")),
            gr.update(label=say("words"), placeholder=say("words.example")),
            *(say("words.apply"), say("words.clear")),
            *(gr.update(label=say("filters")), gr.update(label=say("more"))),
            gr.update(label=say("color"), choices=_named(card.colors, say)),
            gr.update(label=say("type"), choices=_named(card.types, say)),
            gr.update(label=say("camera"), choices=self.events.cameras(say)),
            gr.update(label=say("after"), placeholder=first),
            gr.update(label=say("before"), placeholder=last),
            *(
                gr.update(label=say(name))
                for name in ("near", "vehicles", "color_confidence", "type_confidence")
            ),
            gr.update(label=say("group"), choices=_groups(say)),
            *(gr.update(label=say("k")), gr.update(label=say("rerank"))),
            *(gr.update(label=say("tab.pictures")), gr.update(label=say("tab.track"))),
            *([] if self.examples is None else [gr.update(label=say("examples"))]),
        )


_QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal"}
_EACH: dict[str, Any] = {"trigger_mode": "multiple", "concurrency_limit": 1}
"""For events that carry something: one that waits for another would else be told as that one."""
_COUNT = count(1)


def _counted(handler: Callable[..., Any]) -> Callable[..., Any]:
    """The handler with one output more, a number of its own, whose change starts what follows it."""

    @wraps(handler)
    def answer(*values: Any) -> tuple[Any, ...]:
        answers = handler(*values)
        return *(answers if isinstance(answers, tuple) else (answers,)), next(_COUNT)

    return answer


def _html(name: str, scripts: Sequence[str] = (), value: str = "") -> gr.HTML:
    script = "\n".join((ASSETS / f"{each}.js").read_text(encoding="utf-8") for each in scripts)
    return gr.HTML(value, elem_id=name, elem_classes="vr-plain", js_on_load=script or None)


def _choice(name: str, say: Say, values: Sequence[str]) -> gr.Dropdown:
    return gr.Dropdown(
        _named(values, say),
        value=[],
        multiselect=True,
        label=say(name),
        min_width=150,
        scale=2,
        elem_id=f"filter-{name}",
    )


def _named(values: Sequence[str], say: Say) -> list[tuple[str, str]]:
    return [(say.label(value), value) for value in values]


def _groups(say: Say) -> list[tuple[str, str]]:
    return [(say(f"group.{name}"), name) for name in ("none", "track", "vehicle")]


def _text(name: str, say: Say, scale: int = 1) -> gr.Textbox:
    example = "48.133,11.567,500" if name == "near" else ""
    return gr.Textbox(
        label=say(name), min_width=100, scale=scale, max_lines=1, placeholder=example, elem_id=name
    )


def _share(name: str, say: Say) -> gr.Slider:
    return gr.Slider(
        *(0, 1, 0), step=0.05, label=say(name), min_width=160, buttons=[], elem_id=name.replace("_", "-")
    )
