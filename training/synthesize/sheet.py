"""The contact sheet: some vehicles of a data set, each as its cameras saw it."""

import io
from pathlib import Path

from PIL import Image, ImageDraw

from zoo.files import replacing
from zoo.labels import COLORS, TYPES, parse_veri_name

_ROWS, _COLUMNS = 10, 9
_CELL = (200, 160)
_TITLE = 150
_GAP = 6
_INK, _PAPER, _FAINT = (30, 32, 36), (250, 250, 248), (120, 124, 130)


def write_sheet(out: Path, rows: dict[str, list[str]]) -> None:
    """Write `contact_sheet.jpg`: a row a vehicle, its pictures in order of time, cameras named below."""
    vehicles: dict[str, list[tuple[str, list[str]]]] = {}
    for split, lines in rows.items():
        for line in lines:
            file, vehicle, *rest = line.split(",", 4)
            vehicles.setdefault(vehicle, []).append((f"image_{split}/{file}", rest))
    chosen = _choose(vehicles)
    width = _TITLE + _COLUMNS * (_CELL[0] + _GAP) + _GAP
    sheet = Image.new("RGB", (width, len(chosen) * (_CELL[1] + 22 + _GAP) + _GAP), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for row, vehicle in enumerate(chosen):
        top = _GAP + row * (_CELL[1] + 22 + _GAP)
        _, (color, kind, _) = vehicles[vehicle][0]
        pen.text((_GAP * 2, top + 50), f"vehicle {vehicle}", _INK, font_size=18)
        pen.text(
            (_GAP * 2, top + 74), f"{COLORS[int(color) - 1]} {TYPES[int(kind) - 1]}", _FAINT, font_size=16
        )
        for column, path in enumerate(_spread([path for path, _ in vehicles[vehicle]])):
            left = _TITLE + column * (_CELL[0] + _GAP)
            with Image.open(out / path) as image:
                image.thumbnail(_CELL, Image.Resampling.LANCZOS)
                place = (left + (_CELL[0] - image.width) // 2, top + (_CELL[1] - image.height) // 2)
                sheet.paste(image, place)
            sighting = parse_veri_name(Path(path).name)
            if sighting is not None:
                role = "  query" if path.startswith("image_query") else ""
                pen.text(
                    (left + 4, top + _CELL[1] + 1), f"c{sighting.camera_id:03d}{role}", _FAINT, font_size=14
                )
    data = io.BytesIO()
    sheet.save(data, "JPEG", quality=88)
    with replacing(out / "contact_sheet.jpg") as temporary:
        temporary.write_bytes(data.getvalue())


def _choose(vehicles: dict[str, list[tuple[str, list[str]]]]) -> list[str]:
    """Vehicles for the rows: first one of each type, then one of each colour, then whoever comes."""
    chosen: list[str] = []
    for key in (1, 0):
        seen = {vehicles[vehicle][0][1][key] for vehicle in chosen}
        for vehicle, pictures in vehicles.items():
            if pictures[0][1][key] not in seen and vehicle not in chosen:
                seen.add(pictures[0][1][key])
                chosen.append(vehicle)
    chosen += [vehicle for vehicle in vehicles if vehicle not in chosen]
    return chosen[:_ROWS]


def _spread(paths: list[str]) -> list[str]:
    """At most a row's worth of `paths` in order of time, each camera first once."""
    by_time = sorted(paths, key=_frame)
    first: list[str] = []
    cameras = set()
    for path in by_time:
        name = parse_veri_name(Path(path).name)
        if name is not None and name.camera_id not in cameras:
            cameras.add(name.camera_id)
            first.append(path)
    others = [path for path in by_time if path not in first]
    return sorted((first + others)[:_COLUMNS], key=_frame)


def _frame(path: str) -> int:
    name = parse_veri_name(Path(path).name)
    return name.frame if name is not None else 0
