"""Which engine runs a bundle, and batches that are dealt among threads."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from serving.bundle import Bundle
from serving.encoders.encoder import open_encoder
from serving.engines import selection as engines
from serving.engines.openvino import OpenVinoModel
from tests.serving.conftest import SIZE, make_image
from zoo.card import Card
from zoo.onnx_model import OnnxModel
from zoo.parallel_model import ParallelModel


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_dealt_batches_are_answered_row_by_row(bundle: Bundle, engine: engines.Engine) -> None:
    """Counts below, at and above the threads, and ones that leave a remainder."""
    images = np.random.default_rng(0).integers(0, 256, (19, *SIZE, 3), dtype=np.uint8)
    expected = OnnxModel(bundle.onnx_file, 1).run({"image": images})
    model = engines.open_model(bundle, engine, threads=2)
    for count in (1, 2, 3, 19):
        found = model.run({"image": images[:count]})
        assert found.keys() == expected.keys()
        for name, value in found.items():
            np.testing.assert_allclose(value, expected[name][:count], rtol=0, atol=1e-5)


class Recording:
    """Answers each image with its own first number, and remembers how many it was given."""

    def __init__(self, card: Card) -> None:
        self.card, self.counts = card, []

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.counts.append(len(inputs["image"]))
        return {name: inputs["image"][:, 0, 0, :1].astype(np.float32) for name in self.card.outputs}


@pytest.mark.parametrize(
    ("size", "threads", "wide", "narrow"),
    [
        ((128, 128), 3, [2], [1, 1, 1, 2, 2, 2, 4, 4, 3]),
        ((256, 256), 3, [2], [1] * 20),
        ((512, 256), 1, [1] * 22, []),
        ((64, 64), 1, [2, 3, 6, 11], []),
    ],
)
def test_single_images_get_all_threads_and_batches_are_dealt_evenly(
    bundle: Bundle, size: tuple[int, int], threads: int, wide: list[int], narrow: list[int]
) -> None:
    card = replace(bundle.card, input_size=size)
    broad, slim = Recording(card), Recording(card)
    model = ParallelModel(broad, lambda: slim, threads)
    images = np.arange(11, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    for count in (2, 3, 6, 11):
        answer = model.run({"image": images[:count]})["embedding"]
        np.testing.assert_array_equal(answer[:, 0], np.arange(count))
    assert broad.counts == wide
    assert sorted(slim.counts) == sorted(narrow)


@pytest.mark.parametrize(
    ("openvino", "chosen"), [(20.5, "onnxruntime"), (9.0, "onnxruntime"), (30.0, "openvino")]
)
def test_auto_takes_what_was_clearly_faster_and_says_why(
    bundle: Bundle,
    openvino: float,
    chosen: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(
        engines, "in_turns", lambda sides, seconds: {"onnxruntime": 20.0, "openvino": openvino}
    )
    with caplog.at_level(logging.INFO, engines.__name__):
        model = engines.open_model(bundle, "auto", threads=1)
    assert isinstance(model.wide, OpenVinoModel if chosen == "openvino" else OnnxModel)
    (line,) = caplog.messages
    assert f"{chosen} runs it: onnxruntime 20.0 and openvino {openvino} images/s" in line


def test_auto_measures_and_encodes(bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    images = [make_image(seed) for seed in range(3)]
    plain = open_encoder(str(bundle.path), threads=1)
    with caplog.at_level(logging.INFO, engines.__name__):
        auto = open_encoder(f"auto:{bundle.path}", threads=1)
    assert len(caplog.messages) == 1
    assert auto.model_hash == plain.model_hash
    np.testing.assert_allclose(
        auto.encode(images).embedding, plain.encode(images).embedding, rtol=0, atol=1e-5
    )
    auto.close()
    plain.close()


def test_engines_share_embeddings_in_fp32_alone(bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    for engine in ("onnxruntime", "auto", "openvino"):
        assert engines.embeddings_of(bundle, engine) == bundle.model_hash
    reduced = replace(bundle, precision="int8")
    assert engines.embeddings_of(reduced, "auto") == bundle.model_hash
    assert engines.embeddings_of(reduced, "openvino") != bundle.model_hash
    with caplog.at_level(logging.INFO, engines.__name__):
        assert isinstance(engines.open_model(reduced, "auto", threads=1).wide, OnnxModel)
    assert "because openvino gives other embeddings in int8" in caplog.text


def test_auto_without_openvino_is_onnxruntime(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None)
    with caplog.at_level(logging.INFO, engines.__name__):
        assert isinstance(engines.open_model(bundle, "auto", threads=1).wide, OnnxModel)
    (line,) = caplog.messages
    assert "onnxruntime runs it, because openvino is not installed" in line
