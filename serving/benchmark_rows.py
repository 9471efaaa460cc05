"""The rows of `serving.benchmark`: each measures its sides in one run."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from serving.bundle import Bundle
from serving.encoder_onnx import OnnxEncoder
from serving.encoder_triton import TritonEncoder
from serving.server import TritonServer
from serving.timing import Work, in_turns, latencies
from serving.triton_address import TritonAddress
from zoo.onnx_model import OnnxModel
from zoo.preprocess import decode_image, prepare, resize

REFERENCE_BATCH = 32
CONCURRENCY = 8
BATCHES = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Setting:
    """What all rows share.

    Attributes:
        bundle: the model; it takes images alone.
        threads: of each side.
        seconds: a row goes on for.
        images: JPEG files.
    """

    bundle: Bundle
    threads: int
    seconds: float
    images: list[bytes]

    def ready(self, count: int) -> dict[str, np.ndarray]:
        """Prepare `count` images as the network takes them."""
        size = self.bundle.card.input_size
        pixels = [prepare(self.images[i % len(self.images)], size) for i in range(count)]
        return {"image": np.stack(pixels)}


def make_images(count: int, seed: int = 0) -> list[bytes]:
    """Draw smooth random pictures of 320x240 as JPEG files."""
    rng = np.random.default_rng(seed)
    files = []
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        coarse.resize((320, 240), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        files.append(buffer.getvalue())
    return files


def against_eager(setting: Setting, weights: str) -> dict[str, Any]:
    """onnxruntime on ready tensors against torch in eager mode, loading included, batch 32."""
    import torch

    from zoo.inference import InferenceModel
    from zoo.registry import load_model

    torch.set_num_threads(setting.threads)
    loaded, card = load_model(weights)
    size = setting.bundle.card.input_size
    eager = InferenceModel(loaded, card)
    direct, batch = OnnxModel(setting.bundle.onnx_file, setting.threads), setting.ready(REFERENCE_BATCH)

    def reference() -> int:
        files = [setting.images[i % len(setting.images)] for i in range(REFERENCE_BATCH)]
        with torch.no_grad():
            eager(torch.from_numpy(np.stack([prepare(data, size) for data in files])))
        return REFERENCE_BATCH

    return _compare("direct", {"direct": lambda: _run(direct, batch), "eager": reference}, setting.seconds)


def against_other(setting: Setting, other: Bundle) -> dict[str, Any]:
    """Another bundle of the same input size against this one, batch 8."""
    batch = setting.ready(8)
    models = {each.precision: OnnxModel(each.onnx_file, setting.threads) for each in (other, setting.bundle)}
    sides: dict[str, Work] = {name: partial(_run, model, batch) for name, model in models.items()}
    return _compare(other.precision, sides, setting.seconds)


def served_against_direct(setting: Setting) -> dict[str, Any]:
    """JPEG files through a Triton server, 8 at a time, against onnxruntime on ready tensors, batch 8.

    The server and its models choose their own threads, so `threads` has to be the number of cores.
    """
    direct, batch = OnnxModel(setting.bundle.onnx_file, setting.threads), setting.ready(CONCURRENCY)
    with TritonServer(setting.bundle) as server, ThreadPoolExecutor(CONCURRENCY) as pool:
        clients = [TritonEncoder(TritonAddress(server.grpc)) for _ in range(CONCURRENCY)]

        def send(client: TritonEncoder) -> int:
            files = setting.images[:CONCURRENCY]
            for data in files:
                client.encode([data])
            return len(files)

        sides: dict[str, Work] = {
            "served": lambda: sum(pool.map(send, clients)),
            "direct": lambda: sum(_run(direct, batch) for _ in range(CONCURRENCY)),
        }
        try:
            row = _compare("served", sides, setting.seconds)
            p50, p99 = latencies(lambda: _encode(clients[0], setting.images[:1]), setting.seconds / 2)
        finally:
            for client in clients:
                client.close()
    return {**row, "single_p50_ms": p50, "single_p99_ms": p99}


def single_image(setting: Setting) -> dict[str, Any]:
    """One JPEG file at a time in this process, and where its time goes: milliseconds."""
    encoder = OnnxEncoder(setting.bundle.path, setting.threads)
    network, one = OnnxModel(setting.bundle.onnx_file, setting.threads), setting.ready(1)
    data, size = setting.images[0], setting.bundle.card.input_size
    pixels = decode_image(data)
    seconds = setting.seconds / 4
    try:
        p50, p99 = latencies(lambda: _encode(encoder, [data]), seconds)
    finally:
        encoder.close()
    return {
        "p50_ms": p50,
        "p99_ms": p99,
        "decode_ms": latencies(lambda: len(decode_image(data)), seconds)[0],
        "resize_ms": latencies(lambda: len(resize(pixels, size)), seconds)[0],
        "normalise_and_network_ms": latencies(lambda: _run(network, one), seconds)[0],
    }


def batch_sweep(setting: Setting) -> dict[str, Any]:
    """onnxruntime on ready tensors: images/s by batch size."""
    model = OnnxModel(setting.bundle.onnx_file, setting.threads)
    batches = {str(size): setting.ready(size) for size in BATCHES}
    return dict(
        in_turns(
            {name: partial(_run, model, batch) for name, batch in batches.items()},
            setting.seconds,
        )
    )


def thread_sweep(setting: Setting) -> dict[str, Any]:
    """onnxruntime on ready tensors, batch 8: images/s by threads, 1 to those of the run."""
    batch = setting.ready(8)
    models = {
        str(count): OnnxModel(setting.bundle.onnx_file, count) for count in range(1, setting.threads + 1)
    }
    sides: dict[str, Work] = {name: partial(_run, model, batch) for name, model in models.items()}
    return dict(in_turns(sides, setting.seconds))


def _run(model: OnnxModel, batch: dict[str, np.ndarray]) -> int:
    return len(model.run(batch)["embedding"])


def _encode(encoder: OnnxEncoder | TritonEncoder, images: list[bytes]) -> int:
    return len(encoder.encode(images).embedding)


def _compare(name: str, sides: dict[str, Work], seconds: float) -> dict[str, Any]:
    """Images/s of both sides, and how many times as fast the first, `name`, is."""
    rates = in_turns(sides, seconds)
    (other,) = (side for side in rates if side != name)
    return {**rates, "ratio": rates[name] / rates[other]}
