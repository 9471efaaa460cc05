"""The in-process encoders: onnxruntime or OpenVINO on the CPU, an Ascend NPU; decoding ahead in threads."""

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path

import numpy as np

from serving.bundle import file_hash
from serving.encoders.deadline import check_deadline
from serving.encoders.image import InputImage
from serving.encoders.predictions import Predictions
from serving.encoders.trace import stage
from serving.engines.ascend import OmModel
from serving.engines.selection import Engine, embeddings_of, open_model
from serving.shipped import open_exported
from zoo.errors import UserError
from zoo.parallel_model import LoadedModel
from zoo.preprocess import ImageError

BATCH_SIZE = 16
"""Throughput on a CPU no longer grows beyond it, and memory does."""


SUBMITTED = 2
"""Submitted calls that go on at a time: one is decoded while another is in the network."""


class ModelEncoder:
    """Encodes with a model in this process.

    Args:
        model: answers `image`, uint8 [N, H, W, 3].
        model_hash: sha256 of its file.
        threads: that decode; as many as there are cores where None is given.
    """

    spec = ""

    def __init__(self, model: LoadedModel, model_hash: str, threads: int | None = None) -> None:
        self.card = model.card
        self.model_hash = model_hash
        self._model = model
        self._decoders = ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="decode")
        self._callers = ThreadPoolExecutor(SUBMITTED, thread_name_prefix="encode")

    def encode(self, images: Sequence[bytes | InputImage]) -> Predictions:
        """Predict; see `serving.encoders.encoder.Encoder.encode`."""
        result = Predictions.empty(self.card, len(images))
        starts = range(0, len(images), BATCH_SIZE)
        # One batch is decoded while the one before it is in the network; never more, for memory's sake.
        ahead = self._ahead(images[:BATCH_SIZE])
        for start in starts:
            check_deadline()
            with stage("decode"):
                rows = [future.result() for future in ahead]
            ahead = self._ahead(images[start + BATCH_SIZE : start + 2 * BATCH_SIZE])
            good = []
            for index, row in enumerate(rows, start):
                if isinstance(row, str):
                    result.errors[index] = row
                else:
                    good.append(index)
            if not good:
                continue
            batch = np.stack([rows[index - start] for index in good])
            with stage("encode"):
                values = self._model.run({"image": batch})
            names = [InputImage.of(images[index]).name for index in good]
            result.fill(good, values, self.card.name, names)
        return result

    def submit(self, images: Sequence[bytes | InputImage]) -> Future[Predictions]:
        """Begin to predict; see `serving.encoders.encoder.Encoder.submit`."""
        return self._callers.submit(copy_context().run, self.encode, images)

    def close(self) -> None:
        """Let the threads go."""
        self._callers.shutdown(cancel_futures=True)
        self._decoders.shutdown(cancel_futures=True)

    def _ahead(self, images: Sequence[bytes | InputImage]) -> list[Future[np.ndarray | str]]:
        # The deadline is of the context.
        return [self._decoders.submit(copy_context().run, self._prepare, image) for image in images]

    def _prepare(self, image: bytes | InputImage) -> np.ndarray | str:
        try:
            return InputImage.of(image).resized(self.card.input_size, self.card.antialias)
        except ImageError as error:
            return str(error)


class OnnxEncoder(ModelEncoder):
    """Encodes with a bundle or a shipped model.

    Args:
        exported: path of the bundle, or the model's name.
        threads: that the model uses; every core where None is given.
        engine: what runs the model.

    Raises:
        UserError: no such model, or it cannot be opened or is not the card's.
    """

    def __init__(
        self, exported: str | Path, threads: int | None = None, engine: Engine = "onnxruntime"
    ) -> None:
        opened = open_exported(exported)
        model = open_model(opened, engine, threads)
        # The sameness calibration is made afterwards, and lies in the card beside alone.
        if model.card.replace(sameness={}) != opened.card.replace(sameness={}):
            raise UserError(
                f"{opened.onnx_file}: the card beside it is not the card inside; export the model again"
            )
        super().__init__(model, embeddings_of(opened, engine), threads)
        self.card = opened.card


class OmEncoder(ModelEncoder):
    """Encodes with an .om file on an Ascend NPU; see `serving.engines.ascend.OmModel`."""

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        path = Path(path)
        # Its own hash: embeddings of half precision are not to be mixed with those of the bundle.
        super().__init__(OmModel(path), file_hash(path), threads)
