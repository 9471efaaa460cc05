"""What the watch on a case has found, and how far it has looked."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

DAY = 86_400.0
MAX_ALARMS = 1000
"""Of one case; the oldest go first."""

_WINDOW = 7
"""Days whose images tell how many there are a day."""


@dataclass(frozen=True)
class Alarm:
    """A new entry that is near to a case's query.

    Attributes:
        key: of the entry.
        distance: to what the case compares.
        probability: that it shows the vehicle.
        expected: how many strangers of a day come at least as near.
        found: seconds since 1970.
        is_seen: whether somebody has looked at it.
    """

    key: str
    distance: float
    probability: float
    expected: float
    found: float
    is_seen: bool = False


@dataclass(frozen=True)
class WatchState:
    """How far a case's watch has come.

    Attributes:
        since: up to where it has looked; see `Gallery.newcomers`.
        begun: seconds since 1970.
        prior: images a day that the gallery had before, as far as the times of its images tell.
        days: how many images that meet the case's filters came, by the day since 1970.
        found: the alarms, the oldest first.
    """

    since: int
    begun: float
    prior: float
    days: Mapping[int, int] = field(default_factory=dict)
    found: tuple[Alarm, ...] = ()

    def with_arrivals(self, now: float, count: int) -> "WatchState":
        """The same, and that more images came."""
        today = int(now // DAY)
        days = {day: held for day, held in self.days.items() if day > today - _WINDOW}
        return replace(self, days=days | {today: days.get(today, 0) + count})

    def images_a_day(self, now: float) -> float:
        """How many images come a day: of the last week, and as many days more as the gallery tells of: one.

        A day on which more came counts by itself, so that a month that is brought in at once does not raise
        a month's alarms.
        """
        today = int(now // DAY)
        elapsed = min(max(now - self.begun, 0.0) / DAY, float(_WINDOW))
        came = sum(held for day, held in self.days.items() if day > today - _WINDOW)
        return max((self.prior + came) / (1 + elapsed), float(self.days.get(today, 0)), 1.0)

    def merged(self, held: "WatchState | None") -> "WatchState":
        """With what another process has written meanwhile: what it found, and what was looked at there."""
        if held is None:
            return self
        known = {alarm.key: alarm for alarm in held.found}
        found = (*held.found, *(alarm for alarm in self.found if alarm.key not in known))[-MAX_ALARMS:]
        days = {day: max(self.days.get(day, 0), held.days.get(day, 0)) for day in {*self.days, *held.days}}
        return replace(self, since=max(self.since, held.since), days=days, found=found)

    @property
    def unseen(self) -> int:
        """How many alarms nobody has looked at."""
        return sum(not alarm.is_seen for alarm in self.found)

    def as_json(self) -> dict[str, Any]:
        """What the file holds."""
        return asdict(self) | {"days": {str(day): count for day, count in self.days.items()}}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "WatchState":
        """Read what `as_json` has written.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        days = {int(day): int(count) for day, count in content["days"].items()}
        return cls(**{**content, "days": days, "found": tuple(Alarm(**each) for each in content["found"])})
