"""The folder of a run: a fresh one each time, and what is written into it while the run goes on."""

import json
from pathlib import Path
from typing import Any

from zoo.errors import UserError
from zoo.files import write_text

RUN_FILES = (
    *(f"{stem}.{suffix}" for stem in ("best", "last") for suffix in ("safetensors", "json")),
    "metrics.json",
    "metrics.jsonl",
    "labels.json",
    "recipe.json",
)


def json_text(content: Any) -> str:
    """How a run's JSON files are written."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


class RunFolder:
    """A run's files: best and last weights with their cards, metrics.json, metrics.jsonl, labels.json,
    recipe.json."""

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
            if any(path.iterdir()):
                if not overwrite:
                    raise UserError(f"{path}: holds files already; choose another --out, or give --overwrite")
                for file in RUN_FILES:
                    (path / file).unlink(missing_ok=True)
            return cls(path)
        except OSError as error:
            raise UserError(
                f"{error.filename}: no run folder can be made there ({error.strerror}); choose another --out"
            ) from error

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file, whole or not at all."""
        write_text(self.path / name, json_text(content))

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
