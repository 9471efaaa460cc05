"""Shipped models run by name from a graph without weights, and answer as a bundle of the same weights."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

import serving.shipped
from serving.conversion.bundling import export_bundle
from serving.conversion.shipped_graph import tensor_places
from serving.encoders.encoder import open_encoder, portable_spec
from serving.export import main
from serving.shipped import open_exported, shipped_names
from tests.serving.conftest import make_image, make_model
from zoo.card import Card
from zoo.errors import UserError
from zoo.loading import load_model
from zoo.registry import PRETRAINED, list_models
from zoo.weights import save_weights

MODELS = ("densenet121.synthetic", "lite0_osnet.real", "osnet_ain.synthetic")


def test_every_pretrained_model_has_a_graph() -> None:
    assert shipped_names() == sorted(path.stem for path in PRETRAINED.glob("*.safetensors")) == list(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_committed_graph_is_of_the_committed_weights(name: str) -> None:
    graph = PRETRAINED / f"{name}.onnx"
    places = tensor_places(graph.with_suffix(".safetensors"))
    proto = onnx.load(graph, load_external_data=False)
    outside = {}
    for tensor in proto.graph.initializer:
        fields = {entry.key: entry.value for entry in tensor.external_data}
        assert fields.pop("location") == f"{name}.safetensors"
        outside[int(fields["offset"])] = (list(tensor.dims), int(fields["length"]))
    # Trained weights that no deployed model uses, and the counters of BatchNorm, stay behind.
    lying = {offset: (shape, length) for _, shape, offset, length in places.values()}
    assert outside.items() <= lying.items()
    assert sum(length for _, length in outside.values()) > 0.95 * sum(place[3] for place in places.values())
    assert graph.stat().st_size < 0.07 * graph.with_suffix(".safetensors").stat().st_size, "it holds weights"
    (metadata,) = proto.metadata_props
    # A new sameness calibration changes no graph, and no gallery's model.
    assert Card.from_json(metadata.value) == Card.read(graph.with_suffix(".json")).replace(sameness={})


@pytest.mark.parametrize("name", MODELS)
def test_name_and_bundle_give_the_same_embeddings(name: str, tmp_path: Path) -> None:
    bundle = export_bundle(*load_model(name), tmp_path / "bundle")
    images = [make_image(seed) for seed in range(19)]
    by_name, by_bundle = open_encoder(name), open_encoder(str(bundle.path))
    found, expected = by_name.encode(images), by_bundle.encode(images)
    np.testing.assert_allclose(found.embedding, expected.embedding, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.color_probs, expected.color_probs, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.type_probs, expected.type_probs, rtol=0, atol=1e-5)
    assert by_name.card == by_bundle.card
    assert by_name.model_hash == by_bundle.model_hash, "write it again: serving.export --graph"
    by_name.close()
    by_bundle.close()


def test_openvino_runs_a_name() -> None:
    images = [make_image(seed) for seed in range(3)]
    answers = []
    for spec in ("osnet_ain.synthetic", "openvino:osnet_ain.synthetic"):
        encoder = open_encoder(spec, threads=1)
        answers.append(encoder.encode(images).embedding)
        encoder.close()
    np.testing.assert_allclose(*answers, rtol=0, atol=1e-5)


def test_unknown_name_is_told_what_there_is() -> None:
    with pytest.raises(UserError, match=r"osnet_ain\.nowhere: no bundle there, .*osnet_ain\.synthetic"):
        open_encoder("osnet_ain.nowhere")


def test_specs_hold_in_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert portable_spec("openvino:osnet_ain.synthetic") == "openvino:osnet_ain.synthetic"
    assert portable_spec("auto:some/bundle") == f"auto:{tmp_path}/some/bundle"
    assert portable_spec("triton:grpc://127.0.0.1:1") == "triton:grpc://127.0.0.1:1"
    (tmp_path / "osnet_ain.synthetic").mkdir()
    assert portable_spec("osnet_ain.synthetic") == f"{tmp_path}/osnet_ain.synthetic"


def test_command_writes_a_graph_beside_any_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, card = make_model()
    save_weights(model, card, tmp_path / "densenet121.test.safetensors")
    assert main(["--weights", str(tmp_path / "densenet121.test.safetensors"), "--graph"]) == 0
    monkeypatch.setattr(serving.shipped, "PRETRAINED", tmp_path)
    encoder = open_encoder("densenet121.test")
    assert not np.isnan(encoder.encode([make_image(0)]).embedding).any()
    encoder.close()


def test_weights_of_another_model_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in PRETRAINED.glob("osnet_ain.synthetic.*"):
        shutil.copy(path, tmp_path)
    weights = tmp_path / "osnet_ain.synthetic.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    monkeypatch.setattr(serving.shipped, "PRETRAINED", tmp_path)
    with pytest.raises(UserError, match="damaged, or not the weights of osnet_ain"):
        open_exported("osnet_ain.synthetic")


def test_graph_of_another_card_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in PRETRAINED.glob("osnet_ain.synthetic.*"):
        shutil.copy(path, tmp_path)
    (card,) = (card for card in list_models(tmp_path))
    card.replace(notes="calibrated again").write(tmp_path / "osnet_ain.synthetic.json")
    monkeypatch.setattr(serving.shipped, "PRETRAINED", tmp_path)
    with pytest.raises(UserError, match="the card beside it is not the card inside"):
        open_encoder("osnet_ain.synthetic")
