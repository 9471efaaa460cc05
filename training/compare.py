"""`python -m training.compare runs/a runs/b`: can a difference between evaluations be told from chance?

Queries of one vehicle rise and fall together, so that whole vehicles are drawn again with replacement, not
queries (the cluster bootstrap; Efron and Tibshirani, An Introduction to the Bootstrap, 1993). All evaluations
are judged by the same draws, which takes what they have in common out of their differences. Chance here is
which vehicles and pictures were asked for; another training's seed is a chance of its own.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.options import RANKS
from zoo.command_line import CommandParser
from zoo.errors import UserError, exit_on_user_error, extra_imports


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        module="training.compare",
        examples=["runs/veri runs/other"],
        description="Compare evaluations, with 95 %% bootstrap intervals over vehicles. "
        "* marks a difference to the first whose interval excludes zero.",
    )
    parser.add_argument("runs", nargs="+", type=Path, help="runs' folders, or files of --save-queries")
    parser.add_argument("--ranks", type=int, nargs="+", default=list(RANKS), help="of the CMC [1 5 10]")
    parser.add_argument("--draws", type=int, default=5000, help="of the bootstrap [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap [%(default)s]")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON line at the end")
    return parser


with extra_imports(__name__, build_parser):
    import numpy as np

    from training.evaluation.query_results import QueryResults, read_query_results

TITLES = {"color": "colour", "type": "type"}


@dataclass(frozen=True)
class Estimate:
    """A figure, and the interval that holds the middle 95 % of the bootstrap's."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.low > 0 or self.high < 0

    def as_json(self) -> dict[str, float | None]:
        """Value and interval; None for one that does not exist."""
        return {name: None if np.isnan(value) else value for name, value in vars(self).items()}


@dataclass(frozen=True)
class Comparison:
    """A figure of all evaluations.

    Attributes:
        figures: of each evaluation.
        differences: of each but the first, to the first.
    """

    figures: list[Estimate]
    differences: list[Estimate]


def check_same_data(results: Sequence[QueryResults], names: Sequence[str]) -> None:
    """Refuse evaluations of other queries or galleries.

    Raises:
        UserError: they differ; the message says in what.
    """
    first = results[0]
    for found, name in zip(results[1:], names[1:], strict=True):
        if found.names != first.names or not np.array_equal(found.vehicles, first.vehicles):
            common = len(set(found.names) & set(first.names))
            raise UserError(
                f"{name}: asks other queries than {names[0]} ({common} in common of {len(found.names)} and "
                f"{len(first.names)}); evaluate both on one data set"
            )
        if found.gallery != first.gallery:
            raise UserError(
                f"{name}: searches another gallery than {names[0]} ({found.num_gallery} and "
                f"{first.num_gallery} images); evaluate both on one data set"
            )


def compare(
    results: Sequence[QueryResults], ranks: Sequence[int] = RANKS, draws: int = 5000, seed: int = 0
) -> dict[str, Comparison]:
    """Estimate the figures and differences of evaluations that ask the same queries, by name.

    The same arguments give the same estimates. A figure that some evaluation does not have is left out.
    """
    vehicles, owner = np.unique(results[0].vehicles, return_inverse=True)
    drawn = np.random.default_rng(seed).multinomial(
        len(vehicles), np.full(len(vehicles), 1 / len(vehicles)), draws
    )
    compared = {}
    columns = [per_query(result, ranks) for result in results]
    for name in columns[0]:
        values = [column[name] for column in columns]
        if all(np.isnan(value).all() for value in values):
            continue
        means = [_mean(value) for value in values]
        resampled = [_resampled(value, owner, drawn) for value in values]
        compared[name] = Comparison(
            [_estimate(mean, sample) for mean, sample in zip(means, resampled, strict=True)],
            [
                _estimate(mean - means[0], sample - resampled[0])
                for mean, sample in zip(means[1:], resampled[1:], strict=True)
            ],
        )
    return compared


def per_query(result: QueryResults, ranks: Sequence[int]) -> dict[str, np.ndarray]:
    """What the figures are means of: float64 [Q] by name, NaN for a query that does not count."""
    first = result.values["first_match"]
    return {
        "mAP": result.values["average_precision"],
        "mINP": result.values["inverse_negative_penalty"],
        **{f"rank{k}": np.where(np.isnan(first), np.nan, first < k) for k in ranks},
        "color": result.values["color_right"],
        "type": result.values["type_right"],
    }


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _resampled(values: np.ndarray, owner: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Means over the queries of drawn vehicles, float64 [draws]; NaN of a draw without any."""
    known = ~np.isnan(values)
    sums = np.bincount(owner, np.where(known, values, 0.0), drawn.shape[1])
    counts = np.bincount(owner, known, drawn.shape[1])
    total = drawn @ counts
    return np.divide(drawn @ sums, total, out=np.full(len(drawn), np.nan), where=total > 0)


def _estimate(value: float, sample: np.ndarray) -> Estimate:
    known = sample[~np.isnan(sample)]
    low, high = np.percentile(known, (2.5, 97.5)) if len(known) else (np.nan, np.nan)
    return Estimate(value, float(low), float(high))


def table(compared: dict[str, Comparison], names: Sequence[str]) -> str:
    """All estimates for a person to read, in percent; `*` marks a difference whose interval excludes 0."""
    titles = [_title(name) for name in compared]
    rows = [["", *titles]]
    for number, name in enumerate(names):
        cells = [_cell(found.figures[number]) for found in compared.values()]
        rows.append([name, *cells])
    for number, name in enumerate(names[1:]):
        cells = []
        for found in compared.values():
            difference = found.differences[number]
            cells.append(_cell(difference, signed=True) + ("*" if difference.excludes_zero else " "))
        rows.append([f"{name} - {names[0]}", *cells])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            f"{cell:<{width}}" if column == 0 else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _title(name: str) -> str:
    return f"Rank-{name.removeprefix('rank')}" if name.startswith("rank") else TITLES.get(name, name)


def _cell(estimate: Estimate, signed: bool = False) -> str:
    if np.isnan(estimate.value):
        return "-"
    sign = "+" if signed else ""
    return (
        f"{100 * estimate.value:{sign}.2f} [{100 * estimate.low:{sign}.2f}, {100 * estimate.high:{sign}.2f}]"
    )


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Compare and print the table."""
    arguments = build_parser().parse_args(argv)
    if arguments.draws < 100 or min(arguments.ranks) < 1 or arguments.seed < 0:
        raise UserError("--draws must be at least 100, --ranks count from 1, --seed from 0")
    names = [str(path) for path in arguments.runs]
    if len(set(names)) != len(names):
        raise UserError("a run is named twice; name each once")
    results = [read_query_results(path) for path in arguments.runs]
    check_same_data(results, names)
    compared = compare(results, arguments.ranks, arguments.draws, arguments.seed)
    print(table(compared, names))
    vehicles = len(np.unique(results[0].vehicles))
    print(f"{len(results[0].names)} queries of {vehicles} vehicles, {results[0].num_gallery} gallery images")
    if vehicles < 30:
        print("intervals from so few vehicles are too narrow: take them as a hint", file=sys.stderr)
    if arguments.json:
        print(json.dumps(_as_json(compared, names)))
    return 0


def _as_json(compared: dict[str, Comparison], names: Sequence[str]) -> dict[str, Any]:
    return {
        "figures": {
            run: {name: found.figures[i].as_json() for name, found in compared.items()}
            for i, run in enumerate(names)
        },
        "differences": {
            run: {
                name: {
                    **found.differences[i].as_json(),
                    "excludes_zero": found.differences[i].excludes_zero,
                }
                for name, found in compared.items()
            }
            for i, run in enumerate(names[1:])
        },
    }


if __name__ == "__main__":
    sys.exit(main())
