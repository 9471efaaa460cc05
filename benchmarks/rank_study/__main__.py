"""`python -m benchmarks.rank_study`: make the inputs, train all arms from both starts, write the page."""

import argparse
import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.rank_study import inputs, worker
from benchmarks.rank_study.arms import Start, passes
from benchmarks.rank_study.plot import svg
from benchmarks.rank_study.report import fill, read
from benchmarks.rank_study.run import SCHEDULES, Run, train
from zoo.errors import UserError, exit_on_user_error
from zoo.files import write_text

FOLDER = Path(__file__).resolve().parent
DOCS = FOLDER.parents[1] / "docs"
RESULTS = FOLDER / "results.jsonl"
REPETITION = FOLDER / "repetition.jsonl"
"""The default and what competes with it on seeds that nothing was chosen on, and on another machine."""

PAGE, PLOT = DOCS / "many-cards.md", DOCS / "images" / "many-cards.svg"


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rank_study", description=__doc__)
    parser.add_argument("--data", type=Path, help="the data set [data/study, made if it is not there]")
    parser.add_argument(
        "--weights",
        type=Path,
        help="best.safetensors of a run of pretraining.toml [of runs/others, trained if it is not there]",
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="[%(default)s]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="[0 1 2]")
    parser.add_argument("--starts", nargs="+", choices=list(SCHEDULES), default=list(SCHEDULES))
    parser.add_argument("--only", nargs="+", help="arms to run, as name@ranks [all]")
    parser.add_argument("--processes", type=int, default=2, help="trainings at a time, of one thread each")
    parser.add_argument(
        "--table",
        action="store_true",
        help="write docs/many-cards.md and its plot from what there is, and end",
    )
    parser.add_argument("--list", action="store_true", help="print what is left to run, and end")
    return parser.parse_args(argv)


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run what has no row in the results yet."""
    arguments = parse_arguments(argv)
    if arguments.table:
        write_page()
        return 0
    left = pending(arguments)
    if arguments.list:
        for run in left:
            print(*run.key)
        return 0
    check_inputs(left)
    left = with_inputs(left)
    check_start(left, arguments.results)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.processes, context, worker.start) as pool:
        for future in tqdm(as_completed([pool.submit(train, run) for run in left]), total=len(left)):
            row = future.result()
            with arguments.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            tqdm.write(
                f"{row['arm']} {row['start']} {row['seed']}: mAP {row['mAP']:.1f}, Rank-1 {row['rank1']:.1f}",
                file=sys.stderr,
            )
    if arguments.results.resolve() in (RESULTS, REPETITION):
        write_page()
    return 0


def write_page() -> None:
    """Put the results into docs/many-cards.md and its plot."""
    write_text(PAGE, filled(PAGE.read_text(encoding="utf-8")))
    write_text(PLOT, svg(read(RESULTS)))


def filled(page: str) -> str:
    """The page with the tables of the results that there are."""
    again = {f"{start} again": arms for start, arms in read(REPETITION).items()}
    return fill(page, read(RESULTS) | again)


def pending(arguments: argparse.Namespace) -> list[Run]:
    """The runs without a row of results, seed by seed, so that a study that is cut short has whole rows."""
    done = {(row["arm"], row["start"], row["seed"]) for row in rows_of(arguments.results)}
    starts: list[Start] = arguments.starts
    runs = [
        Run(arm, start, seed, arguments.data, arguments.weights)
        for number in range(max(len(passes(start)) for start in starts))
        for seed in arguments.seeds
        for start in starts
        # A start may have fewer passes than the other.
        for arms in passes(start)[number : number + 1]
        for arm in arms
        if arguments.only is None or arm.key in arguments.only
    ]
    return [run for run in runs if run.key not in done]


def with_inputs(left: list[Run]) -> list[Run]:
    """The runs with the inputs that none was named for, made where they are not there yet."""
    data = inputs.make_data() if any(run.data is None for run in left) else None
    unstarted = any(run.start == "pretrained" and run.weights is None for run in left)
    weights = inputs.make_weights() if unstarted else None
    return [replace(run, data=run.data or data, weights=run.weights or weights) for run in left]


def rows_of(results: Path) -> list[dict[str, Any]]:
    """The rows of results that there are."""
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    return [json.loads(line) for line in lines]


def check_inputs(left: list[Run]) -> None:
    """Raise where the data set or the start that was named is not there."""
    for run in left:
        if run.data is not None and not run.data.is_dir():
            raise UserError(f"--data {run.data}: no such folder; leave it out, and the study's data are made")
        if run.start == "pretrained" and run.weights is not None and not run.weights.is_file():
            raise UserError(
                f"--weights {run.weights}: no such file; leave it out, and they are trained, or choose "
                "--starts random"
            )


def check_start(left: list[Run], results: Path) -> None:
    """Raise where rows from two pretrained starts would come into one table.

    Pretraining by the same command gave other weights on another machine, from which `ours` came 1.7 points
    lower.
    """
    held = {row.get("start_hash") for row in rows_of(results) if row["start"] == "pretrained"}
    # All runs have the same --weights, which are read once.
    wanted = next((run.start_hash for run in left if held and run.start == "pretrained"), None)
    if wanted is not None and held != {wanted}:
        raise UserError(
            f"{results}: has rows from another pretrained start than --weights; take its weights, or another "
            "--results"
        )


if __name__ == "__main__":
    sys.exit(main())
