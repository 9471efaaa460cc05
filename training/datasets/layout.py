"""What a file of this package says of its data set, and how the right one is found for a folder."""

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import training.datasets as package
from training.datasets.records import NO_CLASSES, Classes, Record
from training.datasets.set_aside import SetAside, set_aside
from zoo.errors import UserError

Split = Literal["train", "query", "test"]
"""Training images, queries, and the gallery that queries are searched in."""

VEHICLES = 1_000_000
CAMERAS = 1_000
TRACKS = 1_000_000
"""Of data sets joined for training, ids of each further one begin at a multiple of these, so that a person
still sees whose they are."""


@dataclass(frozen=True)
class Layout:
    """A data set as it lies on a disk. A file of this package lists its own in `LAYOUTS`.

    Attributes:
        name: what stands before the colon in `name:path`.
        title: for people, one line.
        read: reads a split of the data set at a path, in a fixed order, opening no image. Raises `UserError`.
        recognises: tells whether a path holds this data set; None where the name has to be given, as for
            all but one of several test sets.
        is_undivided: tells whether the data set at a path is of training images alone, of which a share of
            the vehicles may be set aside to evaluate on; None where it never is.
        classes: the colours and types that it tells apart whether or not they occur; those that do are added.
    """

    name: str
    title: str
    read: Callable[[Path, Split], list[Record]]
    recognises: Callable[[Path], bool] | None = None
    is_undivided: Callable[[Path], bool] | None = None
    classes: Classes = NO_CLASSES


class UnknownDataSetError(UserError):
    """A folder or file that is none of the data sets known here."""


def list_layouts() -> dict[str, Layout]:
    """All data sets by name, those of one file side by side."""
    modules = [
        importlib.import_module(f"{package.__name__}.{found.name}")
        for found in pkgutil.iter_modules(package.__path__)
    ]
    return {layout.name: layout for module in modules for layout in getattr(module, "LAYOUTS", ())}


def read_split(dataset: str | Path, split: Split) -> list[Record]:
    """Read one split of a data set, in the order of its label file.

    Only labels and folders' listings are read: no image is opened, and heatmap or segment folders are not
    needed. A data set without a query split has all its images in the training split, and some of them as
    queries and gallery too: see `vehicles_aside`.

    Args:
        dataset: a path, or `name:path`.
        split: which.

    Raises:
        UserError: the data set is missing, unknown or half-copied, or a label is wrong; the message names
            the file, the line and the cure.
    """
    if split not in get_args(Split):
        raise ValueError(f"split {split!r}: expected one of {get_args(Split)}")
    layout, path = find_layout(dataset)
    if split != "train" and (aside := vehicles_aside(dataset)) is not None:
        return aside.query if split == "query" else aside.gallery
    return layout.read(path, split)


def read_training(datasets: Sequence[str | Path], evaluate_on: str | Path | None = None) -> list[Record]:
    """Read the training splits of several data sets as one: see `read_training_parts`."""
    return [record for part in read_training_parts(datasets, evaluate_on) for record in part]


def read_training_parts(
    datasets: Sequence[str | Path], evaluate_on: str | Path | None = None
) -> list[list[Record]]:
    """Read the training splits of several data sets, to train on them together.

    Vehicles, cameras and tracks of different data sets are kept apart: those of the first keep their
    numbers, so that a model trained on it alone and one trained on more know them by the same ones.

    Args:
        datasets: paths, or `name:path`, at least one.
        evaluate_on: the data set to evaluate on; where it is one of them and has no query split, the vehicles
            that are set aside for that are left out.

    Returns:
        The records of each.

    Raises:
        UserError: see `read_split`.
    """
    parts: list[list[Record]] = []
    joined: list[Record] = []
    for dataset in datasets:
        aside = vehicles_aside(dataset) if evaluate_on is not None and is_same(dataset, evaluate_on) else None
        records = read_split(dataset, "train") if aside is None else aside.train
        if joined:
            vehicles = _offset(joined, lambda record: record.vehicle_id, VEHICLES)
            cameras = _offset(joined, lambda record: record.camera_id, CAMERAS)
            tracks = _offset(joined, lambda record: record.track or 0, TRACKS)
            records = [
                replace(
                    record,
                    vehicle_id=record.vehicle_id + vehicles,
                    camera_id=record.camera_id + cameras,
                    track=None if record.track is None else record.track + tracks,
                )
                for record in records
            ]
        parts.append(records)
        joined += records
    return parts


def read_classes(datasets: Sequence[str | Path], records: Sequence[Record]) -> Classes:
    """Name the colours and types that records of some data sets tell apart, joined by name.

    The classes that the data sets always have come first, those of the first one before all; the others
    follow as `Classes.extended` orders them.
    """
    classes = NO_CLASSES
    for dataset in datasets:
        known = find_layout(dataset)[0].classes
        classes = Classes(
            *(
                tuple(dict.fromkeys((*a, *b)))
                for a, b in ((classes.colors, known.colors), (classes.types, known.types))
            )
        )
    return classes.extended(records)


def vehicles_aside(dataset: str | Path) -> SetAside | None:
    """Take a data set without a query split apart; None for one that has such a split.

    Raises:
        UserError: see `read_split` and `set_aside`.
    """
    layout, path = find_layout(dataset)
    if layout.is_undivided is None or not layout.is_undivided(path):
        return None
    return set_aside(layout.read(path, "train"), path)


def is_same(dataset: str | Path, other: str | Path) -> bool:
    """Whether two names are of one data set."""
    (layout, path), (other_layout, other_path) = find_layout(dataset), find_layout(other)
    return layout.name == other_layout.name and path.resolve() == other_path.resolve()


def dataset_name(dataset: str | Path) -> str:
    """The name of a data set's folder or file, for reports."""
    return _split_name(dataset)[1].resolve().name


def find_layout(dataset: str | Path) -> tuple[Layout, Path]:
    """Tell which data set is meant, and where it lies.

    Raises:
        UserError: nothing lies there, or what could be two.
        UnknownDataSetError: nothing known lies there.
    """
    layouts = list_layouts()
    name, path = _split_name(dataset)
    if not path.exists():
        hint = f"{dataset}".partition(":")[0]
        near = difflib.get_close_matches(hint, layouts, n=1) if ":" in f"{dataset}" else []
        raise UserError(
            f"{path}: no such folder; "
            + (f"did you mean {near[0]}:{f'{dataset}'.partition(':')[2]}? Otherwise " if near else "")
            + "give the data set's root (for VeRi the folder with image_train, image_query, image_test), "
            "or make one with `python -m training.synthesize --out data/synthetic`"
        )
    if name is not None:
        return layouts[name], path
    found = [
        layout for layout in layouts.values() if layout.recognises is not None and layout.recognises(path)
    ]
    if len(found) == 1:
        return found[0], path
    if found:
        names = " and ".join(sorted(layout.name for layout in found))
        raise UserError(f"{path}: could be {names}; say which, as in {found[0].name}:{path}")
    raise UnknownDataSetError(
        f"{path}: holds none of the data sets known here ({', '.join(layouts)}): is its root another folder? "
        "Pictures of your own may lie in a folder for each vehicle, or come with a table: see "
        "docs/datasets.md"
    )


def _split_name(dataset: str | Path) -> tuple[str | None, Path]:
    """Take `name:path` apart; a colon after anything else belongs to the path."""
    name, colon, rest = f"{dataset}".partition(":")
    return (name, Path(rest)) if colon and name in list_layouts() else (None, Path(dataset))


def _offset(records: list[Record], number: Callable[[Record], int], step: int) -> int:
    """The first multiple of `step` above all numbers used so far."""
    return (max(map(number, records)) // step + 1) * step
