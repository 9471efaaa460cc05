"""What the page's events do. They take keys of the gallery, marks and filter values, never a path.

What changes the query is in `query_events`.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from retrieval.cases.watch import FALSE_ALARMS
from retrieval.gallery.clock import format_time, is_date
from retrieval.gallery.entries import Result
from retrieval.gallery.filters import FIELDS, Filters
from retrieval.journeys.journey import Step, journey
from retrieval.journeys.store import LinkStore, journeys_of
from retrieval.page import cards, dialog, panels
from retrieval.page import journey as journey_html
from retrieval.page.address import Address
from retrieval.page.audited_searcher import AuditedSearcher
from retrieval.page.case_events import CaseEvents
from retrieval.page.filter_fields import EMPTY, contents, from_fields
from retrieval.page.query_events import DEFAULT_RESULTS, MAX_RESULTS, QueryEvents
from retrieval.page.state import Answer, QueryState, Shown, asked_with, detail
from retrieval.page.texts import Say
from retrieval.page.uploads import Uploads
from retrieval.query.feedback import Feedback, still_there
from retrieval.query.occlusion import ImageComparison, compare
from retrieval.query.sameness import verdict
from retrieval.results.downloads import FORMATS, SearchReport, make_download
from retrieval.results.trajectory import trajectory
from retrieval.service.access import Caller
from retrieval.sources.crop import crop
from serving.encoders.image import InputImage
from zoo.decoding_memory import DecoderBusyError
from zoo.errors import UserError
from zoo.preprocess import ImageError

MAX_MARKS = 100
MORE = 20


class PageEvents:
    """The event handlers of one service; what belongs to a visitor comes in and goes out as states.

    A handler's parameters are named after the parts of the page whose values it gets, `event` aside;
    `conditions` are the filters' fields, by name.

    Attributes:
        queries: those of what changes the query.
        cases: those of cases.
        zone: of times since 1970; empty for the browser's.
    """

    def __init__(
        self,
        searcher: AuditedSearcher,
        examples: Sequence[Path],
        uploads: Uploads,
        alarms_per_day: float = FALSE_ALARMS,
        zone: str = "",
    ) -> None:
        self.zone = zone
        self._searcher = searcher
        self.queries = QueryEvents(searcher, examples, uploads)
        self.cases = CaseEvents(searcher, self.queries, alarms_per_day)
        self._gallery = searcher.gallery
        self.card = searcher.gallery.model.card
        self.camera_centring = searcher.gallery.camera_centring

    def choose(self, event: gr.EventData, color: list[str], type: list[str]) -> Answer:
        """Make a predicted colour or type a filter, or no longer one."""
        value = detail(event, "value")
        field = "color" if detail(event, "condition") == "color" else "type"
        chosen, known = (color, self.card.colors) if field == "color" else (type, self.card.types)
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

    def forget(self) -> Answer:
        """No marks at all."""
        return {"feedback": Feedback()}

    def mark(self, event: gr.EventData, feedback: Feedback) -> Answer:
        """This one, not that one, or neither of it any more."""
        key, verdict = str(detail(event, "key")), detail(event, "verdict")
        positive = tuple(each for each in feedback.positive if each != key)
        negative = tuple(each for each in feedback.negative if each != key)
        if self._gallery.results([key]) and len(positive) + len(negative) < MAX_MARKS:
            if verdict == "yes":
                positive = (*positive, key)
            elif verdict == "no":
                negative = (*negative, key)
        return {"feedback": Feedback(positive, negative)}

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
        conditions: dict[str, Any],
    ) -> Answer:
        """Search with what is there: results, drawings, predictions, and the state of what is shown."""
        asked = (
            state,
            feedback,
            case,
            say,
            words,
            k,
            group,
            rerank,
            query_camera,
            repr(conditions),
            len(self._gallery),
        )
        if asked == shown.asked:
            return {}
        seen, drawn, found, filters = "", "", [], Filters()
        is_answer = False
        address: Answer = {}
        try:
            if state.query is not None:
                calibrated = any(value != 1 for value in self.card.temperature.values())
                chosen = Filters.read({name: conditions[name] for name in ("color", "type")})
                seen = panels.prediction(state.query, chosen, calibrated, say)
            filters = from_fields(conditions, say.zone)
            filters.check(self.card)
            if state.fault:
                html = cards.notice(say("bad.image"), state.fault, "error")
            elif state.query is None and filters == Filters():
                html = self._nothing(words, say)
            else:
                told_of = asked_with(state, words, caller)
                with self._gallery.read_transaction():
                    found = self._found(
                        state, feedback, filters, int(k), group, rerank, query_camera, told_of
                    )
                    found = say.localized(found)
                    total, images = self._gallery.count(filters), len(self._gallery)
                    drawn = self._drawn(found, feedback, say)
                html = self._results(state, feedback, filters, found, (total, images), say)
                is_answer = True
            if not state.fault:
                number = 0 if int(k) == DEFAULT_RESULTS else int(k)
                told = Address(
                    state.upload,
                    state.key,
                    state.box,
                    words,
                    filters,
                    feedback,
                    number,
                    group,
                    rerank,
                    query_camera,
                    tuple((each.name, each.box) for each in state.others),
                    case,
                )
                # A page that has just been opened may still be told what its address says.
                if shown.asked or told != Address():
                    address = {"address": panels.address(told.write(), say)}
        except UserError as error:
            html = cards.notice(say("bad.filters"), say.error(str(error)), "error")
        return address | {
            "found": html,
            "drawn": drawn,
            "seen": seen,
            "shown": Shown(asked, tuple(found), filters, is_answer),
        }

    def _nothing(self, words: str, say: Say) -> str:
        """What stands in the place of results where nothing is asked for; why, where somebody has tried."""
        unknown = panels.not_understood(self._searcher.understand(words, say.zone), say)
        if not unknown:
            return cards.notice(say("nothing"), say("nothing.text"))
        text = say("words.none.text", words=", ".join(unknown), example=self._example(say))
        return cards.notice(say("words.none"), text)

    def _example(self, say: Say) -> str:
        """Words that this gallery can answer: those of one of its images."""
        for result in self._gallery.results(self._gallery.sample_keys(1)):
            look = " ".join(say.label(part) for part in (result.color, result.type) if part)
            parts = [look, "" if result.camera is None else say("camera.id", id=result.camera)]
            return ", ".join(part for part in parts if part)
        return ""

    def _found(
        self,
        state: QueryState,
        feedback: Feedback,
        filters: Filters,
        k: int,
        group: str,
        rerank: bool,
        camera: int | None,
        told: Mapping[str, Any],
    ) -> list[Result]:
        if state.query is None:
            return self._searcher.browse(filters, k, feedback.negative, told)
        return self._searcher.search(
            state.queries,
            k,
            filters,
            told=told,
            feedback=still_there(self._gallery, feedback),
            rerank=rerank,
            group=group if group in ("track", "vehicle") else None,
            without=(state.key,) if state.key else (),
            camera=camera if self.camera_centring else None,
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
        self,
        state: QueryState,
        feedback: Feedback,
        filters: Filters,
        found: list[Result],
        counts: tuple[int, int],
        say: Say,
    ) -> str:
        """The results; `counts` are the images that meet the filters, and all of them."""
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
                told += f'<p class="vr-hidden" role="status">{escape(say("hidden", count=hidden))}</p>'
        made_of = self._gallery.crops([result.key for result in found])
        return cards.found(told, text, found, feedback, made_of, len(found) < total, say)

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

    def more(self, k: int) -> Answer:
        """Show more results; the slider that says how many goes along."""
        wanted = int(k) + MORE
        return {"k": gr.update(value=wanted, maximum=max(MAX_RESULTS, wanted))}

    def compare(
        self, event: gr.EventData, state: QueryState, shown: Shown, feedback: Feedback, say: Say
    ) -> Answer:
        """Show query and result side by side at once; the regions come with `regions`."""
        key = str(detail(event, "key"))
        html = self._comparison(key, None, state, shown, feedback, say)
        return {"comparison": html, "compared": key} if html else {}

    def regions(
        self,
        compared: str,
        state: QueryState,
        shown: Shown,
        feedback: Feedback,
        caller: Caller,
        say: Say,
    ) -> Answer:
        """The same with the regions that make the two alike, which takes dozens of encodings."""
        if compared not in [result.key for result in shown.results]:
            return {}
        found: ImageComparison | str = ""
        query = self.queries.image(state)
        other = self._gallery.picture(compared)
        if state.picture and query is not None and other:
            try:
                self._searcher.note(
                    shown.filters, [compared], action="compare", **asked_with(state, "", caller)
                )
                result = InputImage(other, "the result")
                found = compare(self._searcher.encoder, crop(query, state.box), result)
            except (DecoderBusyError, ImageError, UserError) as error:
                found = say.error(str(error))
        html = self._comparison(compared, found, state, shown, feedback, say)
        return {"comparison": html}

    def _comparison(
        self,
        key: str,
        found: ImageComparison | str | None,
        state: QueryState,
        shown: Shown,
        feedback: Feedback,
        say: Say,
    ) -> str:
        """The dialog of one of the results; empty where it is none of them any more."""
        keys = [result.key for result in shown.results]
        if key not in keys:
            return ""
        place = keys.index(key)
        neighbours = keys[place - 1] if place else "", keys[place + 1] if place + 1 < len(keys) else ""
        result = shown.results[place]
        return dialog.comparison(
            state.query,
            panels.data_uri(state.picture) if state.picture else None,
            result,
            self._seen(state, feedback, result, say),
            found,
            neighbours,
            feedback,
            say,
        )

    def _seen(self, state: QueryState, feedback: Feedback, result: Result, say: Say) -> Result | None:
        """The query's own sighting, else the marked one that is nearest to a result in time."""
        marked = [key for key in feedback.positive if key != result.key]
        known = say.localized(self._gallery.results([state.key] if state.key else marked))
        timed = [each for each in known if each.time is not None] or known
        return min(timed, key=lambda each: abs((each.time or 0) - (result.time or 0)), default=None)

    def download(
        self, event: gr.EventData, state: QueryState, shown: Shown, feedback: Feedback, caller: Caller
    ) -> Answer:
        """Write the results that are shown into a file of the upload folder, for the browser to fetch."""
        format = next((each for each in FORMATS if each == detail(event, "format")), None)
        if format is None or not shown.results:
            return {}
        keys = [result.key for result in shown.results]
        self._searcher.note(
            shown.filters, keys, action="export", format=format, **asked_with(state, "", caller)
        )
        with self._gallery.read_transaction():
            pictures, cameras = self._gallery.pictures(keys), self._gallery.cameras()
            searched = self._gallery.count(shown.filters)
        promised = self._searcher.false_match_rate
        told = None if state.query is None else verdict(self._gallery, shown.results, promised)
        report = SearchReport(
            shown.results,
            shown.filters,
            state.picture,
            self.card.name,
            pictures,
            cameras,
            feedback.positive,
            told,
            promised,
            searched,
            journeys_of(self._gallery, keys),
        )
        folder = Path(tempfile.mkdtemp(dir=get_upload_folder()))
        path = folder / f"results.{format}"
        path.write_bytes(make_download(report, format))
        return {"file": gr.update(value=str(path))}

    def header(self, say: Say) -> str:
        """The title with what is in the gallery now."""
        with self._gallery.read_transaction():
            images, cameras = len(self._gallery), len(self._gallery.cameras())
            known = self._gallery.time_range()
        zone = str(say.zone) if known and is_date(known[1]) else ""
        return panels.header(self.card.name, images, cameras, zone, say)

    def cameras(self, say: Say) -> list[tuple[str, int]]:
        """The cameras to choose from; one without a name is called by its number."""
        return [
            (camera.name if camera.is_named else say("camera.id", id=camera.id), camera.id)
            for camera in self._gallery.cameras()
        ]

    def placeholders(self, say: Say) -> dict[str, str]:
        """What to write into a field, by its name; for times, the gallery's first and last."""
        first, last = self._gallery.time_range() or (0.0, 600.0)
        first_and_last = format_time(first, say.zone), format_time(last, say.zone)
        return {"after": first_and_last[0], "before": first_and_last[1], "near": "48.133,11.567,500"}

    def words_example(self, say: Say) -> str:
        """What to write into the box of plain words."""
        return self._example(say) or say("words.example")
