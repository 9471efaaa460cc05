"""fp16 and int8: the same interface, near to fp32, judged on a data set, refused when they lose too much."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from serving.bundle import Bundle
from serving.conversion.agreement import check_agreement, measure_loss
from serving.conversion.bundling import Reduction, export_bundle
from serving.conversion.int8_images import read_calibration
from serving.conversion.reduced_precision import to_fp16, to_int8
from serving.encoders.encoder import open_encoder
from serving.export import main
from tests.serving.conftest import inputs_of, make_image, make_model, make_small_model
from tests.training.datasets.layouts import write_cityflow, write_vehicleid, write_veri_wild
from tests.training.veri_layout import make_veri
from training.datasets import read_split
from training.evaluate import main as evaluate
from zoo.errors import UserError
from zoo.onnx_model import OnnxModel
from zoo.weights import save_weights


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for seed in range(12):
        (folder / f"{seed:02}.jpg").write_bytes(make_image(seed))
    return folder


@pytest.fixture(scope="module")
def veri(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_veri(tmp_path_factory.mktemp("data") / "veri")


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_bundle_of_less_precision(precision: str, tmp_path: Path) -> None:
    model, card = make_small_model(size=(32, 32))
    reduction = Reduction(precision, inputs_of(card))
    bundle = export_bundle(model, card, tmp_path / "bundle", reduction=reduction)
    assert bundle.precision == Bundle.open(bundle.path).precision == precision
    report = json.loads((bundle.path / "parity.json").read_text())
    assert [check["batch"] for check in report["agreement"]] == [1, 5, 16]
    assert not (bundle.path / "fp32.onnx").exists()


def test_powers_of_large_values_survive_fp16(tmp_path: Path) -> None:
    """GeM's cubes leave half precision's range; they must not pass through it on their way to the mean."""
    model, card = make_model(size=(32, 32), pool="gem")
    *_, last = (module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    with torch.no_grad():
        last.weight *= 100
    bundle = export_bundle(model, card, tmp_path / "b", reduction=Reduction("fp16", inputs_of(card)))
    report = json.loads((bundle.path / "parity.json").read_text())
    assert min(check["least_cosine"] for check in report["agreement"]) > 0.999


def test_pose_model_is_calibrated_on_arrays(tmp_path: Path) -> None:
    model, card = make_small_model(size=(32, 32), keypoints=True, heatmaps=True)
    np.savez(tmp_path / "inputs.npz", **inputs_of(card))
    calibration = read_calibration(tmp_path / "inputs.npz", card, 8)
    assert len(calibration["image"]) == 8
    bundle = export_bundle(model, card, tmp_path / "b", reduction=Reduction("int8", calibration))
    assert {entry.name for entry in onnx.load(bundle.onnx_file).graph.input} == {"image", *card.pose_inputs}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of the small model."""
    return export_bundle(*make_small_model(), tmp_path_factory.mktemp("small") / "bundle")


@pytest.fixture(scope="module")
def int8(small: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model in 8 bits."""
    file = tmp_path_factory.mktemp("int8") / "int8.onnx"
    to_int8(small.onnx_file, file, inputs_of(small.card, 8))
    return file


def test_int8_has_integer_convolutions_but_for_the_first(int8: Path) -> None:
    graph = onnx.load(int8).graph
    maker = {name: node for node in graph.node for name in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    kinds = [
        name in maker and maker[name].op_type == "DequantizeLinear"
        for name in (node.input[1] for node in convolutions)
    ]
    assert kinds == [False] + [True] * (len(convolutions) - 1)
    weight = maker[convolutions[1].input[1]]
    scales = {entry.name: entry.dims for entry in graph.initializer}
    assert scales[weight.input[1]] == [32], "one scale for each output channel"


def test_the_same_calibration_gives_the_same_bytes(small: Bundle, int8: Path, tmp_path: Path) -> None:
    to_int8(small.onnx_file, tmp_path / "again.onnx", inputs_of(small.card, 8))
    assert (tmp_path / "again.onnx").read_bytes() == int8.read_bytes()


def test_a_file_that_is_far_off_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    to_fp16(bundle.onnx_file, tmp_path / "fp16.onnx")
    proto = onnx.load(tmp_path / "fp16.onnx")
    head = next(entry for entry in proto.graph.initializer if entry.name.endswith("fc_vid.weight"))
    values = onnx.numpy_helper.to_array(head)
    head.CopyFrom(onnx.numpy_helper.from_array(-values, head.name))
    onnx.save(proto, tmp_path / "fp16.onnx")
    with pytest.raises(UserError, match="far from fp32's at batch size 1"):
        check_agreement(bundle.onnx_file, tmp_path / "fp16.onnx", inputs_of(bundle.card), "fp16")


def test_the_loss_is_measured_and_one_too_large_refused(small: Bundle, veri: Path, tmp_path: Path) -> None:
    loss = measure_loss(small.onnx_file, small.onnx_file, "fp16", str(veri), 0.0)
    assert loss["map_drop_points"] == 0.0
    assert loss["fp32"] == loss["fp16"]
    model, card = make_small_model()
    reduction = Reduction("int8", read_calibration(veri, card), str(veri), max_map_drop=-100.0)
    with pytest.raises(UserError, match=r"int8 loses .* points of mAP .* more than --max-map-drop -100"):
        export_bundle(model, card, tmp_path / "bundle", reduction=reduction)
    assert list(tmp_path.iterdir()) == []


def test_an_exported_file_is_judged_as_the_weights_are(
    veri: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, card = make_model(keypoints=True)
    save_weights(model, card, tmp_path / "w.safetensors")
    bundle = export_bundle(model, card, tmp_path / "bundle")
    figures = []
    for weights in (tmp_path / "w.safetensors", bundle.onnx_file):
        assert evaluate(["--data-root", str(veri), "--weights", str(weights), "--cpus", "1", "--json"]) == 0
        figures.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
    assert figures[0]["mAP"] == pytest.approx(figures[1]["mAP"], abs=1e-6)
    assert figures[0]["color_accuracy"] == figures[1]["color_accuracy"]


def test_command_calibrates_on_a_folder_and_says_what_was_not_measured(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, card = make_small_model()
    save_weights(model, card, tmp_path / "w.safetensors")
    command = ["--weights", str(tmp_path / "w.safetensors"), "--out", str(tmp_path / "b"), "--json"]
    command += ["--precision", "int8", "--calibration", str(images), "--size", "32", "48"]
    assert main(command) == 0
    output = capsys.readouterr().out
    assert "its loss in mAP was not measured" in output
    assert json.loads(output.splitlines()[-1])["precision"] == "int8"
    encoder = open_encoder(str(tmp_path / "b"), threads=1)
    assert encoder.card.input_size == (32, 48)
    assert not encoder.encode([make_image(0), make_image(1)]).errors
    encoder.close()


def test_int8_without_images_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--precision", "int8", "--out", str(tmp_path / "b")]) == 2
    assert "name a folder with --calibration" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    command = ["--precision", "int8", "--out", str(tmp_path / "b"), "--calibration", str(tmp_path / "empty")]
    assert main(command) == 2
    assert "no images to calibrate with" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize(
    ("write", "name"), [(write_cityflow, "cityflow:"), (write_vehicleid, ""), (write_veri_wild, "")]
)
def test_calibration_reads_no_test_image(
    write: Callable[[Path], Path], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the layout: all other images are empty files, and reading one of them would be an error."""
    root = write(tmp_path / "data")
    training = [record.path for record in read_split(f"{name}{root}", "train")]
    for seed, path in enumerate(training):
        path.write_bytes(make_image(seed))
    _, card = make_small_model(size=(32, 32))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "training").mkdir()  # a user's own folder is not mistaken for this project's
    assert len(read_calibration(f"{name}{root}", card)["image"]) == len(training)


def test_calibration_refuses_a_damaged_data_set(veri: Path, tmp_path: Path, capfd) -> None:
    shutil.copytree(veri, tmp_path / "veri")
    for path in (tmp_path / "veri").glob("*train*.csv"):
        path.write_text("no labels")
    _, card = make_small_model(size=(32, 32))
    with pytest.raises(UserError, match=r"training\.evaluate ended with exit code 2"):
        read_calibration(tmp_path / "veri", card)
    assert "error: " in capfd.readouterr().err


def test_pose_models_need_all_inputs_for_calibration(images: Path, tmp_path: Path) -> None:
    _, card = make_small_model(size=(32, 32), keypoints=True)
    with pytest.raises(UserError, match="takes keypoints with each image"):
        read_calibration(images, card)
    np.savez(tmp_path / "inputs.npz", image=np.zeros((2, 32, 32, 3), np.uint8))
    with pytest.raises(UserError, match="keypoints must be float32"):
        read_calibration(tmp_path / "inputs.npz", card)


def test_a_file_without_a_card_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    proto = onnx.load(bundle.onnx_file)
    del proto.metadata_props[:]
    onnx.save(proto, tmp_path / "bare.onnx")
    with pytest.raises(UserError, match="carries no card"):
        OnnxModel(tmp_path / "bare.onnx")
