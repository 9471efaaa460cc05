"""A batch dealt among single-threaded runs, each on a core of its own.

Threads that share one run wait for each other after every operator, several hundred times a run, and spin
meanwhile. Threads that have runs of their own never wait. A single image still gets all threads, for it
cannot be dealt. One thread takes a large batch in parts as well: what a layer hands to the next then stays
in the processor's cache.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from zoo.card import Card
from zoo.onnx_model import OnnxModel

RUN_PIXELS = 256 * 256
"""Of a run's images together, one at least: more are slower (11% at 256x256 and 32 images), and fewer leave
more for a core that others keep busy to catch up."""


class LoadedModel(Protocol):
    """What answers ready tensors; it carries its card. Safe to use from several threads."""

    card: Card

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer a batch: the card's outputs by name, float32 [N, dimension]."""
        ...


class ParallelModel:
    """A model in two forms.

    Args:
        wide: whose runs use `threads` threads.
        narrow: makes the same model with runs of one thread, `threads` of which go on at a time; called when
            the first batch comes that is large enough. With one thread it is not called.
        threads: of a batch.
    """

    def __init__(self, wide: LoadedModel, narrow: Callable[[], LoadedModel], threads: int) -> None:
        self.card, self.wide = wide.card, wide
        self._make_narrow, self._threads = narrow, threads
        height, width = self.card.input_size
        self._most = max(1, RUN_PIXELS // (height * width))
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="network")

    @cached_property
    def _narrow(self) -> LoadedModel:
        return self._make_narrow() if self._threads > 1 else self.wide

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See `LoadedModel.run`."""
        count = len(next(iter(inputs.values())))
        if count < self._threads:
            return self.wide.run(inputs)
        size = min(self._most, -(-count // self._threads))
        chunks = (
            {name: value[start : start + size] for name, value in inputs.items()}
            for start in range(0, count, size)
        )
        answers = list(self._pool.map(self._narrow.run, chunks))
        return {name: np.concatenate([answer[name] for answer in answers]) for name in self.card.outputs}


def open_parallel(path: str | Path, threads: int) -> ParallelModel:
    """Open an ONNX file for batches that are dealt among `threads`.

    Raises:
        UserError: see `zoo.onnx_model.OnnxModel`.
    """
    return ParallelModel(OnnxModel(path, threads), lambda: OnnxModel(path, 1), threads)
