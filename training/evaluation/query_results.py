"""What came of each query of an evaluation, in a small file, so that evaluations can be compared.

JSON lines: first what was searched, then a query a line.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.datasets.records import Record
from training.evaluation.protocol import Evaluation
from zoo.errors import UserError
from zoo.files import write_text

FILE_NAME = "queries.jsonl"
"""In a run's folder, of its best weights."""

VALUES = ("average_precision", "inverse_negative_penalty", "first_match", "color_right", "type_right")
"""Numbers of a query; null where there is none. `first_match` is a rank that counts from 0."""


@dataclass(frozen=True)
class QueryResults:
    """An evaluation query by query.

    Attributes:
        gallery: sha256 of the gallery's file names, sorted.
        num_gallery: images searched.
        names: the queries' file names, sorted.
        vehicles: int64 [Q], in the order of `names`.
        values: float64 [Q] by name, one of `VALUES`; NaN where there is none.
    """

    gallery: str
    num_gallery: int
    names: list[str]
    vehicles: np.ndarray
    values: dict[str, np.ndarray]


def write_query_results(
    path: str | Path, evaluation: Evaluation, query: Sequence[Record], gallery: Sequence[Record]
) -> None:
    """Write what an evaluation of these records found.

    Raises:
        UserError: the file cannot be written.
    """
    ranking = evaluation.ranking
    columns = {
        "average_precision": ranking.average_precision,
        "inverse_negative_penalty": ranking.inverse_negative_penalty,
        "first_match": np.where(ranking.first_match >= 0, ranking.first_match, np.nan),
        "color_right": evaluation.color_right,
        "type_right": evaluation.type_right,
    }
    lines = [{"gallery": digest(r.path.name for r in gallery), "num_gallery": len(gallery)}]
    for index, record in enumerate(query):
        numbers = {name: float(values[index]) for name, values in columns.items()}
        lines.append(
            {
                "query": record.path.name,
                "vehicle": record.vehicle_id,
                **{name: None if math.isnan(value) else value for name, value in numbers.items()},
            }
        )
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def read_query_results(path: str | Path) -> QueryResults:
    """Read such a file, or that of a run's folder.

    Raises:
        UserError: there is none, or it is not whole.
    """
    path = Path(path)
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise UserError(
            f"{file}: missing; write it with `python -m training.evaluate --data-root DATA --weights "
            f"WEIGHTS --save-queries {file}`"
        )
    try:
        head, *rows = (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
        rows.sort(key=lambda row: row["query"])
        values = {
            name: np.array([math.nan if row[name] is None else float(row[name]) for row in rows])
            for name in VALUES
        }
        vehicles = np.array([int(row["vehicle"]) for row in rows], np.int64)
        names = [str(row["query"]) for row in rows]
        found = QueryResults(str(head["gallery"]), int(head["num_gallery"]), names, vehicles, values)
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise UserError(f"{file}: not the results of queries ({error!r}); write it again") from error
    if not names or len(set(names)) != len(names):
        raise UserError(f"{file}: holds no query, or one twice; write it again")
    return found


def digest(names: Iterable[str]) -> str:
    """sha256 of file names, in whatever order they come."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()
