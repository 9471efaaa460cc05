"""What is exported and drawn of a result list."""

import csv
import io
import re
import zipfile
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from retrieval.gallery.entries import Camera, Result
from retrieval.gallery.filters import Filters
from retrieval.results.downloads import FORMATS, SearchReport, make_download
from retrieval.results.trajectory import trajectory
from retrieval.results.trajectory_chart import trajectory_chart
from retrieval.results.trajectory_map import trajectory_map

JPEG = b"\xff\xd8 picture"
HOSTILE = '=cmd|" /C calc"!A0<script>alert(1)</script>/../\u2028x.jpg'
CAMERAS = (Camera(1, "North & gate", 48.2, 11.5), Camera(2, "桥 <b>"), Camera(3, "far", 48.3, 11.7))
RESULTS = [
    Result(
        "a/first.jpg",
        1,
        0.99,
        0.1,
        "white",
        0.9,
        "suv",
        0.5,
        CAMERAS[0],
        camera=1,
        time=100.0,
        vehicle_id=7,
        track_id=3,
    ),
    Result(HOSTILE, 2, 0.95, 0.2, seen_by=CAMERAS[2], camera=3, time=50.0),
    Result("third.jpg", 3, 0.3, 0.9, seen_by=CAMERAS[1], camera=2, time=75.0),
    Result("nowhere.jpg", 4),
]
PICTURES = {result.key: JPEG for result in RESULTS if result.key != "third.jpg"}


def report(**changes) -> SearchReport:
    values = {
        "results": RESULTS,
        "filters": Filters(("white",), after=50.0),
        "query": JPEG,
        "model": "m<1>",
        "pictures": PICTURES,
        "cameras": CAMERAS,
    }
    return SearchReport(**values | changes)


def test_csv_holds_everything_and_runs_nothing() -> None:
    text = make_download(report(), "csv").decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]
    assert (rows[0]["camera_name"], rows[0]["clock"], rows[0]["time"]) == ("North & gate", "0:01:40", "100.0")
    assert (rows[0]["color"], rows[0]["vehicle_id"], rows[0]["latitude"]) == ("white", "7", "48.2")
    assert rows[1]["key"] == "'" + HOSTILE
    assert (rows[3]["score"], rows[3]["clock"]) == ("", "")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", "\n"])
@pytest.mark.parametrize("sign", "=+-@")
def test_csv_runs_nothing_whatever_separates(separator: str, sign: str) -> None:
    """A spreadsheet of another country splits at another sign, and knows nothing of quotes inside a field."""
    hostile = f"a{separator} {sign}SUM(1)"
    text = make_download(report(results=[Result(hostile)]), "csv").decode("utf-8-sig")
    cells = [cell.strip(' "') for cell in re.split(f"[{separator},\r\n]", text)]
    assert not [cell for cell in cells if cell.startswith(sign)]
    assert "SUM(1)" in text


def test_zip_holds_the_table_and_the_pictures_and_no_path() -> None:
    archive = zipfile.ZipFile(io.BytesIO(make_download(report(), "zip")))
    names = archive.namelist()
    assert names[:3] == ["results.csv", "query.jpg", "images/0001-first.jpg"]
    assert len(names) == 5
    assert all(re.fullmatch(r"images/\d{4}-[\w-]+\.jpg", name) for name in names[2:])
    assert archive.read("images/0001-first.jpg") == JPEG
    assert archive.read("results.csv") == make_download(report(), "csv")


def test_names_in_a_zip_fit_into_file_systems() -> None:
    found = [Result("𠀀" * 300 + ".jpg", 1)]
    archive = zipfile.ZipFile(
        io.BytesIO(make_download(report(results=found, pictures={found[0].key: JPEG}), "zip"))
    )
    (name,) = (name for name in archive.namelist() if name.startswith("images/"))
    assert len(name.removeprefix("images/").encode()) <= 255
    assert "𠀀" * 40 in name


def test_html_stands_alone_and_is_inert() -> None:
    page = make_download(report(marked=("a/first.jpg",)), "html").decode()
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=\"(?!data:)|url\((?!data:)|@import", page)
    assert page.count("data:image/jpeg") == 4
    assert "North &amp; gate" in page
    assert "m&lt;1&gt;" in page
    assert "<b>after</b> 50.0" in page
    assert page.count("<svg") == 2


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_found_is_exported_as_well(format) -> None:
    assert make_download(report(results=[], query=b""), format)


def test_drawings_are_well_formed_and_number_the_results() -> None:
    for drawing in (trajectory_chart(RESULTS), trajectory_map(RESULTS, CAMERAS)):
        tree = ElementTree.fromstring(drawing)
        ranks = {text.text for group in tree.iter("g") for text in group.iter("text")}
        assert ranks >= {"1", "2"}
    # North is up, east is right: the second result lies to the north-east of the first.
    places = {}
    for group in ElementTree.fromstring(trajectory_map(RESULTS, CAMERAS)).iter("g"):
        circle = group.find("circle")
        places[group.find("text").text] = float(circle.get("cx")), float(circle.get("cy"))
    assert places["2"][0] > places["1"][0]
    assert places["2"][1] < places["1"][1]


def test_nothing_to_draw_draws_nothing() -> None:
    assert trajectory_chart(RESULTS[3:]) == ""
    assert trajectory_map(RESULTS[2:], CAMERAS) == ""
    one = [RESULTS[0]]
    ElementTree.fromstring(trajectory_chart(one))
    ElementTree.fromstring(trajectory_map(one, CAMERAS[:1]))


def ranks(legs: list[tuple[Result, Result]]) -> list[tuple[int, int]]:
    return [(start.rank, end.rank) for start, end in legs]


def test_the_way_joins_what_is_known_in_order_of_time() -> None:
    # Alike, but nobody says that they are one vehicle.
    assert trajectory(RESULTS, ()) == []
    assert ranks(trajectory(RESULTS, ("a/first.jpg", "third.jpg"))) == [(3, 1)]
    assert trajectory(RESULTS, ("third.jpg",)) == []
    journeys = {"a/first.jpg": "third.jpg", "third.jpg": "third.jpg", HOSTILE: HOSTILE}
    assert ranks(trajectory(RESULTS, (), journeys)) == [(3, 1)]
    likely = [replace(result, probability=0.9) for result in RESULTS]
    assert ranks(trajectory(likely, ())) == [(2, 3), (3, 1)]
    assert trajectory(RESULTS[3:], ()) == []


def test_the_way_leaves_out_what_no_vehicle_can_drive() -> None:
    # 18 km in 50 seconds, even if a person has marked both.
    marked = (HOSTILE, "a/first.jpg")
    assert trajectory(RESULTS, marked) == []
    assert '<polyline class="vr-way"' not in trajectory_chart(RESULTS, marked)
    slower = [replace(result, time=result.time and 20 * result.time) for result in RESULTS]
    assert ranks(trajectory(slower, marked)) == [(2, 1)]
    assert '<polyline class="vr-way"' in trajectory_chart(slower, marked)
    assert '<line class="vr-way"' in trajectory_map(slower, CAMERAS, marked)
    at_once = [replace(result, time=5.0, seen_by=None) for result in RESULTS]
    assert trajectory(at_once, marked) == []
