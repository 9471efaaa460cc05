"""The search page: which event of its layout calls which handler of `PageEvents`."""

from collections.abc import Callable, Sequence
from functools import partial
from inspect import signature
from itertools import count
from typing import Any

import gradio as gr

from retrieval.page.events.page import PageEvents
from retrieval.page.guard import GuardedBlocks
from retrieval.page.layout import ASSETS, Layout
from retrieval.page.texts import Say
from retrieval.query.occlusion import ENCODINGS
from retrieval.service.rates import charge
from retrieval.service.workload import REQUEST_SECONDS
from serving.encoders.deadline import deadline

STREAM_SCRIPT = ASSETS / "stream.js"
"""What runs in the page's head, before Gradio's own scripts."""

_REMEMBERED = """(language, zone) => {
  const known = localStorage.getItem("vehicle-search-language");
  document.documentElement.lang = known || (navigator.language.startsWith("zh") ? "zh" : "en");
  return [document.documentElement.lang, zone || Intl.DateTimeFormat().resolvedOptions().timeZone];
}"""
_REMEMBER = """(language, zone) => {
  localStorage.setItem("vehicle-search-language", language);
  return [(document.documentElement.lang = language), zone];
}"""
_FETCH = """(file) => {
  if (!file?.url) return;
  const link = document.createElement("a");
  link.href = file.url;
  link.download = file.orig_name || file.path.split("/").pop();
  link.click();
}"""
_QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal"}
_EACH: dict[str, Any] = {"trigger_mode": "multiple", "concurrency_limit": 1}
"""For events that carry something: one that waits for another would else be told as that one."""
_COUNT = count(1)


def build_page(events: PageEvents) -> gr.Blocks:
    """Lay out the page whose events these are."""
    blocks = GuardedBlocks(title="Find this vehicle", analytics_enabled=False, fill_width=True)
    with blocks:
        page = Layout(events)
        _connect(page, blocks)
    return blocks


def _connect(page: Layout, blocks: gr.Blocks) -> None:
    """Say which event does what; whatever changes a search asks for one."""
    on, query, results = page.events, page.events.queries, page.events.results
    encoded = ("state", "feedback", "looks", "scene", "case")
    read = ("words_before", "understood", *page.fields)
    _ask_after(page, page.upload.change, query.encode, encoded)
    _answer(page, page.examples.select, query.take_example, ("upload",), **_EACH)
    _ask_after(page, page.scene.select, query.draw, encoded, **_EACH)
    _ask_after(page, page.scene.edit, query.whole, encoded)
    _ask_after(page, page.further.upload, query.add, ("further", "state", "scene"), **_EACH)
    _ask_after(page, page.scene.delete, query.drop, ("state", "scene"), **_EACH)
    _ask_after(page, page.scene.apply, query.swap, ("state", "scene"), **_EACH)
    _ask_after(page, page.scene.clear, query.empty, (*encoded, "upload"))
    for component in (page.found, page.comparison, page.news):
        _ask_after(page, component.submit, query.similar, (*encoded, "upload"), **_EACH)
        _ask_after(page, component.like, results.mark, ("feedback",), **_EACH)
    _ask_after(page, page.found.clear, results.forget, ("feedback",))
    _ask_after(page, page.found.edit, on.filters.loosen, tuple(page.fields), **_EACH)
    everything = (*read, *encoded, "words", "upload", "k", "group", "rerank", "query_camera")
    _ask_after(page, page.address.submit, query.restore, everything)
    _answer(page, page.found.expand, results.more, ("k",))
    _ask_after(page, page.place.select, on.filters.pick, ("camera", "near"), **_EACH)
    _ask_after(page, page.place.edit, on.filters.circle, ("camera", "near"), **_EACH)
    _ask_after(page, page.place.clear, on.filters.everywhere, ("camera", "near"), **_EACH)
    _ask_after(page, page.seen.select, on.filters.choose, ("color", "type", "looks", "rerank"), **_EACH)
    _ask_after(page, page.seen.edit, on.filters.weigh_or_hide, ("color", "type", "looks", "rerank"), **_EACH)
    _ask_after(page, page.found.apply, on.filters.weigh, ("color", "type", "looks", "rerank"), **_EACH)
    _ask_after(page, page.rerank.input, on.filters.rerank, ("looks",))
    _ask_after(page, page.words.submit, on.filters.read, read)
    _ask_after(page, page.apply.click, on.filters.read, read)
    _ask_after(page, page.clear.click, on.filters.clear_filters, (*read, "words", "looks"))
    closely = _answer(
        page,
        page.closely.change,
        results.regions,
        ("comparison",),
        cost=ENCODINGS,
        trigger_mode="always_last",
    )
    for component in (page.found, page.drawn, page.comparison):
        # First, for events are answered in order: it must not end what this comparison starts.
        component.select(None, cancels=closely, **_QUIET)
        _answer(
            page,
            component.select,
            results.compare,
            ("comparison", "compared"),
            counts="closely",
            trigger_mode="multiple",
        )
    _answer(page, page.drawn.edit, on.searches.marked_link, ("drawn",), **_EACH)
    _answer(page, page.found.download, results.download, ("file",)).then(None, [page.file], None, js=_FETCH)
    _answer(page, page.case_form.apply, on.cases.save, ("case", "cases", "cases_tab"), **_EACH)
    _answer(page, page.case_form.clear, on.cases.leave, ("case",))
    _answer(page, page.case.change, on.cases.form, ("case_form", "news"), trigger_mode="always_last")
    _answer(page, page.cases.tick, on.cases.tell, ("cases", "cases_tab", "news"))
    _answer(page, page.news.clear, on.cases.seen, ("case", "cases", "cases_tab", "news"))
    _ask_after(page, page.cases.select, on.cases.open, everything, **_EACH)
    for event, change in ((page.cases.edit, on.cases.close), (page.cases.delete, on.cases.delete)):
        _answer(page, event, change, ("case", "cases", "cases_tab"), **_EACH)
    said = tuple(page.translate("en", ""))
    loaded = _ask_after(page, blocks.load, page.translate, said, js=_REMEMBERED)
    loaded.then(None, None, None, js=(ASSETS / "page.js").read_text(encoding="utf-8"))
    translated = _ask_after(page, page.language.input, page.translate, said, js=_REMEMBER)
    _answer(page, translated.then, query.scene, ("scene",))
    for told in (loaded, translated):
        _answer(page, told.then, on.cases.shown, ("case_form", "news", "cases", "cases_tab"))
    _search(page)


def _search(page: Layout) -> None:
    """The one search of all causes: one follows another, so that what was asked last is shown last."""
    # A number that is typed beside a slider is not released.
    causes = [
        page.asked.change,
        page.case.change,
        page.group.input,
        page.query_camera.input,
        page.k.change,
    ]
    for component in page.fields.values():
        if isinstance(component, gr.Slider):
            causes.append(component.release)
        elif isinstance(component, gr.Textbox):
            causes += [component.submit, component.blur]
        else:
            causes.append(component.input)
    _answer(
        page,
        partial(gr.on, causes),
        page.events.searches.search,
        ("found", "drawn", "seen", "place", "shown", "address"),
        trigger_mode="always_last",
        concurrency_limit=4,
    )


def _ask_after(
    page: Layout,
    event: Callable[..., Any],
    handler: Callable[..., dict[str, Any]],
    gives: Sequence[str],
    **options: Any,
) -> Any:
    """Let a handler answer an event, and ask for a search afterwards."""
    options = {"trigger_mode": "always_last", "concurrency_limit": 4, **options}
    return _answer(page, event, handler, gives, counts="asked", **options)


def _answer(
    page: Layout,
    event: Callable[..., Any],
    handler: Callable[..., dict[str, Any]],
    gives: Sequence[str],
    counts: str | None = None,
    cost: int = 1,
    **options: Any,
) -> Any:
    """Let a handler answer an event.

    Args:
        page: where the parts are.
        event: a component's.
        handler: gets the values of those parts that its parameters name, and answers by name; `say` is the
            page's language, `caller` who asks, `event` what happened.
        gives: names of the parts that it may answer with.
        cost: encodings that it takes, where they are many.
        counts: a part that gets a number of its own, whose change starts what follows.
        options: of the event.
    """
    wanted = signature(handler).parameters
    names = [name for name in wanted if name not in ("event", "say", "caller")]
    fields = page.fields if "conditions" in names else {}
    parts = {name: page.part(name) for name in names if name != "conditions"}
    spoken = {page.language, page.zone} if "say" in wanted else set()

    def answer(values: dict[Any, Any], request: gr.Request) -> Any:
        return answer_with(values, request)

    def answer_event(values: dict[Any, Any], request: gr.Request, event: gr.EventData) -> Any:
        return answer_with(values, request, event=event)

    def answer_with(values: dict[Any, Any], request: gr.Request, **given: Any) -> Any:
        if cost > 1:
            charge(request, cost)
        given |= {name: values[part] for name, part in parts.items()}
        if spoken:
            given["say"] = Say(values[page.language], values[page.zone] or "UTC")
        if "caller" in wanted:
            given["caller"] = request.state.caller
        if fields:
            given["conditions"] = {name: values[field] for name, field in fields.items()}
        with deadline(REQUEST_SECONDS):
            answers = handler(**given)
        if counts is not None:
            answers = answers | {counts: next(_COUNT)}
        return {page.part(name): value for name, value in answers.items()} or gr.skip()

    wired = answer_event if "event" in wanted else answer
    # Gradio names the event after its function.
    wired.__name__ = handler.__name__
    return event(
        wired,
        {*parts.values(), *fields.values(), *spoken},
        [page.part(name) for name in (*gives, *([counts] if counts else []))],
        **_QUIET,
        **options,
    )
