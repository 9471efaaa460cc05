"""Export: the graph computes what the model computes, or there is no bundle."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from serving.bundle import CARD_KEY, Bundle
from serving.conversion.bundling import export_bundle
from serving.export import main
from tests.serving.conftest import make_model
from zoo.card import Card
from zoo.errors import UserError
from zoo.inference import InferenceModel
from zoo.models.network import NetworkOutputs
from zoo.weights import save_weights


def test_graph_is_portable_and_its_batch_is_free(bundle: Bundle) -> None:
    proto = onnx.load(bundle.onnx_file)
    assert proto.opset_import[0].version == 14
    assert proto.ir_version <= 8
    session = onnxruntime.InferenceSession(bundle.onnx_file)
    (image,) = session.get_inputs()
    assert (image.name, image.type, image.shape) == ("image", "tensor(uint8)", ["batch", 64, 64, 3])
    shapes = {node.name: node.shape for node in session.get_outputs()}
    assert shapes == {
        "embedding": ["batch", 1024],
        "color_probs": ["batch", 10],
        "type_probs": ["batch", 9],
    }
    colors, types = session.run(["color_probs", "type_probs"], {"image": np.zeros((3, 64, 64, 3), np.uint8)})
    np.testing.assert_allclose(colors.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(types.sum(1), 1, rtol=1e-5)


def test_card_survives_in_file_and_graph(bundle: Bundle) -> None:
    _, card = make_model()
    assert Card.read(bundle.path / "card.json") == card
    inside = onnxruntime.InferenceSession(bundle.onnx_file).get_modelmeta().custom_metadata_map[CARD_KEY]
    assert Card.from_json(inside) == card


def test_parity_is_reported_for_every_batch(bundle: Bundle) -> None:
    report = json.loads((bundle.path / "parity.json").read_text())
    assert report["model_hash"] == bundle.model_hash
    assert {check["batch"] for check in report["checks"]} == {1, 5, 16}
    assert {check["output"] for check in report["checks"]} == {"embedding", "color_probs", "type_probs"}
    assert all(check["relative"] < 1e-4 for check in report["checks"])


def test_the_temperature_is_in_the_graph(bundle: Bundle, tmp_path: Path) -> None:
    model, card = make_model()
    card = card.replace(temperature={"color": 0.02, "type": 3.0})
    warm = export_bundle(model, card, tmp_path / "warm")
    image = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = InferenceModel(model, card)(torch.from_numpy(image))
    plain, found = (
        onnxruntime.InferenceSession(each.onnx_file).run(["color_probs", "type_probs"], {"image": image})
        for each in (bundle, warm)
    )
    for cold, served, torch_probs in zip(plain, found, expected[1:], strict=True):
        np.testing.assert_allclose(served, torch_probs.numpy(), rtol=1e-3, atol=1e-6)
        assert np.abs(served - cold).max() > 1e-3


def test_same_weights_give_the_same_hash(bundle: Bundle, tmp_path: Path) -> None:
    model, card = make_model()
    assert export_bundle(model, card, tmp_path / "again").model_hash == bundle.model_hash


@pytest.mark.parametrize(
    "options",
    [{"multitask": False}, {"num_ids": 7}],
    ids=["embedding only", "with identity classifier"],
)
def test_variants_are_exported_with_their_own_inputs_and_outputs(
    options: dict[str, object], tmp_path: Path
) -> None:
    model, card = make_model(**options)
    bundle = export_bundle(model, card, tmp_path / "bundle")
    session = onnxruntime.InferenceSession(bundle.onnx_file)
    assert {node.name for node in session.get_inputs()} == {"image", *card.pose_inputs}
    assert {node.name for node in session.get_outputs()} == set(card.outputs)
    names = {initializer.name for initializer in onnx.load(bundle.onnx_file).graph.initializer}
    assert not any("classifier_vid" in name for name in names)


class BatchBaker(nn.Module):
    """Has a common fault: a number taken from the batch's size as a Python value, which tracing freezes."""

    def forward(self, image: Tensor, *_pose: Tensor | None) -> NetworkOutputs:
        """Give a feature that depends on how many images come together."""
        return NetworkOutputs(image.flatten(1)[:, :8] * (1.0 + int(image.shape[0])))


def test_graph_that_differs_is_refused_and_nothing_left(tmp_path: Path) -> None:
    card = Card(name="baker.test", input_size=(32, 32), outputs={"embedding": 8})
    with pytest.raises(UserError, match="embedding differs between torch and onnxruntime at batch size 1"):
        export_bundle(BatchBaker(), card, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


class FixedBatch(nn.Module):
    """Loses the batch axis: the reshape holds the traced number of images."""

    def forward(self, image: Tensor, *_pose: Tensor | None) -> NetworkOutputs:
        """Give the first eight values of each image."""
        return NetworkOutputs(image.reshape(int(image.shape[0]), -1)[:, :8])


def test_graph_that_lost_its_batch_axis_is_refused(tmp_path: Path) -> None:
    card = Card(name="fixed.test", input_size=(32, 32), outputs={"embedding": 8})
    with pytest.raises(UserError, match="no bundle was written"):
        export_bundle(FixedBatch(), card, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_command_exports_a_weights_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, card = make_model()
    save_weights(model, card, tmp_path / "w.safetensors")
    assert main(["--weights", str(tmp_path / "w.safetensors"), "--out", str(tmp_path / "b"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["model_hash"] == Bundle.open(tmp_path / "b").model_hash
    assert result["parity"] < 1e-4


def test_command_reports_an_unknown_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--weights", "densenet121.nowhere", "--out", str(tmp_path / "b")]) == 2
    assert "densenet121.nowhere" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
