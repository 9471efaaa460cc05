"""What the page's events do to cases: save the search that is shown as one, open, close and delete them."""

import time
from typing import Any

import gradio as gr

from retrieval.cases.case import Case, CaseImage, new_id
from retrieval.cases.saving import findings_of
from retrieval.cases.store import UnknownCaseError
from retrieval.page import cases as html
from retrieval.page.audited_searcher import AuditedSearcher
from retrieval.page.events.query import QueryEvents
from retrieval.page.state import Answer, QueryState, Shown, detail
from retrieval.page.texts import Say
from retrieval.query.sameness import can_tell
from retrieval.service.access import Caller
from zoo.errors import UserError
from zoo.numbers import plain

MAX_SHOWN = 50
"""Alarms of one watch."""


class CaseEvents:
    """The handlers of cases; see `PageEvents`.

    Args:
        searcher: answers.
        queries: the handlers of the query.
        alarms_per_day: false alarms a day that are proposed for watches.

    Attributes:
        are_kept: whether the gallery is one whose cases can be kept.
    """

    def __init__(self, searcher: AuditedSearcher, queries: QueryEvents, alarms_per_day: float) -> None:
        self._searcher = searcher
        self._alarms_per_day = alarms_per_day
        self._queries = queries
        self.store = queries.cases
        self.are_kept = searcher.gallery.owns_folder

    def form(self, case: str, say: Say) -> Answer:
        """The fields of the open case, and what its watch has found."""
        if not self.are_kept:
            return {}
        opened = self._opened(case)
        alarms: float | None = None
        if can_tell(self._searcher.gallery):
            alarms = self._alarms_per_day if opened is None else opened.alarms_per_day
        return {"case_form": html.form(opened, alarms, say), "news": self._news(opened, say)}

    def _news(self, case: Case | None, say: Say) -> str:
        state = None if case is None else self.store.watch_state(case.id)
        keys = [] if state is None else [alarm.key for alarm in state.found[-MAX_SHOWN:]]
        found = say.localized(self._searcher.gallery.results(keys))
        entries = {result.key: result for result in found}
        return html.news(case, state, entries, time.time(), say)

    def tell(self, case: str, say: Say) -> Answer:
        """What watches have found meanwhile."""
        return self.listed(case, say) | {"news": self._news(self._opened(case), say)}

    def seen(self, caller: Caller, case: str, say: Say) -> Answer:
        """Note that what the watch on the open case has found was looked at."""

        def noted() -> str:
            self.store.mark_seen(case)
            return case

        answer = self._done(caller, case, say, noted)
        return answer | {"news": self._news(self._opened(case), say)}

    def shown(self, case: str, say: Say) -> Answer:
        """Form and list, as when the page is opened."""
        return self.form(case, say) | self.listed(case, say)

    def listed(self, case: str, say: Say, told: str = "") -> Answer:
        """The list, and how many cases are open."""
        if not self.are_kept:
            return {}
        found, damaged = self.store.list()
        states = {each.id: self.store.watch_state(each.id) for each in found if each.is_watched}
        unseen = {id: state.unseen for id, state in states.items() if state is not None and state.unseen}
        label = say("tab.cases", count=sum(not each.is_closed for each in found))
        if unseen:
            label += f" · {say('watch.unseen', count=sum(unseen.values()))}"
        return {
            "cases": html.listed(found, unseen, damaged, case, told, say),
            "cases_tab": gr.update(label=label),
        }

    def save(
        self,
        event: gr.EventData,
        caller: Caller,
        case: str,
        state: QueryState,
        shown: Shown,
        say: Say,
    ) -> Answer:
        """Keep the search that is shown, in the open case or as a new one."""
        if not shown.is_answer:
            return self.listed(case, say, say("case.nothing"))

        def kept() -> str:
            embedding, findings = findings_of(self._searcher, state.queries, shown.search, shown.results)
            old = self._opened(case) if detail(event, "how") != "new" else None
            made = Case(
                new_id() if old is None else old.id,
                str(detail(event, "name") or ""),
                self._images(state),
                embedding,
                shown.search,
                findings,
                notes=str(detail(event, "notes") or ""),
                is_closed=old is not None and old.is_closed,
                alarms_per_day=_number(detail(event, "alarms")),
            )
            self._searcher.note(
                shown.search.filters,
                [each.key for each in shown.results],
                caller.name,
                action="case",
                case=made.id,
            )
            return self.store.put(made, caller.name).id

        return self._done(caller, case, say, kept)

    def _images(self, state: QueryState) -> tuple[CaseImage, ...]:
        """What is searched with, as a case keeps it.

        Raises:
            UserError: the upload was forgotten meanwhile.
        """
        kept = []
        for each in state.all if state.query is not None else ():
            image = self._queries.image(each)
            if each.key:
                kept.append(CaseImage(each.key, picture=each.picture))
            elif image is None or image.data is None:
                raise UserError("the picture was forgotten meanwhile; upload it again")
            else:
                kept.append(CaseImage("", image.data, each.box, each.picture))
        return tuple(kept)

    def open(self, event: gr.EventData, say: Say) -> Answer:
        """Bring a case's search back."""
        return self._queries.bring_back(f"?case={detail(event, 'case')}", say)

    def leave(self) -> Answer:
        """Go on with the search, but not with its case."""
        return {"case": ""}

    def close(self, event: gr.EventData, caller: Caller, case: str, say: Say) -> Answer:
        """Close a case, or open it again."""
        id = str(detail(event, "case"))

        def changed() -> str:
            self.store.change(id, caller.name, is_closed=not self.store.get(id).is_closed)
            return case

        return self._done(caller, case, say, changed)

    def delete(self, event: gr.EventData, caller: Caller, case: str, say: Say) -> Answer:
        """Take a case away."""
        id = str(detail(event, "case"))

        def gone() -> str:
            self.store.delete(id)
            return "" if id == case else case

        return self._done(caller, case, say, gone)

    def _done(self, caller: Caller, case: str, say: Say, act: Any) -> Answer:
        """Do what changes a case, where this key may, and tell what came of it."""
        if caller.scope != "write":
            return self.listed(case, say, say("case.read.only"))
        try:
            opened = act()
        except UserError as error:
            return self.listed(case, say, say.error(str(error)))
        return {"case": opened} | self.listed(opened, say, say("case.done"))

    def _opened(self, case: str) -> Case | None:
        try:
            return self.store.get(case) if case else None
        except UnknownCaseError:
            return None


def _number(text: Any) -> float:
    """What somebody typed; nothing is no watch.

    Raises:
        UserError: it is no number.
    """
    try:
        return float(plain(text or 0))
    except (TypeError, ValueError):
        raise UserError(f"{text!r} false alarms a day: a number is expected") from None
