"""The folder of a run: a fresh one each time, and what is written into it while it trains."""

import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from training.evaluation.query_results import FILE_NAME
from training.run.checkpoint import LAST, PREVIOUS
from training.run.progress import CURVES
from training.run.teacher import TEACHER
from zoo.errors import UserError
from zoo.files import write_text

FIRST_FILES = ("labels.json", "recipe.json", "environment.json")
"""Written before the first step."""

RUN_FILES = (
    "best.safetensors",
    "best.json",
    "last.safetensors",
    "last.json",
    "metrics.json",
    "metrics.jsonl",
    FILE_NAME,
    *FIRST_FILES,
    TEACHER,
    LAST,
    PREVIOUS,
)


def json_text(content: Any) -> str:
    """How a run's JSON files are written."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


class RunFolder:
    """A run's files: best and last weights with their cards, metrics.json, metrics.jsonl, labels.json,
    recipe.json, environment.json, a teacher's embeddings, checkpoints, and TensorBoard's curves."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, out: str | Path | None, name: str, overwrite: bool = False) -> "RunFolder":
        """Make a run's folder.

        Args:
            out: the folder; None for the first unused `runs/<name>-<number>`.
            name: of the recipe.
            overwrite: take a folder that holds a run already, and delete that run's files.

        Raises:
            UserError: `out` holds something already.
        """
        try:
            if out is None:
                return cls(_fresh(Path("runs"), name))
            path = Path(out)
            path.mkdir(parents=True, exist_ok=True)
            _sweep(path)
            # A run that failed before it learnt anything is not worth asking for.
            if not overwrite and any(file.name not in (*FIRST_FILES, CURVES) for file in path.iterdir()):
                raise UserError(
                    f"{path}: holds files already; choose another --out, or give --overwrite, or --resume to "
                    "continue the run there"
                )
            for file in RUN_FILES:
                (path / file).unlink(missing_ok=True)
            if (path / CURVES).is_dir():
                shutil.rmtree(path / CURVES)
            return cls(path)
        except OSError as error:
            raise _unusable(error) from error

    @classmethod
    def resume(cls, out: str | Path | None, name: str) -> "RunFolder":
        """Find the folder of a run that was interrupted.

        Args:
            out: the folder; None for the newest unfinished one of `runs/<name>-<number>`.
            name: of the recipe.

        Raises:
            UserError: there is none, or the run is complete.
        """
        try:
            path = _newest_unfinished(Path("runs"), name) if out is None else Path(out)
            if not path.is_dir() or not any((path / file).exists() for file in RUN_FILES):
                raise UserError(f"{path}: holds no run to resume; check --out, or start one without --resume")
            if (path / "metrics.json").exists():
                raise UserError(f"{path}: the run there is complete; start another one without --resume")
            _sweep(path)
            return cls(path)
        except OSError as error:
            raise _unusable(error) from error

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file, whole or not at all."""
        write_text(self.path / name, json_text(content))

    def write_metrics(self, entries: Iterable[dict[str, Any]]) -> None:
        """Write metrics.jsonl anew."""
        write_text(self.path / "metrics.jsonl", "".join(json.dumps(entry) + "\n" for entry in entries))

    def append_metrics(self, entry: dict[str, Any]) -> None:
        """Add an epoch's line to metrics.jsonl."""
        try:
            with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise UserError(f"{self.path}: metrics.jsonl cannot be written ({error.strerror})") from error


def _fresh(parent: Path, name: str) -> Path:
    number = 1
    while True:
        path = parent / f"{name}-{number:03d}"
        try:
            # Made at once, so that two runs started together do not share one.
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            number += 1


def _newest_unfinished(parent: Path, name: str) -> Path:
    numbered = [(re.fullmatch(rf"{re.escape(name)}-(\d+)", path.name), path) for path in parent.glob("*")]
    unfinished = [
        (int(match[1]), path)
        for match, path in numbered
        if match and not (path / "metrics.json").exists() and any((path / f).exists() for f in RUN_FILES)
    ]
    if not unfinished:
        raise UserError(
            f"--resume: no unfinished run of {name} is in {parent}/; give its folder as --out, or start one "
            "without --resume"
        )
    return max(unfinished)[1]


def _sweep(path: Path) -> None:
    """Remove what a process that was killed while it wrote has left."""
    for name in RUN_FILES:
        for partial in path.glob(f".{name}.*.part"):
            partial.unlink(missing_ok=True)


def _unusable(error: OSError) -> UserError:
    return UserError(
        f"{error.filename}: no run folder can be made there ({error.strerror}); choose another --out"
    )
