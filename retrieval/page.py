"""The search page: an image in, what the model sees in it, filters, and the ranked results."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from retrieval import cards
from retrieval.clock import format_time, parse_time
from retrieval.filters import Filters
from retrieval.guard import GuardedBlocks
from retrieval.query_image import QueryImage, Upload
from retrieval.searcher import Query, Searcher
from zoo.errors import UserError
from zoo.preprocess import ImageError

DEFAULT_RESULTS = 20
MAX_RESULTS = 100

_EMPTY = cards.notice(
    "No image yet",
    "Drop, paste or choose a picture of one vehicle, or try an example. "
    "The images of the gallery that look most like it show up here.",
)
_NOTHING_FOUND = cards.notice(
    "Nothing meets these filters",
    "No image of the gallery meets all of them together. Take one of them away.",
)

# A query, the reason why the image cannot be used, or nothing yet.
_State = Query | str | None


class Page:
    """The event handlers. They take uploads and filter values, never a path or an address."""

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher

    def look(self, upload: Upload | None) -> tuple[_State, Any, Any, Any]:
        """Encode a new query image: the state, the predictions, and the two one-click filters."""
        hidden = gr.update(visible=False)
        if upload is None:
            return None, hidden, hidden, hidden
        try:
            query = self._searcher.look(upload.data, upload.name)
        except (ImageError, UserError) as error:
            return str(error), hidden, hidden, hidden
        return (
            query,
            gr.update(value=cards.prediction(query), visible=bool(query.colors or query.types)),
            _one_click(query.color),
            _one_click(query.type),
        )

    def search(
        self,
        state: _State,
        colors: list[str],
        types: list[str],
        cameras: list[int],
        after: str,
        before: str,
        k: int,
    ) -> str:
        """Search with the current query and filters; return the results' HTML."""
        if state is None:
            return _EMPTY
        if isinstance(state, str):
            return cards.notice("This image cannot be searched for", state, "error")
        try:
            filters = Filters(
                colors=tuple(colors),
                types=tuple(types),
                cameras=tuple(cameras),
                after=parse_time(after) if after.strip() else None,
                before=parse_time(before) if before.strip() else None,
            )
            hits = self._searcher.search(state, int(k), filters)
        except UserError as error:
            return cards.notice("These filters cannot be used", str(error), "error")
        if not hits:
            return _NOTHING_FOUND
        names = {camera.id: camera.name for camera in self._searcher.gallery.cameras()}
        return cards.summary(len(hits), filters != Filters()) + cards.results(hits, names)

    def refresh(self) -> tuple[str, Any, Any, Any]:
        """What depends on the gallery's content, read anew whenever the page is opened."""
        gallery = self._searcher.gallery
        cameras = gallery.cameras()
        known = gallery.time_range()
        first, last = (format_time(known[0]), format_time(known[1])) if known else ("0:00:00", "0:10:00")
        return (
            cards.header(gallery.model.card.name, len(gallery), len(cameras)),
            gr.update(choices=[(camera.name, camera.id) for camera in cameras]),
            gr.update(placeholder=first),
            gr.update(placeholder=last),
        )


def _one_click(name: str | None) -> Any:
    return gr.update(value=f"Only {cards.label(name)}" if name else "", visible=name is not None)


def build_page(searcher: Searcher, examples: Sequence[Path]) -> gr.Blocks:
    """Lay the page out.

    Args:
        searcher: answers.
        examples: image files to offer; Gradio copies them into its own folder.
    """
    page = Page(searcher)
    card = searcher.gallery.model.card
    header, cameras, _, _ = page.refresh()
    with GuardedBlocks(title="Find this vehicle", analytics_enabled=False, fill_width=True) as blocks:
        state = gr.State(None)
        title = gr.HTML(header, elem_classes="vr-plain", elem_id="title")
        with gr.Row(equal_height=False, elem_id="layout"):
            with gr.Column(scale=1, min_width=300, elem_id="query-column"):
                image = QueryImage(
                    label="Vehicle",
                    sources=["upload", "clipboard", "webcam"],
                    type="filepath",
                    image_mode=None,
                    height=280,
                    buttons=[],
                    placeholder="Drop or paste a picture of one vehicle, or click to choose",
                    elem_id="query",
                )
                seen = gr.HTML(visible=False, elem_id="prediction")
                with gr.Row(elem_id="one-click"):
                    only_color = gr.Button("", visible=False, size="sm", min_width=80, elem_id="only-color")
                    only_type = gr.Button("", visible=False, size="sm", min_width=80, elem_id="only-type")
                if examples:
                    gr.Examples(
                        [[str(path)] for path in examples],
                        inputs=[image],
                        label="Examples",
                        examples_per_page=12,
                        cache_examples=False,
                        api_visibility="private",
                        elem_id="examples",
                    )
            with gr.Column(scale=4, min_width=320, elem_id="result-column"):
                with gr.Accordion("Filters", open=True, elem_id="filters"), gr.Row():
                    color = _choice("Colour", [(cards.label(name), name) for name in card.colors])
                    kind = _choice("Type", [(cards.label(name), name) for name in card.types])
                    camera = _choice("Camera", cameras["choices"])
                    after = gr.Textbox(label="From", min_width=100, scale=1, elem_id="after")
                    before = gr.Textbox(label="To", min_width=100, scale=1, elem_id="before")
                    k = gr.Slider(
                        *(1, MAX_RESULTS, DEFAULT_RESULTS),
                        step=1,
                        label="Results",
                        min_width=170,
                        scale=2,
                        buttons=[],
                        elem_id="k",
                    )
                found = gr.HTML(_EMPTY, elem_id="results", elem_classes="vr-plain")
        answer: dict[str, Any] = {
            "fn": page.search,
            "inputs": [state, color, kind, camera, after, before, k],
            "outputs": [found],
            "api_visibility": "private",
            "show_progress": "minimal",
            "trigger_mode": "always_last",
            "concurrency_limit": 4,
        }
        image.change(
            page.look,
            [image],
            [state, seen, only_color, only_type],
            api_visibility="private",
            show_progress="minimal",
            trigger_mode="always_last",
            concurrency_limit=4,
        ).then(**{**answer, "trigger_mode": None})
        for changed in (color.change, kind.change, camera.change, k.change, after.change, before.change):
            changed(**answer)
        only_color.click(_use_color, [state], [color], api_visibility="private", queue=False)
        only_type.click(_use_type, [state], [kind], api_visibility="private", queue=False)
        blocks.load(page.refresh, None, [title, camera, after, before], api_visibility="private", queue=False)
    return blocks


def _choice(name: str, choices: Sequence[Any]) -> gr.Dropdown:
    return gr.Dropdown(
        choices,
        value=[],
        multiselect=True,
        label=name,
        min_width=150,
        scale=2,
        elem_id=f"filter-{name.lower()}",
    )


def _use_color(state: _State) -> list[str]:
    return [state.color] if isinstance(state, Query) and state.color else []


def _use_type(state: _State) -> list[str]:
    return [state.type] if isinstance(state, Query) and state.type else []
