"""Somebody else's network becomes a bundle with the file's own numbers, or is refused by what it is."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from serving.bundle import Bundle
from serving.conversion.borrowed_attributes import resizing_matrix
from serving.encoders.encoder import open_encoder
from serving.export import main
from tests.serving.conftest import make_image
from tests.serving.conversion.networks import Ours, TinyNet, transformer, write_onnx
from zoo.card import IMAGENET_MEAN, IMAGENET_STD
from zoo.errors import UserError
from zoo.inference import InferenceModel
from zoo.loading import load_model
from zoo.onnx_export import TORCHSCRIPT
from zoo.preprocess import prepare, resize

IMAGENET = ("--order", "RGB", "--mean", *map(str, IMAGENET_MEAN), "--std", *map(str, IMAGENET_STD))


def wrap(file: Path, *options: str, pixels: tuple[str, ...] = IMAGENET) -> Bundle:
    out = file.parent / f"bundle of {file.stem}"
    assert main(["--onnx", str(file), *pixels, "--out", str(out), *options]) == 0
    return Bundle.open(out)


def embed(model: nn.Module, images: np.ndarray, order: str, mean: object, std: object) -> np.ndarray:
    """What a torch network says of uint8 [N, H, W, 3] RGB; mean and std of values 0..1."""
    values = images[..., ::-1] if order == "BGR" else images
    pixels = (values / 255 - np.array(mean)) / np.array(std)
    with torch.no_grad():
        return model(torch.from_numpy(pixels.transpose(0, 3, 1, 2).astype(np.float32))).numpy()


def pictures(size: tuple[int, int], count: int = 3) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def answer(bundle: Bundle, images: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(bundle.onnx_file)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": images}), strict=True))


@pytest.mark.parametrize(
    "form",
    [
        {"opset": 9},
        {"opset": 17},
        {"opset": 11, "free": (0,)},
        {"free": (0, 2, 3)},
        {"batch": 4},
        {"dynamo": True},
        {"dynamo": True, "free": (0,)},
    ],
    ids=str,
)
def test_forms_of_a_file_give_the_torch_numbers(form: dict[str, object], tmp_path: Path) -> None:
    model = TinyNet()
    size = () if 2 not in form.get("free", ()) else ("--size", "64", "48")  # type: ignore[operator]
    bundle = wrap(write_onnx(tmp_path / "net.onnx", model, **form), *size)  # type: ignore[arg-type]
    images = pictures((64, 48), 5)
    expected = embed(model, images, "RGB", IMAGENET_MEAN, IMAGENET_STD)
    np.testing.assert_allclose(answer(bundle, images)["embedding"], expected, rtol=1e-4, atol=1e-5)
    report = json.loads((bundle.path / "parity.json").read_text())
    assert {check["batch"] for check in report["checks"]} == {1, 5, 16}
    assert max(check["relative"] for check in report["checks"]) < 1e-4
    assert not report["one_by_one"], "slower than it has to be"


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_order_and_values_are_taken_as_told(order: str, tmp_path: Path) -> None:
    model = TinyNet()
    file = write_onnx(tmp_path / "net.onnx", model)
    mean, std = (120.0, 110.0, 100.0), (60.0, 50.0, 40.0)
    told = ("--order", order, "--values", "0..255", "--mean", *map(str, mean), "--std", *map(str, std))
    bundle = wrap(file, pixels=told)
    images = pictures((64, 48))
    expected = embed(model, images, order, np.array(mean) / 255, np.array(std) / 255)
    np.testing.assert_allclose(answer(bundle, images)["embedding"], expected, rtol=1e-3, atol=1e-4)
    other = embed(
        model, images, "RGB" if order == "BGR" else "BGR", np.array(mean) / 255, np.array(std) / 255
    )
    assert np.abs(other - expected).max() > 0.01
    assert bundle.card.channels == order
    np.testing.assert_allclose(bundle.card.mean, np.array(mean) / 255)


@pytest.mark.parametrize("dynamo", [False, True], ids=["old exporter", "dynamo"])
def test_a_batch_of_one_deep_in_the_graph_is_asked_one_by_one(dynamo: bool, tmp_path: Path) -> None:
    model = transformer()
    file = write_onnx(tmp_path / "vit.onnx", model, (32, 32), dynamo=dynamo)
    bundle = wrap(file)
    assert json.loads((bundle.path / "parity.json").read_text())["one_by_one"]
    images = pictures((32, 32), 6)
    expected = embed(model, images, "RGB", IMAGENET_MEAN, IMAGENET_STD)
    np.testing.assert_allclose(answer(bundle, images)["embedding"], expected, rtol=1e-3, atol=1e-4)
    out = tmp_path / "half"
    assert main(["--onnx", str(file), *IMAGENET, "--precision", "fp16", "--out", str(out)]) == 2
    assert not out.exists()


def test_one_of_ours_comes_back_as_it_was(tmp_path: Path) -> None:
    model, card = load_model("osnet_ain.synthetic")
    bundle = wrap(write_onnx(tmp_path / "ours.onnx", Ours(model), card.input_size, free=(0,)))
    image = make_image(1)
    encoder, own = open_encoder(str(bundle.path)), open_encoder("osnet_ain.synthetic")
    found, expected = encoder.encode([image]), own.encode([image])
    np.testing.assert_allclose(found.embedding, expected.embedding, rtol=0, atol=1e-5)
    assert found.color_probs.shape == found.type_probs.shape == (1, 0)
    assert encoder.model_hash != own.model_hash
    encoder.close()
    own.close()


def test_the_card_says_what_was_told_and_what_was_not(tmp_path: Path) -> None:
    file = write_onnx(tmp_path / "my net.v2.onnx", TinyNet())
    card = wrap(file).card
    assert (card.name, card.metric) == ("onnx.my-net-v2", "cosine")
    assert (card.input_size, card.outputs, card.colors, card.types) == ((64, 48), {"embedding": 16}, (), ())
    assert "not stated" in card.licence
    assert card.parameters == sum(tensor.numel() for tensor in TinyNet().parameters()) - 2 * 8
    told = wrap(file, "--name", "tiny.mine", "--licence", "MIT", "--metric", "euclidean").card
    assert (told.name, told.licence, told.metric) == ("tiny.mine", "MIT", "euclidean")
    assert (wrap(file).repository / "vehicle_reid_onnx" / "1" / "model.onnx").is_file()


@pytest.mark.parametrize("opset", [11, 18])
def test_colours_and_types_are_of_the_model_that_is_named(opset: int, tmp_path: Path) -> None:
    name = "osnet_ain.synthetic"
    file = write_onnx(tmp_path / "net.onnx", TinyNet(), (72, 60), free=(0,), opset=opset)
    bundle = wrap(file, "--attributes-from", name, "--licence", "MIT")
    model, own = load_model(name)
    images = np.stack([prepare(make_image(seed), (72, 60)) for seed in range(4)])
    found = answer(bundle, images)
    expected = embed(TinyNet(), images, "RGB", IMAGENET_MEAN, IMAGENET_STD)
    np.testing.assert_allclose(found["embedding"], expected, rtol=1e-3, atol=1e-4)
    resized = np.stack([resize(image, own.input_size) for image in images])
    with torch.no_grad():
        theirs = InferenceModel(model, own)(torch.from_numpy(resized))
    # Pillow rounds to bytes on the way, the graph does not.
    assert theirs.color_probs is not None and theirs.type_probs is not None
    np.testing.assert_allclose(found["color_probs"], theirs.color_probs.numpy(), atol=0.03)
    np.testing.assert_allclose(found["type_probs"], theirs.type_probs.numpy(), atol=0.03)
    card = bundle.card
    assert (card.colors, card.types, card.temperature) == (own.colors, own.types, own.temperature)
    assert f"colours and types are those of {name}" in card.notes
    assert card.licence.startswith("MIT; colours and types: ")
    assert {check["output"] for check in json.loads((bundle.path / "parity.json").read_text())["checks"]} == {
        "embedding",
        "color_probs",
        "type_probs",
    }


def test_attributes_of_an_opset_that_ours_is_not_written_in_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_onnx(tmp_path / "net.onnx", TinyNet())
    proto = onnx.load(file)
    proto.opset_import[0].version = 21
    onnx.save(proto, file)
    out = tmp_path / "out"
    command = ["--onnx", str(file), *IMAGENET, "--out", str(out)]
    assert main([*command, "--attributes-from", "osnet_ain.synthetic"]) == 2
    assert "the network has 21" in capsys.readouterr().err
    assert main(command) == 0


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(("source", "target"), [(208, 128), (64, 96), (50, 50)])
def test_the_resize_in_the_graph_is_the_cards(source: int, target: int, antialias: bool) -> None:
    image = pictures((source, source), 1)[0]
    matrix = resizing_matrix(source, target, antialias).astype(np.float64)
    found = np.einsum("ij,jkc,lk->ilc", matrix, image.astype(np.float64), matrix)
    assert np.abs(found - resize(image, (target, target), antialias)).max() < 1.01


def test_precisions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_onnx(tmp_path / "net.onnx", TinyNet())
    photos = tmp_path / "photos"
    photos.mkdir()
    for seed in range(8):
        (photos / f"{seed}.jpg").write_bytes(make_image(seed))
    half = wrap(file, "--precision", "fp16")
    assert half.precision == "fp16"
    small = wrap(file, "--precision", "int8", "--calibration", str(photos))
    assert small.precision == "int8"
    assert any(node.op_type == "QuantizeLinear" for node in onnx.load(small.onnx_file).graph.node)
    old = write_onnx(tmp_path / "old.onnx", TinyNet(), opset=11)
    options = ["--onnx", str(old), *IMAGENET, "--out", str(tmp_path / "no")]
    assert main([*options, "--precision", "int8", "--calibration", str(photos)]) == 2
    assert "of opset 11, and int8 by channel needs 13" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_a_half_precision_file_is_taken_and_not_reduced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_onnx(tmp_path / "half.onnx", TinyNet().half().float())
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(file)), file)
    bundle = wrap(file)
    assert bundle.precision == "fp16"
    images = pictures((64, 48))
    expected = embed(TinyNet(), images, "RGB", IMAGENET_MEAN, IMAGENET_STD)
    np.testing.assert_allclose(answer(bundle, images)["embedding"], expected, rtol=0.02, atol=0.01)
    assert main(["--onnx", str(file), *IMAGENET, "--precision", "fp16", "--out", str(tmp_path / "no")]) == 2
    assert "is fp16 already" in capsys.readouterr().err


class TwoOutputs(TinyNet):
    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        embedding = super().forward(image)
        return embedding, embedding.softmax(1)


class Detector(TinyNet):
    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image).reshape(image.shape[0], 8, 2).repeat(1, 1, 200)


class Classifier(TinyNet):
    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image).softmax(1)


class Maps(TinyNet):
    def forward(self, image: Tensor) -> Tensor:
        maps: Tensor = self.features(image)
        return maps


class ChannelsLast(TinyNet):
    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image.permute(0, 3, 1, 2))


def channels_last(path: Path) -> None:
    torch.onnx.export(ChannelsLast(), (torch.zeros(1, 64, 48, 3),), str(path), **TORCHSCRIPT)


def bytes_in(path: Path) -> None:
    node = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)
    image = helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 3, 64, 48])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16])
    onnx.save(helper.make_model(helper.make_graph([node], "g", [image], [output])), path)


def lost_weights(path: Path) -> None:
    write_onnx(path, TinyNet())
    proto = onnx.load(path)
    onnx.save(proto, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    path.with_name("weights.bin").unlink()


FAULTS = {
    "two outputs": (
        lambda p: write_onnx(p, TwoOutputs(), outputs=("a", "b")),
        r"gives 2 outputs, a \[1, 16\], b",
    ),
    "detector": (lambda p: write_onnx(p, Detector()), r"gives features \[1, 8, 400\], as a detector does"),
    "classifier": (lambda p: write_onnx(p, Classifier()), "is the answer of a Softmax"),
    "maps": (lambda p: write_onnx(p, Maps()), r"gives features \[1, 8, 16, 12\]; export it"),
    "channels last": (channels_last, r"\[1, 64, 48, 3\], channels last \(NHWC\)"),
    "bytes": (bytes_in, r"takes x \[1, 3, 64, 48\] of uint8"),
    "open size": (lambda p: write_onnx(p, TinyNet(), free=(0, 2, 3)), "leaves height and width open.*--size"),
    "lost weights": (lost_weights, "external data in weights.bin, which cannot be read"),
    "text": (lambda p: p.write_text("no network at all, but some lines of text"), "not an ONNX file"),
    "empty": (lambda p: p.write_bytes(b""), "not an ONNX file"),
    "absent": (lambda p: None, "no ONNX file there"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_is_none_is_refused_by_what_it_is(
    fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, message = FAULTS[fault]
    file = tmp_path / "net.onnx"
    make(file)
    capsys.readouterr()
    out = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert main(["--onnx", str(file), *IMAGENET, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(file) in error
    with pytest.raises(UserError, match=message):
        raise UserError(error)
    assert not out.exists()


def test_another_size_than_the_files_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_onnx(tmp_path / "net.onnx", TinyNet())
    assert main(["--onnx", str(file), *IMAGENET, "--size", "48", "64", "--out", str(tmp_path / "b")]) == 2
    assert "not images of 48x64" in capsys.readouterr().err


def test_weights_beside_the_file_come_along(tmp_path: Path) -> None:
    file = write_onnx(tmp_path / "net.onnx", TinyNet())
    onnx.save(onnx.load(file), file, save_as_external_data=True, location="w.bin", size_threshold=0)
    bundle = wrap(file)
    file.unlink()
    (tmp_path / "w.bin").unlink()
    images = pictures((64, 48))
    expected = embed(TinyNet(), images, "RGB", IMAGENET_MEAN, IMAGENET_STD)
    np.testing.assert_allclose(answer(bundle, images)["embedding"], expected, rtol=1e-3, atol=1e-4)


def told(mean: str, std: str) -> list[str]:
    return ["--mean", *mean.split(), "--std", *std.split()]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--onnx", "f"], "--order, --mean, --std missing"),
        (["--mean", "0", "0", "0"], "--mean: of somebody else's network; name its file with --onnx"),
        (["--onnx", "f", *IMAGENET, "--weights", "w"], "leave out --weights"),
        (
            ["--onnx", "f", "--order", "RGB", *told("123 116 103", "58 57 57")],
            "add --values 0..255",
        ),
        (["--onnx", "f", *IMAGENET, "--values", "0..255"], "leave out --values 0..255"),
        (
            ["--onnx", "f", "--order", "RGB", *told("0 0 0", "1 0 1")],
            "--std above 0",
        ),
        (["--onnx", "f", *IMAGENET, "--name", "a name"], "give it the form ARCH.TAG"),
        (["--batch", "2"], "--batch is for --for tracker"),
        (["--for", "tracker", "--out", "folder"], "a name that ends in .onnx"),
        (["--for", "tracker", "--out", "a.onnx", "--precision", "fp16"], "leave out --graph and --precision"),
    ],
)
def test_options_that_do_not_go_together(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(options) == 2
    assert message in capsys.readouterr().err
