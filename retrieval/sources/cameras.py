"""`cameras.json`: what the cameras are called and where they stand."""

import difflib
from pathlib import Path
from typing import Any

from retrieval.gallery.entries import Camera
from zoo.errors import UserError
from zoo.files import read_json

FILE_NAME = "cameras.json"

_FIELDS = ("id", "name", "latitude", "longitude")
_ALIKE = 0.5
"""As alike as `lon` and `longitude`."""


def find_cameras(folder: Path) -> list[Camera]:
    """Read `cameras.json` in the images' folder or in the one above; none is fine.

    Raises:
        UserError: there is one, and it cannot be understood.
    """
    for path in (folder / FILE_NAME, folder.resolve().parent / FILE_NAME):
        if path.is_file():
            return read_cameras(path)
    return []


def read_cameras(path: Path) -> list[Camera]:
    """Read a list of `{"id": 3, "name": "North gate", "latitude": 48.1, "longitude": 11.5}`.

    The name and the place may be missing; the list may lie under "cameras". Further fields are ignored, but
    for those that look like a known one that is missing, such as `lat`.

    Raises:
        UserError: another content.
    """
    content = read_json(path)
    if isinstance(content, dict):
        content = content.get("cameras")
    if not isinstance(content, list):
        raise UserError(f"{path}: a list of cameras is expected")
    return [_camera(item, f"{path}: camera {number}") for number, item in enumerate(content, 1)]


def _camera(item: Any, where: str) -> Camera:
    if not isinstance(item, dict) or type(item.get("id")) is not int or not abs(item["id"]) < 2**63:
        raise UserError(f"{where} has no whole number as its id; number the cameras, as the pictures do")
    for field in item.keys() - set(_FIELDS):
        near = difflib.get_close_matches(field.lower(), _FIELDS, n=1, cutoff=_ALIKE)
        if near and near[0] not in item:
            raise UserError(f"{where} has a field {field!r}; did you mean {near[0]!r}?")
    name = item.get("name") or f"camera {item['id']}"
    place = (item.get("latitude"), item.get("longitude"))
    if place != (None, None):
        for value, limit in zip(place, (90, 180), strict=True):
            if not isinstance(value, int | float) or not abs(value) <= limit:
                raise UserError(f"{where} stands at {place}; degrees of latitude and longitude are expected")
    return Camera(item["id"], str(name), *place)
