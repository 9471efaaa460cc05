"""Rankings that another system made, from a file: JSON lines, one a query.

`{"query": "<file name>", "color": "white", "type": "suv", "results": ["<gallery file name>", ... best
first]}`, where `results` holds the whole gallery, so that the same figures come out as from embeddings.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.datasets.records import UNKNOWN, VERI, Classes, Record
from training.evaluation.attributes import judge_attribute
from training.evaluation.metrics import match_ranks_of_order, rank_metrics
from training.evaluation.protocol import Evaluation, told_right
from zoo.errors import UserError


@dataclass(frozen=True)
class RankedQuery:
    """One query's answer: predicted classes (`UNKNOWN` for none) and the gallery's indices, best first."""

    color: int
    type: int
    order: np.ndarray


def evaluate_rankings(
    path: str | Path, query: Sequence[Record], gallery: Sequence[Record], classes: Classes = VERI
) -> Evaluation:
    """Judge a rankings file by the labels of a data set.

    Args:
        path: the file.
        query: the data set's queries.
        gallery: its gallery.
        classes: what the file may call a colour or type.

    Raises:
        UserError: the file is not of the form above, lacks a query, or does not rank every gallery image
        once.
    """
    ranked = read_rankings(path, query, gallery, classes)
    vehicles = np.array([record.vehicle_id for record in gallery])
    cameras = np.array([record.camera_id for record in gallery])

    def match_ranks() -> Iterator[np.ndarray]:
        for record, answer in zip(query, ranked, strict=True):
            same = vehicles == record.vehicle_id
            own_camera = cameras == record.camera_id
            yield match_ranks_of_order(answer.order, same & ~own_camera, same & own_camera)

    color, kind = (np.array([getattr(answer, name) for answer in ranked]) for name in ("color", "type"))
    labelled_color, labelled_kind = classes.indices(query, "color"), classes.indices(query, "type")
    return Evaluation(
        rank_metrics(match_ranks()),
        told_right(color, labelled_color),
        told_right(kind, labelled_kind),
        len(gallery),
        judge_attribute(classes.colors, labelled_color, color),
        judge_attribute(classes.types, labelled_kind, kind),
    )


def read_rankings(
    path: str | Path, query: Sequence[Record], gallery: Sequence[Record], classes: Classes = VERI
) -> list[RankedQuery]:
    """Read a rankings file; the answers come in the order of `query`.

    Raises:
        UserError: see `evaluate_rankings`.
    """
    wanted = {record.path.name for record in query}
    indices = {record.path.name: index for index, record in enumerate(gallery)}
    answers: dict[str, RankedQuery] = {}
    try:
        with Path(path).open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    name, answer = _parse(line, indices, f"{path}:{number}", classes)
                    if name not in wanted:
                        raise UserError(
                            f"{path}:{number}: {name!r} is not a query of this data set; is it another's "
                            f"file?"
                        )
                    if name in answers:
                        raise UserError(f"{path}:{number}: {name!r} is ranked a second time; delete one line")
                    answers[name] = answer
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no rankings can be read there ({error}); check the path") from error
    missing = sorted(wanted - answers.keys())
    if missing:
        raise UserError(
            f"{path}: {len(answers)} of the {len(wanted)} queries are ranked, missing "
            f"{', '.join(missing[:3])}: "
            "search with every query of the data set"
        )
    return [answers[record.path.name] for record in query]


def _parse(line: str, indices: dict[str, int], where: str, classes: Classes) -> tuple[str, RankedQuery]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: broken JSON ({error}); was the file written to its end?") from error
    if not isinstance(entry, dict) or not isinstance(entry.get("query"), str):
        raise UserError(f'{where}: an object with "query" and "results" is expected')
    results = entry.get("results")
    if not isinstance(results, list) or not all(isinstance(name, str) for name in results):
        raise UserError(f'{where}: "results" must be a list of gallery file names')
    unknown = [name for name in results if name not in indices]
    if unknown:
        raise UserError(
            f"{where}: {len(unknown)} results are not in image_test (first {unknown[0]!r}); is it another "
            f"gallery?"
        )
    order = np.array([indices[name] for name in results], np.int64)
    distinct = len(np.unique(order))
    if distinct != len(order):
        raise UserError(
            f"{where}: {len(order) - distinct} gallery images are ranked more than once; rank each once"
        )
    if distinct != len(indices):
        raise UserError(
            f"{where}: {distinct} of the {len(indices)} gallery images are ranked; search with --k 0 for "
            f"all of them, "
            "in a gallery that holds all of image_test"
        )
    color = _class_index(entry.get("color"), classes.colors, f"{where}: color")
    kind = _class_index(entry.get("type"), classes.types, f"{where}: type")
    return entry["query"], RankedQuery(color, kind, order)


def _class_index(name: Any, names: tuple[str, ...], where: str) -> int:
    if name is None:
        return UNKNOWN
    if name not in names:
        raise UserError(f"{where} {name!r} is not one of {', '.join(names)}")
    return names.index(name)
