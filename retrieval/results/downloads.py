"""A result list to take along: CSV, a ZIP with the pictures, or one HTML page that can be printed."""

import base64
import csv
import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Literal, get_args

from retrieval.gallery.entries import LOOKS, Camera, Result
from retrieval.gallery.filters import Filters
from retrieval.results.trajectory import Leg, between, between_cameras, trajectory
from retrieval.results.trajectory_chart import trajectory_chart
from retrieval.results.trajectory_map import trajectory_map
from zoo.sameness import FALSE_MATCH_RATE, Verdict

_STYLE_SHEET = Path(__file__).with_name("print.css")

Format = Literal["csv", "zip", "html"]
FORMATS: tuple[Format, ...] = get_args(Format)
MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "zip": "application/zip", "html": "text/html; charset=utf-8"}

_SEEN = ("camera", "camera_name", "time", "latitude", "longitude")
_COLUMNS = (
    "rank",
    "key",
    "probability",
    "score",
    "distance",
    *_SEEN,
    *LOOKS,
    "vehicle_id",
    "track_id",
    "clock",
)

# What a spreadsheet would take for a formula: at the beginning of a text, and behind what may be a separator
# to it, since which one it goes by depends on the country.
_FORMULA = re.compile(r"(^\s*|[,;|\t\r\n]\s*)(?=[=+\-@])|^(?=[\t\r])")


@dataclass(frozen=True)
class SearchReport:
    """What goes into a download.

    Attributes:
        results: in order.
        filters: the conditions that were searched with.
        query: a JPEG of what was searched for; empty where nothing was.
        model: the model's name.
        pictures: JPEGs by key; a CSV needs none.
        cameras: for the map.
        marked: keys that the user has marked as the vehicle.
        verdict: on the search; None where nothing can be told.
        false_match_rate: promised of it.
        searched: how many images met the filters; None where nobody counted.
        journeys: the journey of each result by key, for the drawings.
        title: what the page to print is called.
        facts: what else is to be told of the search, by name.
        notes: what somebody wrote of it.
        rejected: keys that the user has marked as another vehicle.
        other_queries: JPEGs of the other images that were searched with.
    """

    results: Sequence[Result]
    filters: Filters
    query: bytes
    model: str
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    cameras: Sequence[Camera] = ()
    marked: tuple[str, ...] = ()
    verdict: Verdict | None = None
    false_match_rate: float = FALSE_MATCH_RATE
    searched: int | None = None
    journeys: Mapping[str, str] = field(default_factory=dict)
    title: str = "Vehicle search"
    facts: Sequence[tuple[str, str]] = ()
    notes: str = ""
    rejected: tuple[str, ...] = ()
    other_queries: Sequence[bytes] = ()


def make_download(report: SearchReport, format: Format) -> bytes:
    """Make the file."""
    if format == "csv":
        return to_csv(report.results)
    return to_zip(report) if format == "zip" else to_html(report)


def to_csv(results: Sequence[Result]) -> bytes:
    """One line a result, UTF-8 with the mark by which spreadsheets know it.

    The place is the image's, or its camera's. A text that a spreadsheet would run as a formula gets a
    quotation mark in front.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _COLUMNS)
    writer.writeheader()
    for result in results:
        latitude, longitude = result.place or (None, None)
        row = result.as_json(_COLUMNS) | {"latitude": latitude, "longitude": longitude}
        writer.writerow({name: _harmless(v) if isinstance(v, str) else v for name, v in row.items()})
    return b"\xef\xbb\xbf" + buffer.getvalue().encode(errors="replace")


def _harmless(text: str) -> str:
    return _FORMULA.sub(r"\1'", text)


def to_zip(report: SearchReport) -> bytes:
    """`results.csv`, the pictures by rank, and the query."""
    buffer = io.BytesIO()
    # JPEGs do not shrink any more.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("results.csv", to_csv(report.results), zipfile.ZIP_DEFLATED)
        if report.query:
            archive.writestr("query.jpg", report.query)
        for result in report.results:
            jpeg = report.pictures.get(result.key)
            if jpeg:
                archive.writestr(f"images/{result.rank:04}-{_file_name(result.key)}.jpg", jpeg)
    return buffer.getvalue()


def _file_name(key: str) -> str:
    """A name without folders and without anything that a file system would mind."""
    last = key.replace("\\", "/").rpartition("/")[2].rpartition(".")[0] or "image"
    name = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in last)[:80]
    # File systems count bytes, of which they take 255 and a letter may have four.
    return name.encode()[:200].decode(errors="ignore")


def to_html(report: SearchReport) -> bytes:
    """One page that holds its pictures, style and drawings itself, and prints well on A4."""
    zone = report.results[0].zone if report.results else UTC
    made = f"{datetime.now(zone).strftime('%Y-%m-%d %H:%M')} {zone}"
    conditions = "".join(
        f"<li><b>{escape(name)}</b> {escape(_value(value))}</li>"
        for name, value in report.filters.parameters().items()
    )
    queries = "".join(
        f'<figure class="query"><img src="{_data_uri(jpeg)}" alt="Query"></figure>'
        for jpeg in (report.query, *report.other_queries)
        if jpeg
    )
    title = escape(report.title)
    cards = "".join(
        _card(result, report.pictures.get(result.key), result.key in report.marked)
        for result in report.results
    )
    drawings = trajectory_map(report.results, report.cameras, report.marked, journeys=report.journeys)
    drawings += trajectory_chart(report.results, report.marked, journeys=report.journeys)
    legs = _legs(trajectory(report.results, report.marked, report.journeys))
    searched = "" if report.searched is None else f" of {report.searched:,} images searched"
    page = (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE_SHEET.read_text(encoding='utf-8')}</style></head><body>"
        f"<header>{queries}<div><h1>{title}</h1>"
        f"<p>{len(report.results)} results{searched} · {made} · model {escape(report.model)}</p>"
        f"<ul>{conditions}</ul>"
        f"<p>{escape(_meaning(report))}</p>"
        f"</div></header>{_facts(report)}<section>{drawings}</section>{legs}<ol>{cards}</ol>"
        f"{_rejected(report)}</body></html>"
    )
    return page.encode(errors="replace")


def _meaning(report: SearchReport) -> str:
    """What the results amount to, in a sentence or two."""
    if all(result.distance is None for result in report.results):
        return "Images that meet the conditions, newest first; they were compared with none."
    if report.verdict is None:
        return "Results are in order of their distance, which is no probability and no proof of identity."
    return (
        f"Verdict: {report.verdict}. Percentages are probabilities that an image shows the query's vehicle. "
        f"Of vehicles that the gallery does not have, {report.false_match_rate:g} is the share taken for a "
        "match."
    )


def _facts(report: SearchReport) -> str:
    """What else is told of the search, and what somebody wrote of it."""
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in report.facts
    )
    notes = f'<div class="notes">{escape(report.notes)}</div>' if report.notes else ""
    return (f"<table>{rows}</table>" if rows else "") + notes


def _rejected(report: SearchReport) -> str:
    """The images that the user has marked as another vehicle, which are among no results."""
    cards = "".join(
        f"<li>{_picture(report.pictures.get(key))}<code>{escape(key)}</code></li>" for key in report.rejected
    )
    return f"<h2>Marked as another vehicle</h2><ol>{cards}</ol>" if cards else ""


def _picture(jpeg: bytes | None) -> str:
    return f'<img src="{_data_uri(jpeg)}" alt="">' if jpeg else ""


def _card(result: Result, jpeg: bytes | None, is_marked: bool) -> str:
    score = f"<b>{escape(result.likeness)}</b>" if result.likeness else ""
    mark = "<b>✓ marked as this vehicle</b>" if is_marked else ""
    vehicle = "" if result.vehicle_id is None else f"vehicle {result.vehicle_id}"
    look = " ".join(part for part in (result.color, result.type) if part)
    lines = [result.camera_name or "", result.clock, look, vehicle]
    texts = "".join(f"<span>{escape(line)}</span>" for line in lines if line)
    return (
        f"<li>{_picture(jpeg)}<p>{result.rank}. {score}{mark}</p><p>{texts}</p>"
        f"<code>{escape(result.key)}</code></li>"
    )


def _legs(joined: Sequence[Leg]) -> str:
    """What the line joins, leg by leg, with what is known of the way."""
    rows = ""
    for start, end in between_cameras(joined):
        gap = between(start, end)
        known = (
            "" if gap.seconds is None else f"{gap.seconds:,.0f} s",
            "" if gap.metres is None else f"{gap.metres:,.0f} m",
            "" if gap.speed is None else f"{gap.speed:.0f} km/h",
        )
        ends = "".join(f"<td>{each.rank}. {escape(_sighting(each))}</td>" for each in (start, end))
        rows += f"<tr>{ends}{''.join(f'<td>{each}</td>' for each in known)}</tr>"
    head = "<tr><th>From</th><th>To</th><th>Time</th><th>Distance</th><th>Speed</th></tr>"
    return f"<table>{head}{rows}</table>" if rows else ""


def _sighting(result: Result) -> str:
    return " · ".join(filter(None, (result.camera_name, result.clock, result.likeness)))


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
