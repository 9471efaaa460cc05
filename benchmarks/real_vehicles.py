"""The real pictures that benchmarks are measured on, and the protocol "hard" (docs/real-vehicles.md).

A folder of pictures with `labels.csv` (to train on) and `hard.csv` (to judge by, and never to train on or to
choose by); columns path, kind, vehicle_id, camera_id, color and type.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.datasets.records import Record, number_ids
from training.evaluation.camera_centring import centre_cameras
from training.evaluation.metrics import Labels, evaluate_ranking
from zoo.errors import UserError

MOTORCYCLE = "motorcycle"
KINDS = ("four-wheelers", "motorcycles")


@dataclass(frozen=True)
class RealVehicles:
    """Records of real pictures; a motorcycle's type is that.

    Attributes:
        train: the training part.
        hard: vehicles whose two cameras differ clearly; both are numbered as others than those of `train`.
    """

    train: list[Record]
    hard: list[Record]


def read_real(root: Path) -> RealVehicles:
    """Read the labels.

    Raises:
        UserError: the folder is not such a one.
    """
    return RealVehicles(_read(root / "labels.csv", 0), _read(root / "hard.csv", 1))


def _read(table: Path, number: int) -> list[Record]:
    """Read one table; `number` keeps its vehicles and cameras apart from the other's."""
    try:
        with table.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        vehicles = number_ids(row["vehicle_id"] for row in rows)
        return [
            Record(
                table.parent / row["path"],
                1_000_000 * number + vehicles[row["vehicle_id"]],
                1_000 * number + int(row["camera_id"]),
                row["color"],
                MOTORCYCLE if row["kind"] == MOTORCYCLE else row["type"],
            )
            for row in rows
        ]
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{table}: cannot be read ({error}); give the folder of real pictures") from error


def kind_of(record: Record) -> str:
    """Which of `KINDS` a record's vehicle is."""
    return KINDS[record.type == MOTORCYCLE]


def folds(records: Sequence[Record], count: int, seed: int = 0) -> np.ndarray:
    """Deal vehicles, each kind for itself, to so many folds: the fold of each record, int64 [N]."""
    fold = np.empty(len(records), np.int64)
    rng = np.random.default_rng(seed)
    for kind in KINDS:
        chosen = [index for index, record in enumerate(records) if kind_of(record) == kind]
        vehicles, members = np.unique([records[index].vehicle_id for index in chosen], return_inverse=True)
        fold[chosen] = (rng.permutation(len(vehicles)) % count)[members]
    return fold


def write_table(path: Path, records: Sequence[Record], labelled: bool = True) -> Path:
    """Write records as a table, with or without vehicles, colours and types."""
    columns = ("vehicle_id", "camera_id", "color", "type") if labelled else ("camera_id",)
    rows = [[str(record.path.resolve()), *(getattr(record, name) for name in columns)] for record in records]
    lines = [",".join(map(str, row)) for row in (["path", *columns], *rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def mean_average_precision(
    embedding: np.ndarray, records: Sequence[Record], asked: np.ndarray, metric: str, centred: bool = False
) -> float:
    """The mAP in percent of some records among all, by VeRi's rule.

    Args:
        embedding: float32 [N, D].
        records: N.
        asked: bool [N], those that are queries too.
        metric: to compare by.
        centred: take each camera's mean of all N away.
    """
    query = [record for record, chosen in zip(records, asked, strict=True) if chosen]
    labels = Labels.of(query, records)
    cameras = labels.query_cameras, labels.gallery_cameras
    vectors = embedding[asked], embedding
    if centred:
        vectors = centre_cameras(*vectors, *cameras, metric)
    ranking = evaluate_ranking(*vectors, labels.query_ids, labels.gallery_ids, *cameras, metric)
    return 100 * float(ranking.mean_average_precision)


def hard_figures(embedding: np.ndarray, real: RealVehicles, metric: str) -> dict[str, float]:
    """The mAP of "hard" for each kind, as it is and with the means of its cameras taken away.

    Args:
        embedding: float32 [N, D] of the training part and then of hard.
        real: the records.
        metric: to compare by.
    """
    records = [*real.train, *real.hard]
    hard = np.arange(len(records)) >= len(real.train)
    figures = {}
    for kind in KINDS:
        chosen = np.array([kind_of(record) == kind for record in records])
        part = [record for record, wanted in zip(records, chosen, strict=True) if wanted]
        for name, centred in ((kind, False), (f"{kind}, centred", True)):
            figures[name] = mean_average_precision(embedding[chosen], part, hard[chosen], metric, centred)
    return figures
