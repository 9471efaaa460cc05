"""Times as people write and read them: `8:05`, `2024-05-01 08:05`, or plain seconds."""

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from zoo.errors import UserError
from zoo.numbers import plain

# Recordings that count from their own start stay far below; times since 1970 are far above.
_EPOCH_FROM = 1e8
# The end of the year 9999, beyond which nothing can be written as a date.
_LATEST = 253402300799.0


def parse_time(text: str, zone: tzinfo = UTC) -> float:
    """Read seconds, `H:MM`, `H:MM:SS`, or an ISO date and time, of `zone` unless it names one.

    Raises:
        UserError: none of these.
    """
    text = text.strip()
    try:
        if ":" in plain(text) and "-" not in text:
            parts = [float(part) for part in text.split(":")]
            # A recording may be longer than a day; an hour has no more than 60 minutes.
            if len(parts) > 3 or not all(0 <= part < 60 for part in parts[1:]) or not parts[0] >= 0:
                raise ValueError
            if any(part != int(part) for part in parts[:2]):
                raise ValueError
            seconds = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
            if seconds > _LATEST:
                raise ValueError
            return seconds
        if "-" in text[1:] and not _is_number(text):
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
        seconds = float(text)
        if not abs(seconds) <= _LATEST:
            raise ValueError
        return seconds
    except ValueError:
        raise UserError(
            f"{text!r} is not a time; write 8:05, 8:05:30, 2024-05-01T08:05, or seconds such as 1224.5"
        ) from None


def parse_zone(name: str) -> tzinfo:
    """Read a time zone's name, such as `Europe/Berlin`.

    Raises:
        UserError: there is none of that name.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UserError(f"{name!r} is not a time zone; write UTC, Europe/Berlin, or the like") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_date(seconds: float) -> bool:
    """Whether a time counts since 1970, and not from a recording's start."""
    return seconds >= _EPOCH_FROM


def format_time(seconds: float, zone: tzinfo = UTC) -> str:
    """`1224.5` as `0:20:24`, a time since 1970 as `2024-05-01 08:05:00` of a zone."""
    if is_date(seconds):
        # A zone east of Greenwich has no place for the last hours of the year 9999.
        told = UTC if seconds > _LATEST - 86_400 else zone
        return datetime.fromtimestamp(seconds, told).strftime("%Y-%m-%d %H:%M:%S")
    whole = abs(int(seconds))
    sign = "-" if seconds < 0 else ""
    return f"{sign}{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
