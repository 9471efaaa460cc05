"""One small real model, exported once, and one real tritonserver for all tests that only ask it."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from serving.bundle import Bundle
from serving.export import export_bundle
from serving.server import TritonServer
from zoo.card import Card
from zoo.registry import create_model, make_card

SIZE = (64, 64)


def make_model(**options: object) -> tuple[nn.Module, Card]:
    """Build a DenseNet121 of random weights and its card."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = create_model("densenet121", **options).eval()
    return model, make_card(model, "densenet121.test", SIZE, licence="Apache-2.0")


def make_image(seed: int, image_format: str = "JPEG", pixels: np.ndarray | None = None) -> bytes:
    """Encode pixels, or an image that no other seed gives, of a size of its own."""
    if pixels is None:
        coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((100 + seed % 37, 80 + seed % 11))
    else:
        picture = Image.fromarray(pixels)
    buffer = io.BytesIO()
    picture.save(buffer, image_format)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle under a path with a space and Chinese characters."""
    model, card = make_model()
    return export_bundle(model, card, tmp_path_factory.mktemp("bundles") / "车辆 模型")


@pytest.fixture(scope="session")
def server(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A running server of the bundle."""
    with TritonServer(bundle, log=Path(tmp_path_factory.mktemp("log")) / "server.log") as running:
        yield running
