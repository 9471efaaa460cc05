"""A service that writes, as its clients see it."""

import io
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.retrieval.conftest import draw_vehicle


@dataclass(frozen=True)
class Service:
    """A service that writes: a client of each scope, the gallery's folder, and the audit log."""

    reader: httpx.Client
    writer: httpx.Client
    gallery: Path
    audit: Path


def keys(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["key"] for item in answer.json().get("results") or answer.json().get("entries")]


def jpegs(count: int) -> list[bytes]:
    """Pictures of different vehicles."""
    made = []
    for number in range(count):
        buffer = io.BytesIO()
        draw_vehicle(number % 6 + 1, 1 + number // 6).save(buffer, "JPEG")
        made.append(buffer.getvalue())
    return made
