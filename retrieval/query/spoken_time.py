"""Times as they are spoken: `8`, `8:05`, `8 pm`, `eight o'clock`, `下午三点半`, `2024-05-01 8:00`."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo

DAY = 86_400.0
# Times since 1970 are far above; times of a recording that starts at 0 stay far below.
_EPOCH_FROM = 1e8

_NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve".split()  # noqa: SIM905
_CHINESE = {"零": 0, "一": 1, "二": 2, "两": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9}

DATE = r"(?:\d{4}[\u2010年]\d{1,2}[\u2010月]\d{1,2}(?!\d)[日号]?)"
"""A date, after `mark_dates`."""
_CHINESE_NUMBER = "[零一二两三四五六七八九十]{1,3}"
_MERIDIEM = "上午|早上|凌晨|中午|下午|傍晚|晚上"
_WORD_NUMBER = rf"(?:{'|'.join(_NUMBERS[1:])})\b"
_CLOCK = (
    r"\d{1,2}:\d{2}(?::\d{2})?(?:\s*[ap]\.?m\b\.?)?"
    r"|\d{1,2}\s*[ap]\.?m\b\.?"
    rf"|{_WORD_NUMBER}\s*(?:o'?clock\b|[ap]\.?m\b\.?)"
    r"|\d{1,2}\s*o'?clock\b"
    rf"|(?:(?:{_MERIDIEM})\s*)?(?:\d{{1,2}}:\d{{2}}(?::\d{{2}})?|(?:\d{{1,2}}|{_CHINESE_NUMBER})\s*[点时](?:钟|整)?"
    rf"(?:半|一刻|三刻|(?:\d{{1,2}}|{_CHINESE_NUMBER})分?)?)"
    r"|\bnoon\b|\bmidnight\b"
)
CLOCK = rf"(?:(?:{DATE}[t\s]*)?(?:{_CLOCK}))"
"""A time that looks like one wherever it stands."""
TIME = rf"(?:{CLOCK}|{DATE}|{_WORD_NUMBER}|(?<![\d:.\u2010年月])\d{{1,2}}(?![\d:.\u2010年月日]))"
"""Also bare numbers and dates, beside a word such as `after`."""


def mark_dates(text: str) -> str:
    """Turn the hyphens and strokes of dates into U+2010, so that no rule takes `05-01` for a range."""
    return re.sub(
        r"(?<!\d)(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?!\d)", "\\1\u2010\\2\u2010\\3", text, flags=re.ASCII
    )


@dataclass(frozen=True)
class Moment:
    """A spoken time: seconds after midnight, of a day where one is named; `noon_known` tells 8 from 20."""

    seconds: float
    day: float | None = None
    noon_known: bool = False
    whole_day: bool = False


def read_moment(text: str, zone: tzinfo = UTC) -> Moment | None:
    """Read what `TIME` matched; None where it is no time of a day after all (25:00 is one of a recording)."""
    text = text.strip()
    found = re.match(DATE, text)
    day = None
    if found:
        parts = [int(part) for part in re.findall(r"\d+", found[0])]
        try:
            day = datetime(*parts, tzinfo=zone).timestamp()  # type: ignore[misc, arg-type]
        except ValueError:
            return None
        text = text[found.end() :].strip(" t")
        if not text:
            return Moment(0.0, day, True, True)
    if text in ("noon", "midnight"):
        return Moment(DAY / 2 if text == "noon" else 0.0, day, True)
    clock = re.fullmatch(
        rf"(?P<m>{_MERIDIEM})?\s*(?P<h>\d+|{_CHINESE_NUMBER}|{'|'.join(_NUMBERS)})"
        rf"(?::(?P<min>\d+)(?::(?P<s>\d+))?|\s*[点时](?:钟|整)?(?P<cmin>半|一刻|三刻|\d+|{_CHINESE_NUMBER})?分?)?"
        r"\s*(?:o'?clock|(?P<ap>[ap])\.?m\.?)?",
        text,
        re.ASCII,
    )
    if clock is None:
        return None
    hour = _number(clock["h"])
    minute = {"半": 30, "一刻": 15, "三刻": 45}.get(clock["cmin"] or "") or _number(
        clock["min"] or clock["cmin"] or "0"
    )
    second = int(clock["s"] or 0)
    if minute > 59 or second > 59:
        return None
    known = bool(clock["m"] or clock["ap"]) or hour > 12
    evening = clock["ap"] == "p" or clock["m"] in ("下午", "傍晚", "晚上")
    if hour < (12 if evening else 3 if clock["m"] == "中午" else 0):
        hour += 12
    elif (clock["ap"] == "a" or clock["m"] == "凌晨") and hour == 12:
        hour = 0
    return Moment(3600.0 * hour + 60 * minute + second, day, known)


def resolve(
    first: Moment, second: Moment | None, last_known: float | None, zone: tzinfo = UTC
) -> tuple[float, float | None]:
    """The seconds that a gallery counts in.

    Args:
        first, second: one time, or the two ends of a range. `8 to 9 pm` is in the evening, `22:00 to 2:00`
            ends a day later.
        last_known: the latest time in the gallery; where it counts since 1970, a time without a date is one
            of that last day.
        zone: whose days these are.
    """
    if second is not None:
        first, second = _same_half(first, second)
    base = 0.0
    if last_known is not None and last_known >= _EPOCH_FROM:
        last_day = datetime.fromtimestamp(last_known, zone).date()
        base = datetime.combine(last_day, time.min, zone).timestamp()
    day = first.day if first.day is not None else (second.day if second else None)
    start = (base if day is None else day) + first.seconds
    if second is None:
        return start, None
    end_day = second.day if second.day is not None else (base if day is None else day)
    end = end_day + second.seconds + (DAY - 1 if second.whole_day else 0)
    while end < start and second.day is None:
        end += DAY
    return start, end


def _same_half(first: Moment, second: Moment) -> tuple[Moment, Moment]:
    half = timedelta(hours=12).total_seconds()
    if second.noon_known and not first.noon_known and second.seconds >= half > first.seconds + 1:
        later = Moment(first.seconds + half, first.day, True)
        if later.seconds <= second.seconds:
            return later, second
    if first.noon_known and not second.noon_known and first.seconds >= half > second.seconds:
        later = Moment(second.seconds + half, second.day, True)
        if later.seconds >= first.seconds:
            return first, later
    return first, second


def _number(text: str) -> int:
    if text.isdecimal():
        return int(text)
    if text in _NUMBERS:
        return _NUMBERS.index(text)
    tens, ten, ones = text.rpartition("十")
    if ten:
        return 10 * _CHINESE.get(tens, 1) + _CHINESE.get(ones, 0)
    return _CHINESE.get(text[-1], 0)
