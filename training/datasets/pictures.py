"""Folders of pictures that no label file describes: what folders and names say of vehicle and camera.

| arrangement | vehicle | camera |
|---|---|---|
| B-MX17/0001.jpg | the folder | not told |
| B-MX17/gate/0001.jpg | the folder | the folder inside |
| B-MX17/0001_cam2.jpg, B-MX17/c2_0001.jpg | the folder | the number after `c`, `cam` or `camera` |
| 0002_c1s1_000451_03.jpg | before `_c` | after it, as Market-1501 names its pictures |
| car_0003_cam1.jpg | `car_0003`; the first word is its type | after `_cam` |
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.datasets.files import IMAGE_SUFFIXES
from training.datasets.records import Record, number_ids
from zoo.errors import UserError
from zoo.files import is_endless

QUERY_CAMERA, GALLERY_CAMERA = 0, 1
"""Where no camera is told: so the rule about a query's own camera leaves nothing out."""

_MARKET = re.compile(r"(?P<vehicle>.+?)_c(?P<camera>\d+)(?:s\d+)?(?:_(?P<frame>\d+))?(?:_\w+)?")
_TWO_CAMERAS = re.compile(r"(?P<vehicle>(?P<kind>[^\W\d_]+)_\d+)_cam(?P<camera>\d+)", re.I)
_CAMERA = re.compile(r"(?:^|[^a-z0-9])(?:camera|cam|c)[_-]?(\d+)(?:s\d+)?(?![a-z0-9])", re.I)


@dataclass(frozen=True)
class Picture:
    """A picture, and what its place and name say.

    Attributes:
        path: of the file.
        vehicle: any text.
        camera: any text; empty where nothing tells it.
        frame: number in its camera's video, 0 where there is none.
        kind: the vehicle's type; empty where nothing tells it.
    """

    path: Path
    vehicle: str
    camera: str = ""
    frame: int = 0
    kind: str = ""


Naming = Callable[[Path], Picture | None]
"""Reads a picture's name; None where it is of another form."""


def read_market_name(path: Path) -> Picture | None:
    """Read a name of Market-1501's form: 0002_c1s1_000451_03.jpg."""
    found = _MARKET.fullmatch(path.stem)
    return found and Picture(path, found["vehicle"], str(int(found["camera"])), int(found["frame"] or 0))


def read_two_camera_name(path: Path) -> Picture | None:
    """Read a name of the form car_0003_cam1.jpg."""
    found = _TWO_CAMERAS.fullmatch(path.stem)
    return found and Picture(path, found["vehicle"], str(int(found["camera"])), kind=found["kind"].lower())


def list_folder(folder: Path) -> tuple[list[Path], list[Path]]:
    """List a folder's pictures and its folders, sorted; hidden ones are passed over.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
            found = sorted((entry.name, entry.is_dir()) for entry in visible if not is_endless(entry))
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror or error}); check the path") from error
    pictures = [folder / n for n, is_dir in found if not is_dir and Path(n).suffix.lower() in IMAGE_SUFFIXES]
    return pictures, [folder / name for name, is_dir in found if is_dir]


def all_named(pictures: Sequence[Path], naming: Naming) -> bool:
    """Whether there are pictures, and all have names of a form."""
    return bool(pictures) and all(naming(path) is not None for path in pictures)


def holds_vehicles(folder: Path) -> bool:
    """Whether a folder holds two or more folders, each with pictures or folders of pictures."""
    _, folders = list_folder(folder)
    return len(folders) >= 2 and all(map(_holds_pictures, folders))


def _holds_pictures(folder: Path) -> bool:
    pictures, folders = list_folder(folder)
    return bool(pictures) or (bool(folders) and all(list_folder(inner)[0] for inner in folders))


def tells_vehicles(folder: Path) -> bool:
    """Whether a folder holds folders, or a picture whose name tells a vehicle."""
    pictures, folders = list_folder(folder)
    return bool(folders) or any(read_two_camera_name(path) or read_market_name(path) for path in pictures[:1])


def read_pictures(folder: Path) -> list[Picture]:
    """Read a folder of vehicles' folders, or of pictures whose names tell the vehicle.

    Raises:
        UserError: it holds none, or not all are arranged in the same way; the message names one.
    """
    pictures, folders = list_folder(folder)
    if pictures and folders:
        raise UserError(
            f"{folder}: holds the picture {pictures[0].name} beside the folder {folders[0].name}; put each "
            "picture into its vehicle's folder, or all side by side"
        )
    if folders:
        return [picture for vehicle in folders for picture in _read_vehicle(vehicle)]
    if not pictures:
        raise UserError(f"{folder}: holds no pictures ({', '.join(sorted(IMAGE_SUFFIXES))})")
    for naming in (read_two_camera_name, read_market_name):
        if naming(pictures[0]) is not None:
            return read_names(pictures, naming)
    raise _unknown_name(pictures[0])


def read_names(pictures: Iterable[Path], naming: Naming) -> list[Picture]:
    """Read pictures whose names are all of one form.

    Raises:
        UserError: one is not.
    """
    read = []
    for path in pictures:
        picture = naming(path)
        if picture is None:
            raise _unknown_name(path)
        read.append(picture)
    return read


def _unknown_name(path: Path) -> UserError:
    return UserError(
        f"{path}: the name tells no vehicle and camera, as 0002_c1s1_000451_03.jpg and car_0003_cam1.jpg do; "
        "rename it, or make a folder for each vehicle"
    )


def _read_vehicle(folder: Path) -> list[Picture]:
    """Read one vehicle's folder."""
    pictures, cameras = list_folder(folder)
    if pictures and cameras:
        raise UserError(
            f"{folder}: holds the picture {pictures[0].name} beside the folder {cameras[0].name}; put each "
            "picture into its camera's folder, or none"
        )
    read = [Picture(path, folder.name, told_camera(path)) for path in pictures]
    for camera in cameras:
        inside, deeper = list_folder(camera)
        if deeper:
            raise UserError(
                f"{deeper[0]}: lies too deep; a vehicle's folder holds pictures or one folder a camera"
            )
        read += [Picture(path, folder.name, camera.name) for path in inside]
    if not read:
        raise UserError(
            f"{folder}: holds no pictures ({', '.join(sorted(IMAGE_SUFFIXES))}); remove the folder"
        )
    return read


def told_camera(path: Path) -> str:
    """The camera's number that a picture's name tells; empty where it tells none."""
    found = _CAMERA.search(path.stem)
    return str(int(found[1])) if found else ""


def as_records(splits: Mapping[str, Sequence[Picture]], split: str) -> list[Record]:
    """Make one split's records; ids are numbered over all splits.

    Args:
        splits: the data set's pictures by split.
        split: which.

    Raises:
        UserError: the cameras of some pictures are told and of others not, or no picture is of the split.
    """
    pictures = [picture for part in splits.values() for picture in part]
    told, untold = ([p for p in pictures if bool(p.camera) is known] for known in (True, False))
    if told and untold:
        raise UserError(
            f"{untold[0].path}: tells no camera, and {told[0].path.name} does; name the camera of each, "
            "as in car_cam2.jpg, or of none"
        )
    vehicles = number_ids(picture.vehicle for picture in pictures)
    cameras = number_ids(picture.camera for picture in pictures)
    untold_camera = GALLERY_CAMERA if split == "test" else QUERY_CAMERA
    return [
        Record(
            picture.path,
            vehicles[picture.vehicle],
            cameras.get(picture.camera, untold_camera),
            type=picture.kind,
            frame=picture.frame,
        )
        for picture in splits[split]
    ]
