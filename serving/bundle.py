"""The bundle: one folder that holds a model as it is served. Written whole, opened with checks. No torch."""

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from zoo.card import Card
from zoo.errors import UserError
from zoo.files import unwritable
from zoo.onnx_model import CARD_KEY

__all__ = [
    "CARD_KEY",
    "PRECISIONS",
    "Bundle",
    "ExportedModel",
    "Precision",
    "check_replaceable",
    "file_hash",
    "writing",
]

Precision = Literal["fp32", "fp16", "int8"]
"""Of a model's arithmetic; inputs and outputs are the same in each."""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)

_PARTS = ("model.onnx", "card.json", "parity.json", "triton")


@dataclass(frozen=True)
class ExportedModel:
    """A model as an ONNX file.

    Attributes:
        onnx_file: the file.
        card: the model's card.
        model_hash: sha256 of a bundle's `model.onnx`; two models of one hash give the same embeddings.
        precision: of the model's arithmetic.
    """

    onnx_file: Path
    card: Card
    model_hash: str
    precision: Precision = "fp32"


class Bundle(ExportedModel):
    """A bundle on disk."""

    @property
    def path(self) -> Path:
        """The folder."""
        return self.onnx_file.parent

    @property
    def repository(self) -> Path:
        """The Triton model repository."""
        return self.path / "triton"

    @classmethod
    def open(cls, path: str | Path) -> "Bundle":
        """Open a bundle.

        Raises:
            UserError: missing, not a bundle, or one that was copied in part.
        """
        path = Path(path)
        if path.is_file():
            cure = f"python -m serving.export --weights {path} --out FOLDER"
            if path.suffix == ".onnx":
                cure = f"python -m serving.export --onnx {path} --out FOLDER"
            raise UserError(f"{path}: a file, not a bundle; make one of it with: {cure}")
        if not path.is_dir():
            raise UserError(f"{path}: no bundle there; make one with: python -m serving.export --out {path}")
        missing = [part for part in _PARTS if not (path / part).exists()]
        if missing:
            raise UserError(f"{path}: not a bundle ({', '.join(missing)} missing); export the model again")
        model_hash = file_hash(path / "model.onnx")
        report = _read_report(path / "parity.json")
        if model_hash != report.get("model_hash"):
            raise UserError(
                f"{path}: model.onnx is not the model that parity.json was measured with; was the bundle "
                "copied in part? Copy it again, or export the model again"
            )
        card = Card.read(path / "card.json")
        return cls(path / "model.onnx", card, model_hash, report.get("precision", "fp32"))


def file_hash(path: Path) -> str:
    """Return a file's sha256 in hexadecimal.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


def _read_report(report: Path) -> dict[str, Any]:
    """A parity report; empty where it cannot be read."""
    try:
        content = json.loads(report.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def check_replaceable(path: str | Path) -> None:
    """Make sure that writing a bundle at `path` would destroy nothing but a bundle.

    Raises:
        UserError: something else is there.
    """
    path = Path(path)
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise UserError(f"{path}: is not a folder; choose another --out")
    if path.is_dir() and any(path.iterdir()) and not all((path / part).exists() for part in _PARTS):
        raise UserError(
            f"{path}: holds other files and is no bundle; choose another --out, or empty it yourself"
        )


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[Path]:
    """Yield an empty folder; it becomes the bundle at `path` when the block ends well, and vanishes when not.

    Raises:
        UserError: something other than a bundle is at `path`, the disk is full, or it cannot be written to.
    """
    target = Path(path).absolute()
    check_replaceable(target)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
        # mkdtemp makes folders for their owner alone; a server often runs as somebody else.
        temporary.chmod(0o755)
        fresh = temporary / "new"
        fresh.mkdir()
        yield fresh
        if target.exists():
            target.rename(temporary / "old")
        fresh.rename(target)
    except OSError as error:
        raise unwritable(target, error) from error
    finally:
        if temporary is not None:
            # Between the two renames the old bundle is in here: it goes back where no new one took its place.
            if (temporary / "old").exists() and not target.exists():
                (temporary / "old").rename(target)
            shutil.rmtree(temporary, ignore_errors=True)
