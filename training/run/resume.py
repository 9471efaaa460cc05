"""Continuing a training that was interrupted, as if it had not been."""

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from training.datasets.records import UNKNOWN, Record
from training.run.checkpoint import deserialise, read_checkpoint, serialise, write_checkpoint
from training.run.epoch import EpochSums
from training.run.recipe import Recipe
from training.run.state import TrainState
from zoo.errors import UserError
from zoo.labels import COLORS, TYPES

MINUTES = 10
"""Between checkpoints within an epoch, where nothing else is asked for."""

_PIECE = 4096
"""Bytes of a picture's beginning and end that are looked at: whole data sets would take minutes."""

_SINCE = {
    "antialias": True,
    "teacher": "",
    "loss.teacher": 0.0,
    "augmentation.tone": 0.0,
    "augmentation.softness": 0.0,
    "augmentation.noise": 0.0,
    "augmentation.fading": 0.0,
}
"""Options that older runs did not know, with what they did: they go on where nothing else is asked for."""

_PICTURES = ("training pictures", "evaluation pictures")
"""Facts that runs of before did not write down."""


@dataclass
class Position:
    """How far a training has come.

    Attributes:
        epoch: the present one, from 0; in the end the number of epochs.
        sums: of the present epoch.
        history: the lines of metrics.jsonl.
        images: trained on, in whole epochs.
        training_seconds: spent on them.
        best: figures of the best epoch; None before the first evaluation.
        started: when it would have been, on the monotonic clock, had it not been interrupted.
    """

    epoch: int = 0
    sums: EpochSums = field(default_factory=EpochSums)
    history: list[dict[str, Any]] = field(default_factory=list)
    images: int = 0
    training_seconds: float = 0.0
    best: dict[str, Any] | None = None
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since the start, breaks left out."""
        return time.monotonic() - self.started


def run_facts(
    recipe: Recipe, seed: int, world_size: int, train: Sequence[Record], evaluate: Sequence[Record]
) -> dict[str, Any]:
    """What has to be the same for a run to be continued, by the name to call it."""
    options = _flat(dataclasses.asdict(recipe))
    facts = {f"recipe: {key}": value for key, value in options if (key, value) not in _SINCE.items()}
    facts |= {"--seed": seed, "number of ranks": world_size}
    facts |= {"training data": _fingerprint(train), "evaluation data": _fingerprint(evaluate)}
    facts |= dict(zip(_PICTURES, map(_pictures_fingerprint, (train, evaluate)), strict=True))
    plain: dict[str, Any] = json.loads(json.dumps(facts))
    return plain


class Checkpoints:
    """Saves a training's state now and then, and restores it. All ranks call each method together."""

    def __init__(
        self, state: TrainState, facts: dict[str, Any], folder: Path | None, every: int | None = None
    ) -> None:
        """Prepare.

        Args:
            state: what is trained.
            facts: see `run_facts`.
            folder: of the run, for the first rank; None for the others.
            every: steps between checkpoints within an epoch; None for one in `MINUTES`.
        """
        self.state, self.facts, self.folder, self.every = state, facts, folder, every
        self.ranks = state.ranks
        self._saved = time.monotonic()

    def save(self, position: Position) -> None:
        """Write a checkpoint."""
        sums = position.sums
        content = {
            "facts": self.facts,
            "learner": self.state.state_dict(),
            "position": {**dataclasses.asdict(position), "seconds": position.seconds},
            # Each rank's own.
            "parts": self.ranks.gather(torch.tensor([[0.0, *sums.parts.values()]], dtype=torch.float64)),
        }
        if self.folder:
            write_checkpoint(self.folder, serialise(content))
        self._saved = time.monotonic()

    def after_step(self, position: Position) -> None:
        """Write a checkpoint where one is due."""
        if self.every:
            due = position.sums.steps % self.every == 0
        else:
            due = self.ranks.any(time.monotonic() - self._saved > 60 * MINUTES)
        if due:
            self.save(position)

    def restore(self) -> Position | None:
        """Load the newest whole checkpoint into the state.

        Returns:
            Where to continue; None where there is no checkpoint yet.

        Raises:
            UserError: the run is another than this one, or its checkpoints are damaged.
        """
        payload = self.ranks.share_bytes((read_checkpoint(self.folder) if self.folder else None) or b"")
        if not payload:
            return None
        content = deserialise(payload)
        facts = content["facts"]
        for name in sorted(facts.keys() | self.facts.keys()):
            before, now = facts.get(name), self.facts.get(name)
            if name in _PICTURES and before is None:
                continue
            if before != now:
                raise UserError(
                    f"--resume: the run was started with {name} = {before}, and now it is {now}; give it as "
                    "it was, or start another run without --resume"
                )
        self.state.load_state_dict(content["learner"])
        values = content["position"]
        values["started"] = time.monotonic() - values.pop("seconds")
        sums = EpochSums(**values.pop("sums"))
        sums.parts = dict(zip(sums.parts, content["parts"][self.ranks.rank, 1:].tolist(), strict=True))
        return Position(sums=sums, **values)


def _flat(table: dict[str, Any], above: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _fingerprint(records: Iterable[Record]) -> str:
    # VeRi's classes by number, as they were when older runs began: those can be resumed.
    colors, types = ({name: number for number, name in enumerate(names)} for names in (COLORS, TYPES))
    lines = [
        f"{r.path.name} {r.vehicle_id} {r.camera_id} "
        f"{colors.get(r.color, r.color or UNKNOWN)} {types.get(r.type, r.type or UNKNOWN)}"
        for r in records
    ]
    digest = hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
    return f"{len(lines)} images ({digest[:12]})"


def _pictures_fingerprint(records: Sequence[Record]) -> str:
    """Tell whether pictures are what they were, whatever their names: by size, beginning and end."""

    def digest(record: Record) -> bytes:
        try:
            with record.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(0)
                first = file.read(_PIECE)
                file.seek(max(0, size - _PIECE))
                return hashlib.sha256(b"%d " % size + first + file.read(_PIECE)).digest()
        except OSError:
            return b""  # whoever trains on it says so

    with ThreadPoolExecutor(8) as pool:
        parts = b"".join(pool.map(digest, records))
    return f"{len(records)} files ({hashlib.sha256(parts).hexdigest()[:12]})"
