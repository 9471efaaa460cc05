"""What the page's events do with the results that are shown: marked, compared, and taken along as a file."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder

from retrieval.gallery.entries import Result
from retrieval.journeys.store import journeys_of
from retrieval.page import dialog, panels
from retrieval.page.audited_searcher import AuditedSearcher
from retrieval.page.events.query import MAX_RESULTS, QueryEvents
from retrieval.page.state import Answer, QueryState, Shown, asked_with, detail
from retrieval.page.texts import Say
from retrieval.query.feedback import Feedback
from retrieval.query.occlusion import ImageComparison, compare
from retrieval.query.sameness import verdict
from retrieval.results.downloads import FORMATS, SearchReport, make_download
from retrieval.service.access import Caller
from retrieval.sources.crop import crop
from retrieval.sources.originals import Originals
from serving.encoders.image import InputImage
from zoo.decoding_memory import DecoderBusyError
from zoo.errors import UserError
from zoo.preprocess import ImageError

MAX_MARKS = 100
MORE = 20


class ResultEvents:
    """The handlers of results; see `PageEvents`."""

    def __init__(
        self, searcher: AuditedSearcher, queries: QueryEvents, originals: Originals | None = None
    ) -> None:
        self._searcher = searcher
        self._gallery = searcher.gallery
        self._queries = queries
        self._originals = originals

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
        query = self._queries.image(state)
        other = self._gallery.picture(compared)
        if state.picture and query is not None and other:
            try:
                self._searcher.note(
                    shown.search.filters, [compared], action="compare", **asked_with(state, "", caller)
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
            self._with_scenes([state.key, key]),
            say,
        )

    def _with_scenes(self, keys: Sequence[str]) -> list[str]:
        """Those images whose whole scene may be shown."""
        if self._originals is None:
            return []
        origins = self._gallery.origins([key for key in keys if key])
        return [key for key, origin in origins.items() if self._originals.may_have(key, origin.source)]

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
            shown.search.filters, keys, action="export", format=format, **asked_with(state, "", caller)
        )
        with self._gallery.read_transaction():
            pictures, cameras = self._gallery.pictures(keys), self._gallery.cameras()
            searched = self._gallery.count(shown.search.filters)
        promised = self._searcher.false_match_rate
        told = None if state.query is None else verdict(self._gallery, shown.results, promised)
        report = SearchReport(
            shown.results,
            shown.search.filters,
            state.picture,
            self._gallery.model.card.name,
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
