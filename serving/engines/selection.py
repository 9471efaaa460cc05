"""What runs an exported model on this processor: onnxruntime, OpenVINO, or the faster of the two."""

import hashlib
import importlib.util
import logging
import os
import time
from functools import partial
from typing import Literal

import numpy as np

from serving.bundle import ExportedModel
from serving.engines.openvino import OpenVinoModel
from serving.engines.timing import Work, in_turns
from zoo.parallel_model import LoadedModel, ParallelModel, open_parallel

Engine = Literal["onnxruntime", "openvino", "auto"]

TRIAL_BATCH = 8

MARGIN = 1.05
"""By so much OpenVINO has to be faster to be chosen: less is within what a short measurement can tell."""

_log = logging.getLogger(__name__)


def open_model(
    exported: ExportedModel, engine: Engine = "onnxruntime", threads: int | None = None
) -> ParallelModel:
    """Open an exported model.

    Args:
        exported: what to open.
        engine: what runs it; `auto` measures, which takes some seconds.
        threads: that it uses; every core where None is given.

    Raises:
        UserError: the engine is not installed, or cannot open the file.
    """
    threads = threads or os.cpu_count() or 1
    if engine == "auto":
        return _faster(exported, threads)
    return (
        _openvino(exported, threads) if engine == "openvino" else open_parallel(exported.onnx_file, threads)
    )


def embeddings_of(exported: ExportedModel, engine: Engine) -> str:
    """Name the embeddings that an engine gives: engines of one name may share a gallery.

    In fp32 all agree to 1e-5 and the name is the model's hash. Below, each rounds in its own places: int8 by
    OpenVINO is about as far from int8 by onnxruntime (2%) as from fp32.
    """
    if engine == "openvino" and exported.precision != "fp32":
        return hashlib.sha256(f"openvino {exported.model_hash}".encode()).hexdigest()
    return exported.model_hash


def _openvino(exported: ExportedModel, threads: int) -> ParallelModel:
    def narrow() -> LoadedModel:
        return OpenVinoModel(exported.onnx_file, exported.card, threads, streams=threads)

    return ParallelModel(OpenVinoModel(exported.onnx_file, exported.card, threads), narrow, threads)


def _faster(exported: ExportedModel, threads: int) -> ParallelModel:
    """Measure both, in turns, and return the faster; onnxruntime where OpenVINO is not there."""
    models = {"onnxruntime": open_parallel(exported.onnx_file, threads)}
    why_not = None
    if importlib.util.find_spec("openvino") is None:
        why_not = "openvino is not installed"
    elif exported.precision != "fp32":
        why_not = f"openvino gives other embeddings in {exported.precision}"
    if why_not is not None:
        _log.info("%s: onnxruntime runs it, because %s", exported.onnx_file, why_not)
        return models["onnxruntime"]
    began = time.perf_counter()
    models["openvino"] = _openvino(exported, threads)
    rng = np.random.default_rng(0)
    batch = {"image": rng.integers(0, 256, (TRIAL_BATCH, *exported.card.input_size, 3), dtype=np.uint8)}
    sides: dict[str, Work] = {name: partial(_run, model, batch) for name, model in models.items()}
    rates = in_turns(sides, seconds=0.0)
    chosen = "openvino" if rates["openvino"] > MARGIN * rates["onnxruntime"] else "onnxruntime"
    _log.info(
        "%s: %s runs it: onnxruntime %.1f and openvino %.1f images/s at batch %d, %d threads (took %.1f s)",
        exported.onnx_file,
        chosen,
        rates["onnxruntime"],
        rates["openvino"],
        TRIAL_BATCH,
        threads,
        time.perf_counter() - began,
    )
    return models[chosen]


def _run(model: LoadedModel, batch: dict[str, np.ndarray]) -> int:
    return len(model.run(batch)["embedding"])
