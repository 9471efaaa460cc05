import pytest

from retrieval.gallery.clock import format_time, parse_time
from zoo.errors import UserError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("8:05", 29_100),
        ("0:20:24", 1_224),
        ("30:00", 108_000),
        ("0:20:24.5", 1_224.5),
        (" 1224.5 ", 1_224.5),
        ("-3", -3),
        ("1e3", 1_000),
        ("2024-05-01", 1_714_521_600),
        ("2024-05-01T08:05", 1_714_550_700),
        ("2024-05-01 08:05:00+02:00", 1_714_543_500),
    ],
)
def test_parse_time(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "noon",
        "nan",
        "inf",
        "1:2:3:4",
        "8:-5",
        "8:xx",
        "8:75",
        "25:61:99",
        "8.5:00",
        "8:05:60",
        "2024-13-01",
        "1e999",
        "1e12",
        "1e12:0",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is not a time; write 8:05"):
        parse_time(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00:00"),
        (1_224.9, "0:20:24"),
        (-61, "-0:01:01"),
        (90_000, "25:00:00"),
        (1.7145507e9, "2024-05-01 08:05:00"),
    ],
)
def test_format_time(seconds: float, text: str) -> None:
    assert format_time(seconds) == text
