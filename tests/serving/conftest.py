"""One small real model, exported once, and one real tritonserver for all tests that only ask it."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import tritonclient.grpc as grpcclient
from PIL import Image
from torch import nn

from serving.bundle import Bundle
from serving.conversion.bundling import export_bundle
from serving.server.server import TritonServer
from serving.server.settings import ServerSettings
from serving.triton.options import read_options
from serving.triton.repository import install
from zoo.card import Card
from zoo.onnx_export import sample_inputs
from zoo.registry import create_model, make_card

SIZE = (64, 64)

OPTIONS = """
warm_up = [1, 4]
response_cache = true
[batching]
preferred_sizes = [4, 8]
[queue]
timeout_us = 120_000_000
client_timeout = true
[priorities]
levels = 2
default = 2
[instances]
preprocess = 2
[runtime]
threads = 1
optimization = "extended"
memory_arena = false
[rate_limit]
resource = "cores"
capacity = 2
network = 2
"""
"""Of the server `served`. An execution of the network takes all of `cores`, one of the decoding half."""


def make_model(
    size: tuple[int, int] = SIZE, arch: str = "densenet121", **options: object
) -> tuple[nn.Module, Card]:
    """Build a network of random weights and its card."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = create_model(arch, **options).eval()
    return model, make_card(model, f"{arch}.test", size, licence="Apache-2.0")


def make_small_model(size: tuple[int, int] = SIZE, **options: object) -> tuple[nn.Module, Card]:
    """Build the network that is exported and quantised fastest; it tells hardly any images apart."""
    return make_model(size, "efficientnet_lite0", embedding_dim=512, neck="none", pool="avg", **options)


def inputs_of(card: Card, count: int = 16) -> dict[str, np.ndarray]:
    """Make random inputs of a model, by name."""
    return {name: value.numpy() for name, value in sample_inputs(card, count).items()}


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


def request_of(images: list[bytes]) -> grpcclient.InferInput:
    """Make the input of a request for these encoded images."""
    tensor = grpcclient.InferInput("image_bytes", [len(images), 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[data] for data in images], dtype=np.object_))
    return tensor


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


@pytest.fixture(scope="session")
def served(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TritonServer, Path]]:
    """A server of a repository with many options, and a folder where it writes `trace.json`."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "options.toml").write_text(OPTIONS)
    repository = install(bundle, folder / "repository", read_options(folder / "options.toml"))
    settings = ServerSettings(trace=folder / "trace.json", trace_rate=1)
    with TritonServer(repository, settings=settings) as running:
        yield running, folder
