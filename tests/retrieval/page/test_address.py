"""Addresses of searches, and the uploads that they name."""

from pathlib import Path

import pytest

from retrieval.cases.case import SavedSearch
from retrieval.gallery.filters import Filters
from retrieval.gallery.geography import Near
from retrieval.page.address import Address
from retrieval.page.texts import Say
from retrieval.page.uploads import Uploads
from retrieval.query.feedback import Feedback
from retrieval.query.looks import Looks
from zoo.errors import UserError


def test_an_address_says_everything_and_is_read_back() -> None:
    told = Address(
        upload="ab" * 32,
        box=(1, 2.5, 30, 40),
        search=SavedSearch(
            "white SUV & \N{CJK UNIFIED IDEOGRAPH-767D}",
            Filters(("red", "blue"), ("van",), (3,), 60.0, 3600.5, (7, 9), Near(48.1, 11.5, 300), 0.5, 0.25),
            Feedback(("a/b c.jpg", "x&y=z"), ("100%",)),
            k=40,
            group="track",
            rerank=True,
            query_camera=0,
            looks=Looks(("red",), ("van", "bus")),
        ),
        others=(("cd" * 32, (1, 2, 3, 4)), ("ef" * 32, None), ("key:a,b/c.jpg", None)),
        case="ab" * 16,
    )
    assert Address.read(told.write()) == told
    assert Address.read(Address.read(told.write()).write()) == told
    assert Address().write() == ""
    assert Address.read("?soft=1").search.looks == Looks()
    assert Address.read("") == Address.read("?__theme=dark") == Address()


@pytest.mark.parametrize(
    "query", ["?box=1,2", "?after=noon", "?k=-1", "?k=9e9", "?near=here", "?like=" + "x" * 40_000]
)
def test_an_address_that_cannot_be_read_says_so(query: str) -> None:
    with pytest.raises(UserError):
        Address.read(query)


def test_uploads_are_kept_by_content_and_forgotten_in_time(tmp_path: Path) -> None:
    now = [1e9]
    uploads = Uploads(tmp_path / "queries", 2, lambda: now[0])
    name = uploads.keep(b"picture")
    assert uploads.keep(b"picture") == name
    assert uploads.get(name) == b"picture"
    assert uploads.get("../queries/" + name) is None
    now[0] += 7199
    again = uploads.keep(b"other")
    assert uploads.get(name) == b"picture"
    now[0] += 1
    assert uploads.get(name) is None
    assert uploads.get(again) == b"other"
    now[0] += 7200
    uploads.forget()
    assert not list((tmp_path / "queries").iterdir())


def test_faults_are_told_in_the_language_of_the_page() -> None:
    for text in (
        "car.jpg: the image is empty (0 bytes); copy it again",
        "car.jpg: truncated or damaged (image file is truncated); copy it again",
        "car.jpg: not a JPEG, PNG, WebP or BMP image; convert it or copy it again",
        "'noon' is not a time; write 8:05, 8:05:30, 2024-05-01T08:05, or seconds such as 1224.5",
        "the time range ends (0:01:00) before it begins (0:02:00); swap them",
        "place 100,200 within 5 m: degrees of latitude (-90 to 90) and longitude are expected",
    ):
        assert Say("en").error(text) == text
        assert " is " not in Say("zh").error(text)
        assert any(letter > "\u4e00" for letter in Say("zh").error(text))
