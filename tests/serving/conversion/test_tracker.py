"""One of our models as trackers take one."""

import json
import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from serving.conversion.tracker import TrackerModel
from serving.export import main
from tests.serving.conftest import make_image, make_model
from zoo.card import IMAGENET_MEAN, IMAGENET_STD
from zoo.inference import InferenceModel
from zoo.loading import load_model
from zoo.preprocess import decode_image, resize
from zoo.weights import save_weights

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("batch", [None, 1, 3])
def test_file_takes_what_trackers_give(
    batch: int | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "tracker.onnx"
    options = [] if batch is None else ["--batch", str(batch)]
    weights = ["--weights", "osnet_ain.synthetic", "--size", "64", "96"]
    assert main([*weights, "--for", "tracker", "--out", str(out), *options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["parity"] < 1e-4
    session = onnxruntime.InferenceSession(out)
    (image,), (output,) = session.get_inputs(), session.get_outputs()
    assert (image.type, image.shape) == ("tensor(float)", [batch or "batch", 3, 64, 96])
    assert (output.name, output.shape) == ("embedding", [batch or "batch", 256])
    images = np.random.default_rng(0).integers(0, 256, (batch or 4, 64, 96, 3), dtype=np.uint8)
    pixels = (images / 255 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    (found,) = session.run(None, {image.name: pixels.transpose(0, 3, 1, 2).astype(np.float32)})
    with torch.no_grad():
        expected = InferenceModel(*load_model("osnet_ain.synthetic"))(torch.from_numpy(images)).embedding
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-3, atol=1e-5)
    assert set(out.parent.iterdir()) == {out}


def test_a_card_with_other_pixels_is_made_up_for() -> None:
    model, card = make_model(multitask=False)
    card = card.replace(channels="BGR", mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    images = torch.randint(0, 256, (2, 64, 64, 3), generator=torch.Generator().manual_seed(0)).byte()
    given = (images / 255 - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    with torch.no_grad():
        found = TrackerModel(model, card)(given.permute(0, 3, 1, 2))
        expected = InferenceModel(model, card)(images).embedding
        plain = TrackerModel(model, card.replace(channels="RGB"))(given.permute(0, 3, 1, 2))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    assert (plain - expected).abs().max() > 1e-3


def test_a_model_that_needs_more_than_an_image_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, card = make_model(keypoints=True)
    save_weights(model, card, tmp_path / "w.safetensors")
    out = tmp_path / "t.onnx"
    assert main(["--weights", str(tmp_path / "w.safetensors"), "--for", "tracker", "--out", str(out)]) == 2
    assert "needs keypoints with each image" in capsys.readouterr().err
    assert not out.exists()


def test_the_lines_of_the_documentation_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs/export.md").read_text("utf-8")
    section = page[page.index("## For trackers") :]
    code = re.search(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    command = re.search(r"python -m serving\.export (--weights .*? --for tracker .*)$", section, re.MULTILINE)
    assert code is not None and command is not None
    monkeypatch.chdir(tmp_path)
    assert main(command[1].split()) == 0
    frame = decode_image(make_image(3))
    names = {"frame": frame[..., ::-1].copy(), "boxes": [(0, 0, 60, 50), (10, 10, 90, 70)]}
    exec(code[1], names)
    embeddings = names["embed"](names["frame"], names["boxes"])  # type: ignore[operator]
    assert embeddings.shape == (2, 256)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)
    whole = names["embed"](names["frame"], [(0, 0, frame.shape[1], frame.shape[0])])  # type: ignore[operator]
    resized = torch.from_numpy(resize(frame, (256, 256)))[None]
    with torch.no_grad():
        own = InferenceModel(*load_model("osnet_ain.synthetic"))(resized).embedding[0].numpy()
    assert float(whole[0] @ own / np.linalg.norm(own)) > 0.99, "no more than another resize"
