"""A bundle's ONNX file in OpenVINO on the CPU, in fp32 where the file is."""

import contextlib
import ctypes
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from zoo.card import Card
from zoo.errors import UserError, from_extra


class OpenVinoModel:
    """Answers as `zoo.onnx_model.OnnxModel` does. Safe to use from several threads.

    Args:
        path: of the ONNX file.
        card: of the model.
        threads: that it uses; every core where None is given.
        streams: inferences that go on at a time and share the threads; another one waits.

    Raises:
        UserError: OpenVINO is not installed, or cannot open the file.
    """

    def __init__(self, path: Path, card: Card, threads: int | None = None, streams: int = 1) -> None:
        try:
            import openvino
        except ImportError as error:
            raise UserError(f"openvino is not installed ({error}); it {from_extra('openvino')}") from error
        self.card = card
        # Left alone, OpenVINO computes in bf16 where the processor can, and gives other embeddings.
        config: dict[str, str | int] = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": streams}
        if threads:
            config["INFERENCE_NUM_THREADS"] = threads
        try:
            # It gives this thread a signal stack, and frees that with the model in whatever thread that goes.
            with _signal_stack_kept():
                self._compiled = openvino.Core().compile_model(str(path), "CPU", config)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{path}: OpenVINO cannot open it ({reason}); use onnxruntime") from error
        self._requests = threading.local()

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer a batch: the card's outputs by name, float32 [N, dimension]."""
        if not hasattr(self._requests, "own"):
            self._requests.own = self._compiled.create_infer_request()
        request = self._requests.own
        request.infer(inputs)
        return {name: request.get_tensor(name).data.copy() for name in self.card.outputs}


class _SignalStack(ctypes.Structure):
    """Linux's `stack_t`."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def alternate_signal_stack() -> _SignalStack:
    """Return the stack that this thread handles signals on."""
    found = _SignalStack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found))
    return found


@contextlib.contextmanager
def _signal_stack_kept() -> Iterator[None]:
    """Put this thread's signal stack back at the end.

    Python handles signals on it. Where it has been freed, the next signal, be it the end of a child process,
    ends this one with a segmentation fault.
    """
    if sys.platform != "linux":
        yield
        return
    before = alternate_signal_stack()
    try:
        yield
    finally:
        ctypes.CDLL(None).sigaltstack(ctypes.byref(before), None)
