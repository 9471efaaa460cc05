"""Plain words to filters: `white suv camera 3 after 8:00`, `白色 SUV 3号摄像头 8:00 之后`.

Rules are tried one after another, those whose words could mean something else later; what a rule understands
is taken out of the text, and what is left over at the end is reported, never guessed.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Any

from retrieval.gallery.clock import format_time
from retrieval.gallery.entries import Camera
from retrieval.gallery.filters import Filters
from retrieval.gallery.geography import Near
from retrieval.query.grammar import DEGREES, NUMBER, SIDES, any_of, rules
from retrieval.query.spoken_time import mark_dates, read_moment, resolve
from retrieval.query.vocabulary import FILLERS, FILLERS_CHINESE, color_words, type_words
from zoo.card import Card

MAX_TEXT = 500
DEFAULT_RADIUS = 500.0
"""Metres that `near` means where no distance is said."""
MAX_RADIUS = 20_000_000.0
"""Metres: half of the way around the earth."""
AROUND = 900.0
"""Seconds before and after that `at 8:00` and `around 8:00` mean."""

_KILOMETRES = frozenset({"km", "kilometer", "kilometers", "kilometre", "kilometres", "公里", "千米"})
_CHINESE_NUMBERS = {name: number for number, name in enumerate("零一二三四五六七八九十")}


@dataclass(frozen=True)
class Phrase:
    """A piece of the text that was understood.

    Attributes:
        text: the piece.
        condition: what it became: `color`, `type`, `camera`, `time`, `near`, `vehicle`, `confidence`.
        meaning: the values, as people read them.
    """

    text: str
    condition: str
    meaning: str


@dataclass(frozen=True)
class Understood:
    """What a text says.

    Attributes:
        filters: the conditions.
        phrases: which piece became which, in the text's order.
        unknown: what nothing was made of.
        unknown_cameras: that the words speak of and the gallery does not have.
    """

    filters: Filters
    phrases: tuple[Phrase, ...]
    unknown: tuple[str, ...]
    unknown_cameras: tuple[int, ...] = ()


def read_words(
    text: str,
    card: Card,
    cameras: Sequence[Camera],
    last_known: float | None = None,
    zone: tzinfo = UTC,
) -> Understood:
    """Read conditions out of plain words, English or Chinese or both.

    Args:
        text: what somebody typed; characters after the first 500 are reported as not understood.
        card: what colours and types there are.
        cameras: what they are called and where they stand.
        last_known: the gallery's latest time; where it counts since 1970, `after 8:00` means that day.
        zone: whose days and hours are meant.
    """
    reader = _Reader(_normal(text[:MAX_TEXT]), card, cameras, last_known, zone)
    reader.read()
    phrases = tuple(phrase for _, phrase in sorted(reader.phrases, key=lambda item: item[0]))
    unknown = (*reader.left_over(), *([text[MAX_TEXT:]] if len(text) > MAX_TEXT else []))
    nowhere = tuple(dict.fromkeys(reader.unknown_cameras))
    return Understood(Filters.read(reader.values), phrases, unknown, nowhere)


def _normal(text: str) -> str:
    # Runs of spaces would have patterns go back and forth over them.
    return mark_dates(" ".join(unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'").split()))


@dataclass
class _Reader:
    text: str
    card: Card
    cameras: Sequence[Camera]
    last_known: float | None
    zone: tzinfo
    values: dict[str, Any] = field(default_factory=dict)
    """Conditions by the names of `gallery.filters.FIELDS`."""
    phrases: list[tuple[int, Phrase]] = field(default_factory=list)
    unknown_cameras: list[int] = field(default_factory=list)

    def read(self) -> None:
        colors, types = color_words(self.card), type_words(self.card)
        # Of thousands of cameras, the patterns are of the few that the text could speak of.
        names = {
            name: camera
            for camera in self.cameras
            if (name := _normal(camera.name)) in self.text and name not in colors and name not in types
        }
        understand: dict[str, Callable[[re.Match[str]], Phrase | None]] = {
            "near": self._near,
            "camera_names": lambda found: self._named(found, names),
            "cameras": lambda found: self._cameras(found, list(_numbers(found["ids"]))),
            "between": lambda found: self._times(found, "first", "second"),
            "after": self._after,
            "before": self._before,
            "around": self._around,
            "day": lambda found: self._times(found, "first", "first"),
            "confidence": self._confidence,
            "vehicle": self._vehicle,
            "type": lambda found: self._classes(found, "type", types, self.card.types),
            "color": lambda found: self._classes(found, "color", colors, self.card.colors),
            "side": self._side,
        }
        for name, pattern in rules(self.card, names):
            self._apply(pattern, understand[name])

    def _apply(self, pattern: re.Pattern[str], understand: Callable[[re.Match[str]], Phrase | None]) -> None:
        start = 0
        while found := pattern.search(self.text, start):
            phrase = understand(found)
            start = found.end() if found.end() > found.start() else found.end() + 1
            if phrase is not None:
                self.phrases.append((found.start(), phrase))
                # Taken out, and nothing reads on across the hole.
                hole = "\0" * (found.end() - found.start())
                self.text = self.text[: found.start()] + hole + self.text[found.end() :]

    def _set(self, found: re.Match[str], condition: str, meaning: str, **changes: Any) -> Phrase:
        self.values |= changes
        return Phrase(_shown(found[0]), condition, meaning)

    def _classes(
        self, found: re.Match[str], condition: str, words: dict[str, str], known: Sequence[str]
    ) -> Phrase | None:
        named = [words[word] for word in re.findall(any_of(words), found["names"], re.ASCII)]
        before = self.values.get(condition, ())
        if found["not"]:
            chosen = tuple(name for name in (before or known) if name not in named)
            meaning = "not " + ", ".join(dict.fromkeys(named))
        else:
            chosen = tuple(dict.fromkeys((*before, *named)))
            meaning = ", ".join(dict.fromkeys(named))
        return self._set(found, condition, meaning, **{condition: chosen}) if chosen else None

    def _named(self, found: re.Match[str], names: dict[str, Camera]) -> Phrase | None:
        said = re.findall(any_of(names), found["names"], re.ASCII)
        return self._cameras(found, [names[name].id for name in said])

    def _cameras(self, found: re.Match[str], ids: list[int]) -> Phrase | None:
        known = {camera.id: camera.name for camera in self.cameras}
        if not ids or not set(ids) <= set(known):
            self.unknown_cameras += [id for id in ids if id not in known]
            return None
        before = self.values.get("camera", ())
        if found["not"]:
            chosen = tuple(id for id in (before or known) if id not in ids)
        else:
            chosen = tuple(dict.fromkeys((*before, *ids)))
        meaning = ("not " if found["not"] else "") + ", ".join(known[id] for id in dict.fromkeys(ids))
        return self._set(found, "camera", meaning, camera=chosen) if chosen else None

    def _near(self, found: re.Match[str]) -> Phrase | None:
        radius = float(found["size"] or DEFAULT_RADIUS)
        if found["unit"] in _KILOMETRES:
            radius *= 1000
        if not 0 < radius <= MAX_RADIUS:
            return None
        place = re.fullmatch(rf"({DEGREES})\s*,\s*({DEGREES})", found["spot"])
        if place:
            near = Near(float(place[1]), float(place[2]), radius)
            if not (abs(near.latitude) <= 90 and abs(near.longitude) <= 180):
                return None
            return self._set(found, "near", f"{radius:g} m: {place[1]}, {place[2]}", near=near)
        numbers = set(_numbers(found["spot"]))
        for camera in self.cameras:
            if _normal(camera.name) == found["spot"] or camera.id in numbers:
                if camera.latitude is None or camera.longitude is None:
                    return None
                near = Near(camera.latitude, camera.longitude, radius)
                return self._set(found, "near", f"{radius:g} m: {camera.name}", near=near)
        return None

    def _side(self, found: re.Match[str]) -> Phrase | None:
        axis, sign = SIDES[found["side"] or found["chinese"]]
        placed = [
            (camera.id, (camera.latitude, camera.longitude)[axis])
            for camera in self.cameras
            if camera.latitude is not None and camera.longitude is not None
        ]
        values = [value for _, value in placed if value is not None]
        if len(values) < 2:
            return None
        middle = (min(values) + max(values)) / 2
        chosen = [id for id, value in placed if value is not None and sign * (value - middle) > 0]
        if "camera" in self.values:
            chosen = [id for id in self.values["camera"] if id in chosen]
        if not chosen:
            return None
        known = {camera.id: camera.name for camera in self.cameras}
        meaning = ", ".join(known[id] for id in chosen)
        return self._set(found, "camera", meaning, camera=tuple(chosen))

    def _times(self, found: re.Match[str], first: str, second: str) -> Phrase | None:
        moments = [read_moment(found[each], self.zone) for each in (first, second)]
        if moments[0] is None or moments[1] is None:
            return None
        return self._range(found, *resolve(moments[0], moments[1], self.last_known, self.zone))

    def _after(self, found: re.Match[str]) -> Phrase | None:
        seconds = self._seconds(found)
        return None if seconds is None else self._range(found, seconds, None)

    def _before(self, found: re.Match[str]) -> Phrase | None:
        seconds = self._seconds(found)
        return None if seconds is None else self._range(found, None, seconds)

    def _around(self, found: re.Match[str]) -> Phrase | None:
        seconds = self._seconds(found)
        return None if seconds is None else self._range(found, max(seconds - AROUND, 0.0), seconds + AROUND)

    def _seconds(self, found: re.Match[str]) -> float | None:
        moment = read_moment(found["first"], self.zone)
        return None if moment is None else resolve(moment, None, self.last_known, self.zone)[0]

    def _range(self, found: re.Match[str], start: float | None, end: float | None) -> Phrase:
        said = ["" if seconds is None else format_time(seconds, self.zone) for seconds in (start, end)]
        ends = {"after": start, "before": end}
        changes = {name: seconds for name, seconds in ends.items() if seconds is not None}
        return self._set(found, "time", f"{said[0]} \u2013 {said[1]}".strip(), **changes)

    def _confidence(self, found: re.Match[str]) -> Phrase | None:
        share = float(found["percent"]) / 100
        if share > 1:
            return None
        what = found["what"] or ""
        changes = {}
        if not what.startswith("t") and what not in ("车型", "类型"):
            changes["color_confidence"] = share
        if not what.startswith("c") and what != "颜色":
            changes["type_confidence"] = share
        return self._set(found, "confidence", f"≥ {share:.0%}", **changes)

    def _vehicle(self, found: re.Match[str]) -> Phrase:
        vehicles = (*self.values.get("vehicle", ()), int(found["ids"]))
        return self._set(found, "vehicle", found["ids"], vehicle=tuple(dict.fromkeys(vehicles)))

    def left_over(self) -> Iterator[str]:
        chinese = re.compile("|".join(sorted(FILLERS_CHINESE, key=len, reverse=True)))
        for piece in re.split(r"[\0\s,;.!?、。,;!?()\"]+", self.text):
            rest = chinese.sub("", piece) if not piece.isascii() else piece
            if rest and rest.strip("'-") and rest not in FILLERS:
                yield _shown(rest)


def _shown(piece: str) -> str:
    return " ".join(piece.replace("\u2010", "-").split()).strip(" ,")


def _numbers(text: str) -> Iterator[int]:
    """`3, 5 to 7` is 3, 5, 6, 7."""
    last: int | None = None
    for found in re.finditer(rf"(?P<to>-|to\b|至|到)?\s*(?:[a-z ]*)(?P<n>{NUMBER})", text):
        number = _CHINESE_NUMBERS.get(found["n"])
        number = int(found["n"]) if number is None else number
        if found["to"] and last is not None and last < number <= last + 1000:
            yield from range(last + 1, number)
        yield number
        last = number
