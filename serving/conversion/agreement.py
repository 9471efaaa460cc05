"""How near a file of reduced precision comes to the fp32 file it was made of."""

from pathlib import Path
from typing import Any

import numpy as np

from serving.conversion.int8_images import Inputs
from serving.conversion.parity import BATCHES
from serving.conversion.training_command import evaluate
from zoo.errors import UserError
from zoo.onnx_model import OnnxModel

LEAST_COSINE = {"fp16": 0.999, "int8": 0.9}
"""Between the embeddings of one image. Below it something is broken; what the loss is worth, mAP tells."""

FIGURES = ("mAP", "rank1", "color_accuracy", "type_accuracy", "num_queries")


def check_agreement(full: Path, reduced: Path, inputs: Inputs, precision: str) -> list[dict[str, Any]]:
    """Compare two files at several batch sizes.

    Returns:
        For each batch size the least cosine of the embeddings, and the largest absolute difference of each
        other output.

    Raises:
        UserError: an embedding is further off than `LEAST_COSINE`, or not finite.
    """
    models = OnnxModel(full), OnnxModel(reduced)
    checks = []
    for batch in BATCHES:
        feed = {name: np.resize(values, (batch, *values.shape[1:])) for name, values in inputs.items()}
        expected, found = (model.run(feed) for model in models)
        a, b = expected["embedding"], found["embedding"]
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        cosine = float(((a * b).sum(1) / np.maximum(lengths, 1e-12)).min())
        if not cosine >= LEAST_COSINE[precision]:
            raise UserError(
                f"{models[0].card.name}: an embedding of the {precision} file is far from fp32's at batch "
                f"size {batch} (cosine {cosine:.3f}, not {LEAST_COSINE[precision]} or more); no bundle was "
                "written. Calibrate on images like those served"
            )
        others = {
            name: float(np.abs(value - found[name]).max())
            for name, value in expected.items()
            if name != "embedding"
        }
        checks.append({"batch": batch, "least_cosine": cosine, **others})
    return checks


def measure_loss(
    full: Path, reduced: Path, precision: str, data_root: str, max_map_drop: float
) -> dict[str, Any]:
    """Evaluate both files by VeRi's protocol.

    Args:
        full: the fp32 file.
        reduced: the other one.
        precision: of the other one.
        data_root: a data set as `training.evaluate` takes it.
        max_map_drop: points of mAP that may be lost.

    Returns:
        The figures of both files, as fractions, and the points of mAP that were lost.

    Raises:
        UserError: more was lost, or the evaluation failed.
    """
    figures = {}
    for name, file in (("fp32", full), (precision, reduced)):
        measured = evaluate(file, data_root)
        figures[name] = {key: measured[key] for key in FIGURES}
    before, after = (figures[name]["mAP"] for name in ("fp32", precision))
    if before is None or after is None:
        raise UserError(f"{data_root}: no query has a match in the gallery; name another --data-root")
    drop = 100 * (before - after)
    if drop > max_map_drop:
        raise UserError(
            f"{precision} loses {drop:.2f} points of mAP on {data_root} ({100 * before:.2f} to "
            f"{100 * after:.2f}), more than --max-map-drop {max_map_drop:g}; no bundle was written. "
            "Calibrate on other or more images, or take fp16"
        )
    return {"data_root": data_root, **figures, "map_drop_points": drop}
