"""The handlers of one page, by subject. They take keys of the gallery, marks and values, never a path."""

from collections.abc import Sequence
from pathlib import Path

from retrieval.cases.watch import FALSE_ALARMS
from retrieval.gallery.clock import format_time, is_date
from retrieval.page import panels
from retrieval.page.audited_searcher import AuditedSearcher
from retrieval.page.cards import camera_name
from retrieval.page.events.cases import CaseEvents
from retrieval.page.events.filters import FilterEvents
from retrieval.page.events.query import QueryEvents
from retrieval.page.events.results import ResultEvents
from retrieval.page.events.search import SearchEvents
from retrieval.page.texts import Say
from retrieval.page.uploads import Uploads
from retrieval.sources.detector import Detector
from retrieval.sources.originals import Originals


class PageEvents:
    """The event handlers of one service; what belongs to a visitor comes in and goes out as states.

    A handler's parameters are named after the parts of the page whose values it gets, `event` aside;
    `conditions` are the filters' fields, by name.

    Args:
        searcher: answers.
        examples: image files to offer, in the upload folder.
        uploads: keeps the query pictures.
        alarms_per_day: false alarms a day that are proposed for the watch on a case.
        zone: of times since 1970; empty for the browser's.
        originals: the files that the gallery was filled from.
        detector: offers the vehicles of a scene to choose from.

    Attributes:
        queries: those of what changes the query.
        filters: those of what changes the filters.
        searches: those of the search itself.
        results: those of what is done with results.
        cases: those of cases.
        zone: as given.
    """

    def __init__(
        self,
        searcher: AuditedSearcher,
        examples: Sequence[Path],
        uploads: Uploads,
        alarms_per_day: float = FALSE_ALARMS,
        zone: str = "",
        originals: Originals | None = None,
        detector: Detector | None = None,
    ) -> None:
        self.zone = zone
        self.queries = QueryEvents(searcher, examples, uploads, detector)
        self.filters = FilterEvents(searcher)
        self.searches = SearchEvents(searcher)
        self.results = ResultEvents(searcher, self.queries, originals)
        self.cases = CaseEvents(searcher, self.queries, alarms_per_day)
        self._gallery = searcher.gallery
        self.card = searcher.gallery.model.card
        self.camera_centring = searcher.gallery.camera_centring

    def header(self, say: Say) -> str:
        """The title with what is in the gallery now."""
        with self._gallery.read_transaction():
            images, cameras = len(self._gallery), len(self._gallery.cameras())
            known = self._gallery.time_range()
        zone = str(say.zone) if known and is_date(known[1]) else ""
        return panels.header(self.card.name, images, cameras, zone, say)

    def cameras(self, say: Say) -> list[tuple[str, int]]:
        """The cameras to choose from."""
        return [(camera_name(camera, say), camera.id) for camera in self._gallery.cameras()]

    def placeholders(self, say: Say) -> dict[str, str]:
        """What to write into a field, by its name; for times, the gallery's first and last."""
        first, last = self._gallery.time_range() or (0.0, 600.0)
        first_and_last = format_time(first, say.zone), format_time(last, say.zone)
        return {"after": first_and_last[0], "before": first_and_last[1], "near": "48.133,11.567,500"}

    def words_example(self, say: Say) -> str:
        """What to write into the box of plain words."""
        return self.searches.example(say) or say("words.example")
