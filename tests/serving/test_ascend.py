"""What Ascend's and NVIDIA's compilers are given, and the .om runner against a stand-in for the NPU."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from retrieval.ingest import main as ingest
from serving.ascend import aipp_config, main, write_ascend
from serving.bundle import Bundle
from serving.conversion.bundling import export_bundle
from serving.encoders.encoder import open_encoder
from serving.encoders.in_process import OmEncoder
from serving.engines.ascend import OmModel, normalise
from tests.serving.conftest import make_image, make_model
from zoo.card import Card
from zoo.errors import UserError
from zoo.inference import InferenceModel
from zoo.models.network import NetworkOutputs
from zoo.onnx_model import OnnxModel

CARDS = (
    Card("a.rgb", (32, 32), {"embedding": 3}),
    Card("a.bgr", (32, 48), {"embedding": 3}, mean=(0.5, 0.1, 0.0), std=(0.5, 0.2, 1.0), channels="BGR"),
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of 32x32 that also takes heatmaps and keypoints, for a network that wants BGR."""
    torch.manual_seed(0)
    model, card = make_model(keypoints=True, heatmaps=True)
    pose = model.pose_inputs((32, 32))  # type: ignore[operator]
    card = card.replace(input_size=(32, 32), pose_inputs=pose, channels="BGR", mean=(0.5, 0.1, 0.2))
    return export_bundle(model, card, tmp_path_factory.mktemp("tiny") / "bundle")


@pytest.fixture(scope="module")
def prepared(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command writes for the RGB bundle."""
    out = tmp_path_factory.mktemp("ascend") / "a b"
    command = ["--bundle", str(bundle.path), "--out", str(out), "--soc", "Ascend910B4", "--batches", "4", "1"]
    assert main(command) == 0
    return out


class Recorder(nn.Module):
    """Keeps what the network is given after the project's own normalisation."""

    def forward(self, image: Tensor, *_pose: Tensor | None) -> NetworkOutputs:
        """Remember the pixels."""
        self.pixels = image
        return NetworkOutputs(image.mean((2, 3)))


def random_images(card: Card, count: int = 3) -> np.ndarray:
    """Every value of a byte occurs."""
    return np.random.default_rng(0).integers(0, 256, (count, *card.input_size, 3), dtype=np.uint8)


def networks_pixels(images: np.ndarray, card: Card) -> np.ndarray:
    """Ask the project's inference module what the network gets."""
    recorder = Recorder()
    InferenceModel(recorder, card)(torch.from_numpy(images))
    return recorder.pixels.numpy()


def run_aipp(config: str, images: np.ndarray, kept: type) -> np.ndarray:
    """Do what the vendor documents of static AIPP, with its parameters kept as `kept`."""
    settings = dict(re.findall(r"(\w+): (\S+)", config))
    sizes = int(settings["src_image_size_h"]), int(settings["src_image_size_w"])
    assert sizes == images.shape[1:3]
    swapped = images[..., ::-1] if settings["rbuv_swap_switch"] == "true" else images
    mean, low, factor = (
        np.array([float(settings[f"{name}_chn_{channel}"]) for channel in range(3)])
        for name in ("mean", "min", "var_reci")
    )
    assert all(value == int(value) for value in mean)
    pixels = (swapped - mean - low.astype(kept)) * factor.astype(kept)
    return pixels.transpose(0, 3, 1, 2)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.channels)
def test_aipp_and_numpy_normalise_as_the_project_does(card: Card) -> None:
    images = random_images(card)
    expected = networks_pixels(images, card)
    np.testing.assert_allclose(normalise(images, card), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(run_aipp(aipp_config(card), images, np.float64), expected, rtol=0, atol=1e-6)
    # The hardware keeps the parameters in half precision: within a relative 2**-11 of each.
    half = run_aipp(aipp_config(card), images, np.float16)
    np.testing.assert_allclose(half, expected, rtol=2**-10, atol=2**-10)


def test_float_graph_gives_the_same_answers(prepared: Path, bundle: Bundle) -> None:
    proto = onnx.load(prepared / "float.onnx")
    assert proto.opset_import[0].version in (13, 14)
    assert proto.ir_version <= 8
    assert "Identity" not in {node.op_type for node in proto.graph.node}
    session = onnxruntime.InferenceSession(prepared / "float.onnx")
    (node,) = session.get_inputs()
    assert (node.name, node.type, node.shape) == ("input", "tensor(float)", ["batch", 3, 64, 64])
    assert [each.name for each in session.get_outputs()] == list(bundle.card.outputs)
    images = random_images(bundle.card, 7)
    expected = OnnxModel(bundle.onnx_file).run({"image": images})
    found = OnnxModel(prepared / "float.onnx", is_normalised=True).run(
        {"input": networks_pixels(images, bundle.card)}
    )
    for name, value in expected.items():
        assert np.abs(found[name] - value).max() <= 1e-5 * np.abs(value).max()


def test_a_model_with_pose_inputs_keeps_them(tiny: Bundle, tmp_path: Path) -> None:
    manifest = write_ascend(tiny, tmp_path, "Ascend310P3", [2])
    assert all(check["relative"] <= 1e-4 for check in manifest["checks"])
    assert {check["batch"] for check in manifest["checks"]} == {1, 5, 16}
    assert "input:2,3,32,32;keypoints:2,108;heatmaps:2,32,32,36" in (tmp_path / "atc.sh").read_text()
    shapes = "image:2x32x32x3,keypoints:2x108,heatmaps:2x32x32x36"
    assert f"--maxShapes={shapes}" in (tmp_path / "tensorrt.sh").read_text()


def test_a_wrong_cut_is_refused(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "serving.conversion.ascend_graph.normalise", lambda images, card: 1.01 * normalise(images, card)
    )
    with pytest.raises(UserError, match="of the float graph differs from the bundle's"):
        write_ascend(bundle, tmp_path / "out", "Ascend310P3", [1])
    assert list((tmp_path / "out").iterdir()) == []


def run_script(script: Path, tool: str, *arguments: str) -> list[list[str]]:
    """Run a script with a stand-in for the compiler, which writes down what it is called with."""
    tools = script.parent.parent / "tools"
    tools.mkdir(exist_ok=True)
    log = tools / "log"
    log.unlink(missing_ok=True)
    (tools / tool).write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" end >> "{log}"\n')
    (tools / tool).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    subprocess.run(["sh", str(script), *arguments], env=environment, check=True, timeout=30)
    calls = log.read_text().split("end\n")[:-1]
    return [call.splitlines() for call in calls]


def test_atc_script_compiles_every_model(prepared: Path) -> None:
    common = ["--framework=5", "--model=float.onnx"]
    soc = "--soc_version=Ascend910B4"

    def command(name: str, batch: int, *more: str) -> list[str]:
        shape = f"--input_shape=input:{batch},3,64,64"
        return [*common, f"--output={name}", "--input_format=NCHW", shape, soc, *more]

    aipp, sizes = "--insert_op_conf=aipp.cfg", "--dynamic_batch_size=1,4"
    assert run_script(prepared / "atc.sh", "atc") == [
        command("model_b1", 1),
        command("model_b4", 4),
        command("model_dynamic", -1, sizes),
        command("model_b1_aipp", 1, aipp),
        command("model_b4_aipp", 4, aipp),
        command("model_dynamic_aipp", -1, sizes, aipp),
    ]
    assert run_script(prepared / "atc.sh", "atc", "model_b4") == [command("model_b4", 4)]


def test_atc_script_ends_at_a_fault(prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "atc").write_text("#!/bin/sh\necho called\nexit 3\n")
    (tmp_path / "atc").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def run(*models: str) -> subprocess.CompletedProcess[str]:
        command = ["sh", str(prepared / "atc.sh"), *models]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=30
        )

    failed = run()
    assert (failed.returncode, failed.stdout) == (3, "called\n")
    misspelt = run("model_b9")
    assert (misspelt.returncode, misspelt.stdout) == (2, "")
    assert "model_b9: no such model" in misspelt.stderr


def test_tensorrt_script_names_files_that_are_there(prepared: Path, bundle: Bundle) -> None:
    (call,) = run_script(prepared / "tensorrt.sh", "trtexec")
    found = dict(argument.partition("=")[::2] for argument in call)
    assert (prepared / found["--onnx"]).resolve() == bundle.onnx_file.resolve()
    assert found["--minShapes"] == "image:1x64x64x3"
    assert found["--optShapes"] == found["--maxShapes"] == "image:4x64x64x3"
    (call,) = run_script(prepared / "tensorrt.sh", "trtexec", "float")
    assert "--onnx=float.onnx" in call
    assert "--minShapes=input:1x3x64x64" in call


def test_command_refuses_what_is_no_chip_and_what_was_compiled(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for soc in ("310P3", "Ascend310P3; rm -rf /", "Ascend"):
        assert main(["--bundle", str(bundle.path), "--out", str(tmp_path), "--soc", soc]) == 2
        assert "not an Ascend chip" in capsys.readouterr().err
    (tmp_path / "model_b1.om").touch()
    assert main(["--bundle", str(bundle.path), "--out", str(tmp_path)]) == 2
    assert "holds .om files of an earlier graph" in capsys.readouterr().err


@pytest.fixture
def compiled(prepared: Path, tmp_path: Path) -> Path:
    """The prepared folder with .om files in it, which no compiler has made."""
    for path in prepared.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for name in json.loads((tmp_path / "ascend.json").read_text())["models"]:
        (tmp_path / f"{name}.om").write_text(name)
    return tmp_path


def test_without_the_vendors_binding_one_line_says_so(
    compiled: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ais_bench", None)
    images, gallery = compiled / "images", compiled / "gallery"
    images.mkdir()
    (images / "1.jpg").write_bytes(make_image(1))
    command = ["--images", str(images), "--gallery", str(gallery)]
    assert ingest([*command, "--encoder", f"ascend:{compiled}/model_b1.om"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ais_bench")
    assert "is not installed" in line
    assert not gallery.exists()


class NpuInPlace:
    """`InferSession` as its vendor documents it, over the float graph on the CPU; as strict about shapes."""

    def __init__(self, device_id: int, model_path: str) -> None:
        assert device_id == 0
        folder, name = Path(model_path).parent, Path(model_path).stem
        self.model = OnnxModel(folder / "float.onnx", threads=1, is_normalised=True)
        self.aipp = name.endswith("_aipp")
        self.config = (folder / "aipp.cfg").read_text()
        self.mode = "dymbatch" if "dynamic" in name else "static"
        self.sizes = [1, 4] if "dynamic" in name else [int(name.split("_")[1][1:])]

    def infer(self, feeds: list[np.ndarray], mode: str) -> list[np.ndarray]:
        """Answer in the graph's order."""
        (feed,) = feeds
        assert mode == self.mode
        assert len(feed) in self.sizes
        assert feed.flags.c_contiguous
        assert feed.dtype == (np.uint8 if self.aipp else np.float32)
        if self.aipp:
            feed = run_aipp(self.config, feed, np.float64).astype(np.float32)
        return list(self.model.run({"input": feed}).values())


@pytest.fixture
def npu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the stand-in where the vendor's package would be."""
    for name in ("ais_bench", "ais_bench.infer", "ais_bench.infer.interface"):
        module = ModuleType(name)
        module.InferSession = NpuInPlace  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize("name", ["model_b4", "model_b4_aipp", "model_dynamic", "model_dynamic_aipp"])
@pytest.mark.usefixtures("npu")
def test_runner_fills_and_splits_batches(name: str, compiled: Path, bundle: Bundle) -> None:
    images = random_images(bundle.card, 6)
    expected = OnnxModel(bundle.onnx_file, threads=1).run({"image": images})
    found = OmModel(compiled / f"{name}.om").run({"image": images})
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].shape == value.shape
        assert np.abs(found[key] - value).max() <= 1e-4 * np.abs(value).max()


@pytest.mark.usefixtures("npu")
def test_an_om_file_is_an_encoder_with_a_hash_of_its_own(compiled: Path, bundle: Bundle) -> None:
    images = [make_image(1), b"no image", make_image(2)]
    plain, encoder = open_encoder(str(bundle.path), 1), open_encoder(f"ascend:{compiled}/model_b1.om", 1)
    assert isinstance(encoder, OmEncoder)
    assert encoder.model_hash != plain.model_hash
    expected, found = plain.encode(images), encoder.encode(images)
    assert found.errors == expected.errors
    for row in (0, 2):
        scale = np.abs(expected.embedding[row]).max()
        assert np.abs(found.embedding[row] - expected.embedding[row]).max() <= 1e-4 * scale
    plain.close()
    encoder.close()


@pytest.mark.usefixtures("npu")
def test_runner_refuses_files_that_it_does_not_know(compiled: Path) -> None:
    (compiled / "other.om").touch()
    with pytest.raises(UserError, match="does not tell of it"):
        OmModel(compiled / "other.om")
    with pytest.raises(UserError, match=r"no such file; compile it with: sh .*atc\.sh model_b9"):
        OmModel(compiled / "model_b9.om")


def test_runner_needs_neither_torch_nor_onnx(run_python) -> None:
    done = run_python(
        "import sys; sys.modules['torch'] = sys.modules['onnx'] = None; import serving.engines.ascend"
    )
    assert done.returncode == 0, done.stderr
