"""A teacher: another model, whose relations between the training pictures a model learns from.

It is asked once, of each picture as it is, before the first step. What it says is kept in the run's folder,
so that a run which is taken up again goes on with the very same numbers.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
import torch

from training.data.pose_maps import MapSource, PoseInputs
from training.datasets.records import Record
from training.distributed.ranks import Ranks
from training.evaluation.deployed import deployed_model
from training.evaluation.extract import EvaluationSet, extract_shared, own_share
from zoo.errors import UserError
from zoo.files import replacing
from zoo.hub.cache import Digest, verify_weights
from zoo.loading import read_card
from zoo.registry import weights_path

TEACHER = "teacher.safetensors"
"""Of a run's folder: the teacher's embeddings, and whose they are."""


class Teacher:
    """A model that is asked.

    Attributes:
        fingerprint: tells its weights, and how pictures come to it.
    """

    def __init__(self, name: str) -> None:
        """Look at its card and file; the network is built when it is asked.

        Args:
            name: of a model of the zoo, or the path of weights.

        Raises:
            UserError: there is no such model.
        """
        self.name = name
        try:
            self.card = read_card(name)
            path = weights_path(name)
            verify_weights(path, self.card.weights_sha256)
        except UserError as error:
            raise UserError(f"teacher = {name!r}: {error}") from error
        card = self.card
        view = (card.input_size, card.mean, card.std, card.channels, card.antialias)
        weights = Digest("sha256", "").of(path).value
        self.fingerprint = hashlib.sha256(f"{weights} {view}".encode()).hexdigest()[:12]

    def embeddings(
        self,
        records: Sequence[Record],
        ranks: Ranks,
        folder: Path | None,
        pictures: str,
        map_source: MapSource = "auto",
        workers: int = 0,
    ) -> np.ndarray:
        """Tell what it sees in pictures: float32 [N, D], the same on all ranks, which share the work.

        The chance that training draws from is left as it was, whether the answer is a kept one or not.

        Args:
            records: the pictures.
            ranks: all of them call this together.
            folder: of the run, for the first rank; None for the others.
            pictures: tells these pictures from others, whatever their names.
            map_source: where heatmaps and segments come from, if it takes any.
            workers: processes that load images.

        Raises:
            UserError: a picture cannot be used, or its labels have not what the teacher takes.
        """
        of = f"{self.fingerprint} {pictures}"
        kept = _read(folder / TEACHER, of) if folder else None
        if known := ranks.share_bytes(b"" if kept is None else kept.tobytes()):
            return np.frombuffer(bytearray(known), np.float32).reshape(len(records), -1)
        share = own_share(records, ranks)
        pose = PoseInputs(**{name: True for name in self.card.pose_inputs})
        with (
            torch.random.fork_rng(devices=[]),
            deployed_model(self.name, ranks.device, len(share)) as (model, card),
        ):
            data = EvaluationSet(
                share, card.input_size, pose, map_source=map_source, antialias=card.antialias
            )
            found = extract_shared(model, data, len(records), ranks, workers, "teacher").embedding
        if folder:
            _write(folder / TEACHER, found, of)
        return found


def _read(path: Path, of: str) -> np.ndarray | None:
    """What a file holds; None where there is none, a damaged one, or one of another teacher or pictures."""
    try:
        with safetensors.safe_open(path, "numpy") as file:
            embedding: np.ndarray = file.get_tensor("embedding")
            return embedding if file.metadata() == _whose(embedding, of) else None
    except (OSError, safetensors.SafetensorError):
        return None


def _write(path: Path, embedding: np.ndarray, of: str) -> None:
    data = safetensors.numpy.save({"embedding": embedding}, metadata=_whose(embedding, of))
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def _whose(embedding: np.ndarray, of: str) -> dict[str, str]:
    return {"of": of, "sha256": hashlib.sha256(embedding.tobytes()).hexdigest()}
