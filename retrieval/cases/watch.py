"""The watch on cases: new entries of the gallery that are as near as few strangers come.

How many strangers of a day are expected nearer than a distance is told by the model's sameness calibration,
with a day's images in the place of the gallery's (see `zoo.sameness`): an entry is an alarm where that is at
most the number of false alarms a day that the case allows. A day's images are counted as they come.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from retrieval.cases.case import Case
from retrieval.cases.store import CaseStore
from retrieval.cases.watch_state import DAY, Alarm, WatchState
from retrieval.gallery.base import Gallery, Newcomers
from retrieval.gallery.distances import distances
from retrieval.gallery.filters import Filters
from retrieval.query.redundancy import redundancy_of
from retrieval.query.sameness import calibration_of
from zoo.errors import UserError
from zoo.sameness import COHORT, Standing

FALSE_ALARMS = 1.0
"""A day, for one case, where nobody asks for another number."""

EVERY = 4.0
"""Seconds between two looks at what is new."""

IMAGES_OF_ONE = 1.5
"""What the calibration, which is fitted to the nearest stranger of a search, is multiplied by: one stranger
comes in several images, and each is an alarm."""

_WRITTEN_EVERY = 600.0
"""Seconds after which it is written how far was looked, where nothing was found meanwhile."""

_log = logging.getLogger(__name__)


class Watcher:
    """Holds what comes into a gallery against the cases that are watched, whoever adds it.

    Args:
        gallery: a folder's.
        store: its cases.
        clock: seconds since 1970.
    """

    def __init__(self, gallery: Gallery, store: CaseStore, clock: Callable[[], float] = time.time) -> None:
        self._gallery = gallery
        self._store = store
        self._clock = clock
        self._states: dict[str, WatchState] = {}
        self._written: dict[str, float] = {}

    def look(self) -> int:
        """Look at what has come since the last time; return how many alarms there are more.

        What a process that was killed had not written yet is looked at again.

        Raises:
            UserError: an alarm cannot be written.
        """
        if calibration_of(self._gallery) is None:
            return 0
        watched = [
            case
            for case in self._store.list()[0]
            if case.is_watched and case.findings.model_hash == self._gallery.model.hash
        ]
        self._states = {case.id: self._states.get(case.id) or self._begun(case) for case in watched}
        cohorts: dict[Filters, np.ndarray] = {}
        return sum(self._look_for(case, cohorts) for case in watched)

    def _begun(self, case: Case) -> WatchState:
        """The state that the file holds; else that of a watch which begins now."""
        state = self._store.watch_state(case.id)
        if state is not None:
            return state
        filters = case.search.filters
        with self._gallery.read_transaction():
            known, images = self._gallery.time_range(), self._gallery.count(filters)
            until = self._gallery.newcomers(None).until
        days = max((known[1] - known[0]) / DAY, 1.0) if known else 1.0
        begun = WatchState(until, self._clock(), images / days)
        return self._store.note_watch(case.id, begun)

    def _look_for(self, case: Case, cohorts: dict[Filters, np.ndarray]) -> int:
        sameness, found = calibration_of(self._gallery), 0
        assert sameness is not None
        while True:
            state, filters = self._states[case.id], case.search.filters
            with self._gallery.read_transaction():
                new = self._gallery.newcomers(state.since, filters)
                if new.until == state.since:
                    break
                if len(new.keys) and filters not in cohorts:
                    cohorts[filters] = self._gallery.sample(COHORT, filters)
                images = self._gallery.count(filters)
                redundancy = redundancy_of(self._gallery, sameness, filters, images) if new.keys else None
            state = replace(state, since=new.until).with_arrivals(self._clock(), len(new.keys))
            alarms: tuple[Alarm, ...] = ()
            if new.keys:
                strangers = distances(case.embedding, cohorts[filters], self._gallery.model.card.metric)
                among_all = sameness.standing(strangers, images, redundancy)
                a_day = sameness.standing(strangers, round(state.images_a_day(self._clock())))
                alarms = self._alarms(case, state, new, among_all, a_day)
            found += len(alarms)
            self._states[case.id] = replace(state, found=(*state.found, *alarms))
            if alarms or self._clock() - self._written.get(case.id, 0.0) > _WRITTEN_EVERY:
                self._states[case.id] = self._store.note_watch(case.id, self._states[case.id])
                self._written[case.id] = self._clock()
        return found

    def _alarms(
        self, case: Case, state: WatchState, new: Newcomers, among_all: Standing, a_day: Standing
    ) -> tuple[Alarm, ...]:
        now, search = self._clock(), case.search
        apart = distances(case.embedding, new.embeddings, self._gallery.model.card.metric)
        expected = IMAGES_OF_ONE * np.exp(np.minimum(a_day.log_expected(apart), 50.0))
        known = {image.key for image in case.images} | {*search.feedback.positive, *search.feedback.negative}
        known |= {alarm.key for alarm in state.found}
        return tuple(
            Alarm(
                new.keys[row],
                float(apart[row]),
                float(among_all.probabilities(apart[row : row + 1])[0]),
                float(expected[row]),
                now,
            )
            for row in np.flatnonzero(expected <= case.alarms_per_day).tolist()
            if new.keys[row] not in known
        )


async def watch(watcher: Watcher, every: float = EVERY) -> None:
    """Look again and again, without an end."""
    while True:
        try:
            await asyncio.to_thread(watcher.look)
        except UserError as error:
            _log.warning("the watch on cases: %s", error)
        await asyncio.sleep(every)
