"""Every model of the zoo, with every combination of inputs, exports in every precision."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from serving.conversion.agreement import check_agreement
from serving.conversion.bundling import export_bundle
from serving.conversion.reduced_precision import to_fp16, to_int8
from tests.serving.conftest import inputs_of
from zoo.registry import MEASURED, PRETRAINED, create_model, default_options, list_models, make_card

POSE = ("keypoints", "heatmaps", "segments")
BY_DEFAULT = (["keypoints"], ["heatmaps", "segments"], ["keypoints", "heatmaps"], list(POSE))


def networks() -> dict[str, tuple[str, dict[str, Any]]]:
    """Collect how the zoo's models are built, architecture and options by name, each way once."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for card in [*list_models(MEASURED), *list_models(PRETRAINED)]:
        arch = card.name.split(".")[0]
        built = arch, {**default_options(arch), **card.options, "num_ids": 0}
        if built not in found.values():
            found[card.name] = built
    return found


NETWORKS = networks()


def cases() -> Iterator[Any]:
    """List the whole product; run by default are all networks with images alone, and one with pose inputs."""
    for network, multitask, *pose in itertools.product(NETWORKS, (True, False), *[(False, True)] * len(POSE)):
        taken = [name for name, on in zip(POSE, pose, strict=True) if on]
        default = multitask and (not taken or (network == "osnet_ain.equal" and taken in BY_DEFAULT))
        parts = [network, *taken] if multitask else [network, "embedding", *taken]
        yield pytest.param(
            network, multitask, taken, id="+".join(parts), marks=[] if default else pytest.mark.slow
        )


def interface(file: Path) -> dict[str, int]:
    """Tell the types of a file's inputs and outputs, by name, and that every runtime can read it."""
    proto = onnx.load(file)
    assert proto.ir_version <= 8
    assert {opset.version for opset in proto.opset_import if opset.domain == ""} == {14}
    ends = (*proto.graph.input, *proto.graph.output)
    assert all(entry.type.tensor_type.shape.dim[0].dim_param == "batch" for entry in ends)
    return {entry.name: entry.type.tensor_type.elem_type for entry in ends}


@pytest.mark.parametrize(("network", "multitask", "pose"), list(cases()))
def test_every_input_variant_exports_in_every_precision(
    network: str, multitask: bool, pose: list[str], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    arch, options = NETWORKS[network]
    model = create_model(arch, **{**options, "multitask": multitask, **dict.fromkeys(pose, True)}).eval()
    types = tuple(f"type {number}" for number in range(options["num_types"]))
    card = make_card(model, f"{arch}.test", (32, 32), licence="Apache-2.0", types=types)
    # Refused, were torch and onnxruntime to differ by more than 1e-4.
    full = export_bundle(model, card, tmp_path / "bundle").onnx_file
    tensors = onnx.TensorProto
    expected = {
        "image": tensors.UINT8,
        **{name: tensors.FLOAT if name == "keypoints" else tensors.UINT8 for name in pose},
        **dict.fromkeys(card.outputs, tensors.FLOAT),
    }
    assert interface(full) == expected
    inputs = inputs_of(card)
    to_fp16(full, tmp_path / "fp16.onnx")
    to_int8(full, tmp_path / "int8.onnx", inputs)
    for precision in ("fp16", "int8"):
        reduced = tmp_path / f"{precision}.onnx"
        assert interface(reduced) == expected
        checks = check_agreement(full, reduced, inputs, precision)
        assert [check["batch"] for check in checks] == [1, 5, 16]
        assert reduced.stat().st_size < (0.55 if precision == "fp16" else 0.8) * full.stat().st_size
