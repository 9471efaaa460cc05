"""Somebody else's network as a bundle: the graph around it, and the proof of the file's own numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from serving.bundle import Bundle
from serving.conversion.borrowed_attributes import BorrowedAttributes
from serving.conversion.bundling import Reduction, write_bundle
from serving.conversion.foreign_graph import wrap_network
from serving.conversion.foreign_network import ForeignNetwork
from serving.conversion.parity import BATCHES, TOLERANCE, compare
from serving.conversion.pixel_format import PixelFormat
from zoo.card import Card
from zoo.errors import UserError
from zoo.onnx_model import CARD_KEY, OnnxModel

UNKNOWN_LICENCE = "not stated; ask whoever gave you the network"

INT8_OPSET = 13

TOLERANCES = {"fp32": TOLERANCE, "fp16": 1e-2, "int8": 5e-2}
"""By a network's own precision: largest difference from the file as it came, relative to the largest value.
Below fp32, a batch is rounded in other places than an image alone."""


def export_foreign(
    network: ForeignNetwork,
    pixels: PixelFormat,
    card: Card,
    out: str | Path,
    attributes: BorrowedAttributes | None = None,
    reduction: Reduction | None = None,
) -> Bundle:
    """Write a bundle, whole or not at all.

    The network is asked for a whole batch where that gives the file's own numbers, and for one image after
    the other where it does not, as of a file that has its batch of one written into its shapes.

    Args:
        network: from `read_network`.
        pixels: as the network wants them.
        card: see `card_of`; with `attributes`, theirs.
        out: folder of the bundle; an earlier bundle there is replaced.
        attributes: beside the network.
        reduction: to what precision; as the file came where None is given.

    Raises:
        UserError: the graph does not give the file's numbers, the reduced one is too far from it, or `out`
            cannot be written.
    """
    if reduction is not None and network.precision != "fp32":
        raise UserError(
            f"{network.path}: is {network.precision} already; leave out --precision {reduction.precision}"
        )

    if reduction is not None and reduction.precision == "int8" and network.opset < INT8_OPSET:
        raise UserError(
            f"{network.path}: of opset {network.opset}, and int8 by channel needs {INT8_OPSET}; export the "
            "network at that, or leave out --precision int8"
        )

    def write(onnx_file: Path) -> dict[str, Any]:
        first: UserError | None = None
        for one_by_one in (False, True):
            if one_by_one and (network.opset < 9 or (network.batch or 1) > 1):
                break  # no Scan as it is today, or no way to ask for one image
            proto = wrap_network(network, pixels, one_by_one)
            if attributes is not None:
                attributes.merge_into(proto, network.opset, onnx_file.parent)
            proto.metadata_props.add(key=CARD_KEY, value=card.to_json())
            onnx.save(proto, onnx_file)
            try:
                report = _check(network, pixels, card, onnx_file, attributes)
            except UserError as error:
                first = first or error
                continue
            if one_by_one and reduction is not None:
                raise UserError(
                    f"{network.path}: takes its images one by one, because its batch is written into its "
                    f"shapes; export it with a free batch for --precision {reduction.precision}"
                )
            return {**report, "precision": network.precision, "one_by_one": one_by_one}
        assert first is not None
        raise first

    return write_bundle(card, out, write, reduction)


def card_of(network: ForeignNetwork, pixels: PixelFormat, **fields: Any) -> Card:
    """Write the card of a network that tells no colours and types.

    Args:
        network: from `read_network`.
        pixels: as the network wants them.
        fields: `name`, `metric`, `licence` and others of the card's.
    """
    return Card(
        input_size=network.size,
        outputs={"embedding": network.dimension},
        mean=pixels.mean,
        std=pixels.std,
        channels=pixels.order,
        colors=(),
        types=(),
        parameters=network.num_parameters,
        **fields,
    )


def _check(
    network: ForeignNetwork,
    pixels: PixelFormat,
    card: Card,
    onnx_file: Path,
    attributes: BorrowedAttributes | None,
) -> dict[str, Any]:
    """Compare the graph with the file as it came, and borrowed outputs with torch, on random images."""
    ours = OnnxModel(onnx_file)
    tolerance = TOLERANCES[network.precision]
    checks = []
    for batch in BATCHES:
        images = np.random.default_rng(batch).integers(0, 256, (batch, *network.size, 3), dtype=np.uint8)
        expected = {"embedding": network.embed(pixels.apply(images))}
        if attributes is not None:
            with torch.no_grad():
                answers = attributes(torch.from_numpy(images))
            expected |= {
                name: answer.numpy() for name, answer in zip(attributes.output_names, answers, strict=True)
            }
        try:
            found = ours.run({"image": images})
        except Exception as error:
            raise UserError(
                f"{network.path}: its graph fails at batch size {batch} ({' '.join(str(error).split())}); "
                "no bundle was written. Export the network with a free batch, or with a batch of 1"
            ) from error
        for name, dimension in card.outputs.items():
            check = compare(name, expected[name], found[name], (batch, dimension))
            if not check["relative"] <= tolerance:
                raise UserError(
                    f"{network.path}: output {name} differs from the file as it came at batch size {batch} "
                    f"(relative {check['relative']:.2g}, allowed {tolerance:g}); no bundle was written. "
                    "Export the network with a free batch, or with a batch of 1"
                )
            checks.append({"batch": batch, **check})
    return {"tolerance": tolerance, "onnxruntime": onnxruntime.__version__, "checks": checks}
