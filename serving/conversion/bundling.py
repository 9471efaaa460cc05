"""From a model and its card to a bundle: graph, proofs and Triton repository, whole or not at all."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from serving.bundle import Bundle, Precision, file_hash, writing
from serving.conversion.agreement import check_agreement, measure_loss
from serving.conversion.int8_images import Inputs
from serving.conversion.parity import TOLERANCE, check_parity
from serving.conversion.reduced_precision import to_fp16, to_int8
from serving.triton.repository import write_repository
from zoo.card import Card
from zoo.errors import UserError
from zoo.onnx_export import DeployedModel, export_onnx, sample_inputs


@dataclass(frozen=True)
class Reduction:
    """How a file of less precision than fp32 is made and judged.

    Attributes:
        precision: of the file.
        calibration: real inputs that int8 needs; where fp16 has them, it is compared on them.
        data_root: a data set to measure the loss on; without one, it is not measured.
        max_map_drop: points of mAP that may be lost.
    """

    precision: Precision
    calibration: Inputs | None = None
    data_root: str | None = None
    max_map_drop: float = 0.5


def export_bundle(
    model: nn.Module,
    card: Card,
    out: str | Path,
    tolerance: float = TOLERANCE,
    reduction: Reduction | None = None,
) -> Bundle:
    """Write a bundle, whole or not at all: ONNX, card, parity report and Triton repository.

    Args:
        model: from `zoo.registry`, with its weights.
        card: its card.
        out: folder of the bundle; an earlier bundle there is replaced.
        tolerance: largest relative difference between torch and onnxruntime, in fp32.
        reduction: to what precision; fp32 where None is given.

    Raises:
        UserError: the graph does not compute what the model computes, the reduced one is too far from it, or
            `out` cannot be written.
    """
    # The identity classifier is no part of what is deployed, so the card must not promise it either.
    card = card.replace(options={**card.options, "num_ids": 0}) if "num_ids" in card.options else card
    deployed = DeployedModel(model, card)

    def write(onnx_file: Path) -> dict[str, Any]:
        export_onnx(deployed, card, onnx_file)
        return {"precision": "fp32", **check_parity(deployed, card, onnx_file, tolerance)}

    return write_bundle(card, out, write, reduction)


def write_bundle(
    card: Card,
    out: str | Path,
    write: Callable[[Path], dict[str, Any]],
    reduction: Reduction | None = None,
) -> Bundle:
    """Write a bundle around an ONNX file, whole or not at all.

    Args:
        card: of the model.
        out: folder of the bundle; an earlier bundle there is replaced.
        write: writes the file at the path it is given, proves it, and returns the parity report.
        reduction: to what precision; as written where None is given.

    Raises:
        UserError: of `write`; the reduced file is too far from it; or `out` cannot be written.
    """
    with writing(out) as folder:
        onnx_file = folder / "model.onnx"
        report = write(onnx_file)
        if reduction is not None:
            report |= _reduce(onnx_file, card, reduction)
        model_hash = file_hash(onnx_file)
        card.write(folder / "card.json")
        (folder / "parity.json").write_text(
            json.dumps({"model_hash": model_hash, **report}, indent=2) + "\n", encoding="utf-8"
        )
        write_repository(folder / "triton", card, onnx_file, model_hash)
    return Bundle.open(out)


def _reduce(onnx_file: Path, card: Card, reduction: Reduction) -> dict[str, Any]:
    """Put the reduced file in the place of the fp32 one; the report of what that cost."""
    full = onnx_file.rename(onnx_file.with_name("fp32.onnx"))
    inputs = reduction.calibration
    if reduction.precision == "int8":
        if inputs is None:
            raise UserError(
                "int8 is calibrated on real images: name a folder with --calibration, or a data set with "
                "--data-root, whose training images are then taken"
            )
        _convert(card, "int8", partial(to_int8, full, onnx_file, inputs))
    else:
        _convert(card, "fp16", partial(to_fp16, full, onnx_file))
    if inputs is None:
        inputs = {name: value.numpy() for name, value in sample_inputs(card, batch=16).items()}
    report: dict[str, Any] = {
        "precision": reduction.precision,
        "agreement": check_agreement(full, onnx_file, inputs, reduction.precision),
    }
    if reduction.precision == "int8":
        report["calibration_images"] = len(inputs["image"])
    if reduction.data_root is not None:
        report["loss"] = measure_loss(
            full, onnx_file, reduction.precision, reduction.data_root, reduction.max_map_drop
        )
    full.unlink()
    return report


def _convert(card: Card, precision: Precision, convert: Callable[[], None]) -> None:
    """Run a converter; those of onnxruntime fail in many ways on operators that they have not met."""
    try:
        convert()
    except Exception as error:
        raise UserError(
            f"{card.name}: cannot be made {precision} ({' '.join(str(error).split())[:300]}); no bundle was "
            "written. Leave out --precision"
        ) from error
