"""The one search that all of the page's events end in: what it finds, counts and draws."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from retrieval.cases.case import SavedSearch
from retrieval.gallery.entries import Result
from retrieval.gallery.filters import FIELDS, Filters
from retrieval.journeys.journey import Step, journey
from retrieval.journeys.store import LinkStore, journeys_of
from retrieval.page import cards, panels
from retrieval.page import journey as journey_html
from retrieval.page.address import Address
from retrieval.page.audited_searcher import AuditedSearcher
from retrieval.page.events.query import DEFAULT_RESULTS
from retrieval.page.filter_fields import from_fields
from retrieval.page.place import place_map
from retrieval.page.state import Answer, QueryState, Shown, asked_with, detail
from retrieval.page.texts import Say
from retrieval.query.feedback import Feedback, still_there
from retrieval.query.looks import Looks
from retrieval.query.sameness import can_weigh, verdict
from retrieval.results.trajectory import trajectory
from retrieval.service.access import Caller
from zoo.errors import UserError


class SearchEvents:
    """The handlers of the search; see `PageEvents`."""

    def __init__(self, searcher: AuditedSearcher) -> None:
        self._searcher = searcher
        self._gallery = searcher.gallery
        self._card = searcher.gallery.model.card

    def search(
        self,
        state: QueryState,
        feedback: Feedback,
        shown: Shown,
        case: str,
        caller: Caller,
        say: Say,
        words: str,
        k: int,
        group: str,
        rerank: bool,
        query_camera: int | None,
        looks: Looks | None,
        conditions: dict[str, Any],
    ) -> Answer:
        """Search with what is there: results, drawings, predictions, and the state of what is shown."""
        chosen = Filters.read({name: conditions[name] for name in ("color", "type")})
        looks = looks and looks.beside(chosen)
        search = SavedSearch(words, Filters(), feedback, int(k), group, rerank, query_camera, looks)
        asked = (state, search, repr(conditions), case, say, len(self._gallery))
        if asked == shown.asked:
            return {}
        seen, drawn, found = "", "", []
        is_answer = False
        address: Answer = {}
        try:
            if state.query is not None:
                calibrated = any(value != 1 for value in self._card.temperature.values())
                can = can_weigh(self._gallery)
                seen = panels.prediction(state.query, chosen, looks, can, calibrated, say)
            search = replace(search, filters=from_fields(conditions, say.zone))
            search.filters.check(self._card)
            if state.fault:
                html = cards.notice(say("bad.image"), state.fault, "error")
            elif state.query is None and search.filters == Filters():
                html = self._nothing(words, say)
            else:
                told_of = asked_with(state, words, caller)
                with self._gallery.read_transaction():
                    found = say.localized(self._found(state, search, told_of))
                    total, images = self._gallery.count(search.filters), len(self._gallery)
                    drawn = self._drawn(found, feedback, say)
                html = self._results(state, search, found, (total, images), say)
                is_answer = True
            if not state.fault:
                told = state.address(replace(search, k=0 if int(k) == DEFAULT_RESULTS else int(k)), case)
                # A page that has just been opened may still be told what its address says.
                if shown.asked or told != Address():
                    address = {"address": panels.address(told.write(), say)}
        except UserError as error:
            html = cards.notice(say("bad.filters"), say.error(str(error)), "error")
        place, on_map = self._on_map(search.filters, shown.place, say)
        return (
            address
            | on_map
            | {
                "found": html,
                "drawn": drawn,
                "seen": seen,
                "shown": Shown(asked, tuple(found), search, place, is_answer),
            }
        )

    def _on_map(self, filters: Filters, before: int, say: Say) -> tuple[int, Answer]:
        """The map to choose on, where it is not what it was; and a hash of what it shows."""
        cameras = self._gallery.cameras()
        shows = hash((tuple(cameras), filters.near, filters.cameras, say))
        return shows, {} if shows == before else {"place": place_map(cameras, filters, say)}

    def _nothing(self, words: str, say: Say) -> str:
        """What stands in the place of results where nothing is asked for; why, where somebody has tried."""
        unknown = panels.not_understood(self._searcher.understand(words, say.zone), say)
        if not unknown:
            return cards.notice(say("nothing"), say("nothing.text"))
        text = say("words.none.text", words=", ".join(unknown), example=self.example(say))
        return cards.notice(say("words.none"), text)

    def example(self, say: Say) -> str:
        """Words that this gallery can answer: those of one of its images."""
        for result in self._gallery.results(self._gallery.sample_keys(1)):
            look = " ".join(say.label(part) for part in (result.color, result.type) if part)
            parts = [look, "" if result.camera is None else say("camera.id", id=result.camera)]
            return ", ".join(part for part in parts if part)
        return ""

    def _found(self, state: QueryState, search: SavedSearch, told: Mapping[str, Any]) -> list[Result]:
        if state.query is None:
            return self._searcher.browse(search.filters, search.k, search.feedback.negative, told)
        return self._searcher.search(
            state.queries,
            search.k,
            search.filters,
            told=told,
            feedback=still_there(self._gallery, search.feedback),
            rerank=search.rerank,
            group=search.group if search.group in ("track", "vehicle") else None,
            without=(state.key,) if state.key else (),
            camera=search.query_camera if self._gallery.camera_centring else None,
            looks=search.looks,
        )

    def _drawn(self, found: Sequence[Result], feedback: Feedback, say: Say) -> str:
        """Map and times of results, and the journey of the first one; where it is of none, their legs."""
        cameras = self._gallery.cameras()
        journeys = journeys_of(self._gallery, [result.key for result in found])
        drawn = panels.drawings(found, cameras, feedback.positive, journeys, say)
        way = journey_html.way(self._way(found, journeys, say), cameras, self._gallery.writable, say)
        return drawn + (way or panels.legs(trajectory(found, feedback.positive, journeys), say))

    def _way(self, found: Sequence[Result], journeys: dict[str, str], say: Say) -> list[Step]:
        """The journey of the first result; empty where it is of none."""
        if not found or not journeys:
            return []
        steps = journey(self._gallery, LinkStore(self._gallery.folder), found[0].key) or []
        steps = [replace(step, images=tuple(say.localized(step.images))) for step in steps]
        return steps if len(steps) > 1 else []

    def _results(
        self, state: QueryState, search: SavedSearch, found: list[Result], counts: tuple[int, int], say: Say
    ) -> str:
        """The results; `counts` are the images that meet the filters, and all of them."""
        filters = search.filters
        if not found:
            return cards.nothing_meets(self._without_each(filters), say)
        total, images = counts
        how = "newest" if state.query is None else "nearest" if filters == Filters() else "nearest.filtered"
        text = say(how, count=len(found), total=f"{total:,}", others=f"{images - total:,}")
        told = ""
        if state.query is not None:
            promised = self._searcher.false_match_rate
            told = cards.verdict(verdict(self._gallery, found, promised), found, promised, say)
            hidden = self._searcher.hidden_look_alikes(state.query, filters)
            if hidden:
                told += cards.hidden(hidden, any(can_weigh(self._gallery).values()), say)
        made_of = self._gallery.crops([result.key for result in found])
        return cards.found(told, text, found, search.feedback, made_of, len(found) < total, say)

    def marked_link(self, event: gr.EventData, shown: Shown, feedback: Feedback, say: Say) -> Answer:
        """Draw the way anew after somebody has confirmed or cut a link; a cut can be taken back."""
        key = str(detail(event, "key"))
        if not shown.results:
            return {}
        with self._gallery.read_transaction():
            drawn = self._drawn(shown.results, feedback, say)
        return {"drawn": drawn + journey_html.take_back(key, str(detail(event, "cut") or ""), say)}

    def _without_each(self, filters: Filters) -> list[tuple[str, int]]:
        """How many images would meet the filters without one of them; those that would help, by name."""
        active = [each for each in FIELDS if each.name in filters.parameters()]
        counts = [
            (
                each.name,
                self._gallery.count(replace(filters, **{each.attribute: getattr(Filters(), each.attribute)})),
            )
            for each in active
        ]
        return sorted(((name, count) for name, count in counts if count), key=lambda each: -each[1])
