"""A model that was trained on plainly interpolated images sees such images, whatever road they come on."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from serving import InputImage, open_encoder
from serving.bundle import Bundle
from serving.server.server import TritonServer
from serving.triton.repository import write_repository
from tests.retrieval.small_model import SIZE, write_bundle
from training.datasets.records import Record
from training.evaluation.extract import EvaluationSet, extract
from zoo.inference import OnnxInference
from zoo.preprocess import read_image


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Its embedding is the mean colour of each of 4x4 cells of the input."""
    path = write_bundle(tmp_path_factory.mktemp("plain") / "bundle", antialias=False)
    bundle = Bundle.open(path)
    (path / "triton").rmdir()
    write_repository(path / "triton", bundle.card, bundle.onnx_file, bundle.model_hash)
    return bundle


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Noise in which antialiasing leaves hardly any contrast."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 256, (300 + number, 400, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


def expected(pixels: Sequence[np.ndarray]) -> np.ndarray:
    small = [cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR) for image in pixels]
    cells = np.stack(small).reshape(-1, 4, SIZE // 4, 4, SIZE // 4, 3).mean((2, 4)) / 255
    return cells.transpose(0, 3, 1, 2).reshape(len(small), -1)


def test_in_process_and_in_evaluation(plain: Bundle, pictures: list[Path]) -> None:
    wanted = expected([read_image(path).pixels for path in pictures])
    encoder = open_encoder(str(plain.path), threads=1)
    found = encoder.encode([path.read_bytes() for path in pictures]).embedding
    np.testing.assert_allclose(found, wanted, atol=1 / 255)
    size, antialias = encoder.card.input_size, encoder.card.antialias
    kept = [InputImage.from_pixels(read_image(path).pixels).at_size(size, antialias) for path in pictures]
    assert np.array_equal(encoder.encode(kept).embedding, found)
    records = [Record(path, 1, 1) for path in pictures]
    judged = OnnxInference(plain.onnx_file)
    data = EvaluationSet(records, judged.card.input_size, antialias=judged.card.antialias)
    assert np.array_equal(extract(judged, data).embedding, found)


def test_from_triton(plain: Bundle, pictures: list[Path], tmp_path: Path) -> None:
    with TritonServer(plain, log=tmp_path / "server.log") as server:
        encoder = open_encoder(f"triton:grpc://{server.grpc}")
        cut = [InputImage.from_pixels(read_image(path).pixels[20:250, 30:330]) for path in pictures]
        files = [path.read_bytes() for path in pictures]
        found = encoder.encode([*files, *cut]).embedding
        encoder.close()
    local = open_encoder(str(plain.path), threads=1)
    np.testing.assert_allclose(found, local.encode([*files, *cut]).embedding, atol=1e-6)
