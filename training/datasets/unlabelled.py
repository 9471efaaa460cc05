"""Pictures of which nobody knows the vehicles, with their cameras: what adaptation reads.

| arrangement | camera | track |
|---|---|---|
| gate/0001.jpg | the folder | not told |
| gate/0017/0001.jpg | the folder | the folder inside |
| 0001_cam2.jpg, c2_0001.jpg, all in one folder | the number after `c`, `cam` or `camera` | not told |
| a CSV file | column camera_id | column track |
| any data set of `training.datasets` | its own | its own |

A table needs the columns path and camera_id, and may have track, frame and time (any text): pictures of a
camera with the same frame and time are of one moment, and so of different vehicles. Tracks are a camera's
own: those of two cameras are never the same. Of a data set the training split is read, and of it or of a
table with labels no vehicle, colour or type.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.datasets import table
from training.datasets.files import IMAGE_SUFFIXES, check_images
from training.datasets.layout import UnknownDataSetError, find_layout
from training.datasets.pictures import list_folder, told_camera
from training.datasets.records import Record, number_ids
from zoo.errors import UserError

FOLDERS = "cameras"
"""Stands before the colon where folders are cameras, whatever else they could be taken for."""


@dataclass(frozen=True)
class Unlabelled:
    """N pictures and what is known of them.

    Attributes:
        paths: of the files.
        cameras: int64 [N].
        tracks: int64 [N], numbered over all cameras; -1 where a picture is of none.
        moments: int64 [N], equal where one frame of one camera shows both; -1 where nothing tells.
    """

    paths: list[Path]
    cameras: np.ndarray
    tracks: np.ndarray
    moments: np.ndarray

    def __len__(self) -> int:
        return len(self.paths)

    def part(self, index: np.ndarray) -> "Unlabelled":
        """Some of the pictures, by their index or a mask."""
        paths = np.array(self.paths, object)[index].tolist()
        return Unlabelled(paths, self.cameras[index], self.tracks[index], self.moments[index])

    def records(self, vehicles: Sequence[int] | np.ndarray | None = None) -> list[Record]:
        """The pictures as records, of these vehicles; without any, each is a vehicle of its own."""
        chosen = range(len(self)) if vehicles is None else vehicles
        return [
            Record(path, int(vehicle), int(camera))
            for path, vehicle, camera in zip(self.paths, chosen, self.cameras, strict=True)
        ]


@dataclass(frozen=True)
class _Picture:
    path: Path
    camera: str
    track: str = ""
    moment: str = ""


def read_unlabelled(data: str | Path) -> Unlabelled:
    """Read pictures and their cameras.

    Args:
        data: a folder, a table, or a data set, as `name:path` where it has to be told apart.

    Raises:
        UserError: nothing can be read there, or the camera of a picture is not told.
    """
    pictures = list(_read(data))
    if not pictures:
        raise UserError(f"{data}: holds no pictures ({', '.join(sorted(IMAGE_SUFFIXES))})")
    cameras = number_ids(picture.camera for picture in pictures)
    return Unlabelled(
        [picture.path for picture in pictures],
        np.array([cameras[picture.camera] for picture in pictures], np.int64),
        _numbered((picture.camera, picture.track) for picture in pictures),
        _numbered((picture.camera, picture.moment) for picture in pictures),
    )


def _numbered(pairs: Iterator[tuple[str, str]]) -> np.ndarray:
    """Number pairs of camera and text in their order; -1 where the text is empty."""
    numbers: dict[tuple[str, str], int] = {}
    return np.array([numbers.setdefault(pair, len(numbers)) if pair[1] else -1 for pair in pairs], np.int64)


def _read(data: str | Path) -> Iterator[_Picture]:
    name, colon, rest = f"{data}".partition(":")
    if colon and name == FOLDERS:
        return _read_folder(Path(rest), forced=True)
    try:
        layout, path = find_layout(data)
    except UnknownDataSetError:
        if not Path(data).is_dir():
            raise
        return _read_folder(Path(data))
    if layout.name == "table":
        return _read_table(path)
    if layout.name == "folders" and Path(data) == path:
        return _read_folder(path)
    return (
        _Picture(
            record.path,
            str(record.camera_id),
            "" if record.track is None else str(record.track),
            str(record.frame or ""),
        )
        for record in layout.read(path, "train")
    )


def _read_table(path: Path) -> Iterator[_Picture]:
    pictures = []
    for row in table.read_rows(path, ("path", "camera_id"), ("time",)):
        if row.split != "train":
            continue
        moment = "\n".join((row.get("frame"), row.get("time"))).strip()
        pictures.append(
            _Picture(path.parent / row.get("path"), row.get("camera_id"), row.get("track"), moment)
        )
    if not pictures:
        raise UserError(f"{path}: has no rows with split train; add some, or leave the column split out")
    check_images([Record(picture.path, 0, 0) for picture in pictures], path)
    return iter(pictures)


def _read_folder(root: Path, forced: bool = False) -> Iterator[_Picture]:
    pictures, folders = list_folder(root)
    if pictures and folders:
        raise UserError(
            f"{root}: holds the picture {pictures[0].name} beside the folder {folders[0].name}; put each "
            "picture into its camera's folder, or all side by side"
        )
    if not folders:
        for path in pictures:
            camera = told_camera(path)
            if not camera:
                raise UserError(
                    f"{path}: the name tells no camera, as 0001_cam2.jpg does; make a folder a camera, "
                    "or name the cameras in a table (path,camera_id)"
                )
            yield _Picture(path, camera)
        return
    found = [picture for folder in folders for picture in _read_camera(folder)]
    if not forced and (doubt := _doubt(found)):
        raise UserError(
            f"{root}: {doubt.path.relative_to(root)} names camera {told_camera(doubt.path)}; say "
            f"{FOLDERS}:{root} if the folders are cameras, or folders:{root} if they are vehicles"
        )
    yield from found


def _doubt(pictures: Sequence[_Picture]) -> _Picture | None:
    """A picture that speaks for folders of vehicles: all names tell a camera, and folders share several."""
    told = [(picture.camera, told_camera(picture.path)) for picture in pictures]
    if not all(camera for _, camera in told):
        return None
    cameras, folders = {camera for _, camera in told}, {folder for folder, _ in told}
    # Numbers that count pictures are more than folders that are cameras.
    shared = len(cameras) < len(folders) < len(set(told))
    return pictures[0] if shared else None


def _read_camera(folder: Path) -> Iterator[_Picture]:
    pictures, tracks = list_folder(folder)
    for path in pictures:
        yield _Picture(path, folder.name)
    for track in tracks:
        inside, deeper = list_folder(track)
        if deeper:
            raise UserError(
                f"{deeper[0]}: lies too deep; a camera's folder holds pictures, or a folder for each track"
            )
        for path in inside:
            yield _Picture(path, folder.name, track.name)
