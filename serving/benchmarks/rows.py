"""The rows of `serving.benchmark` that need no server: each measures its sides in one run."""

import importlib.util
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from serving.bundle import Bundle
from serving.encoders.encoder import Encoder
from serving.encoders.in_process import OnnxEncoder
from serving.engines.selection import Engine, open_model
from serving.engines.timing import Work, in_turns, latencies
from zoo.card import Card
from zoo.onnx_model import OnnxModel
from zoo.parallel_model import LoadedModel
from zoo.preprocess import decode_image, prepare, resize

REFERENCE_BATCH = 32
REFERENCE_SIZE = (256, 256)
BATCHES = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Setting:
    """What all rows share.

    Attributes:
        bundle: the model; it takes images alone.
        threads: of each side.
        seconds: an important row goes on for; others for half of it.
        images: JPEG files.
        models: that were opened.
    """

    bundle: Bundle
    threads: int
    seconds: float
    images: list[bytes]
    models: dict[tuple[Path, Engine, int], LoadedModel] = field(default_factory=dict)

    def model(
        self, bundle: Bundle | None = None, engine: Engine = "onnxruntime", threads: int | None = None
    ) -> LoadedModel:
        """Open a model, once: this bundle's with all threads, where nothing else is said."""
        bundle, threads = bundle or self.bundle, threads or self.threads
        key = (bundle.path, engine, threads)
        if key not in self.models:
            self.models[key] = open_model(bundle, engine, threads)
        return self.models[key]

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
    """JPEG files to embeddings at 256x256: this project's encoder, and torch in eager mode in two ways.

    `reference` is how evaluation code usually has it, the reference's too: pictures opened by Pillow,
    resized, turned into float32 [3, H, W] and normalised by torchvision, in batches of 32, one forward
    without gradients. Loading takes its turn in the same process, which spares that side the overhead of
    workers.
    `channels_last` is the same network as this project's own evaluation runs it.
    """
    import torch
    from torchvision import transforms

    from serving.conversion.bundling import export_bundle
    from zoo.inference import InferenceModel

    torch.set_num_threads(setting.threads)
    network, card = _of_reference_size(weights)
    files = [setting.images[i % len(setting.images)] for i in range(REFERENCE_BATCH)]
    to_tensor = transforms.Compose(
        [
            transforms.Resize(REFERENCE_SIZE),
            transforms.ToTensor(),
            transforms.Normalize(card.mean, card.std),
        ]
    )
    deployed = InferenceModel(network, card)

    def reference() -> int:
        pictures = [to_tensor(Image.open(io.BytesIO(data)).convert("RGB")) for data in files]
        with torch.no_grad():
            return len(network(torch.stack(pictures), None, None, None).embedding)

    def channels_last() -> int:
        pixels = np.stack([prepare(data, REFERENCE_SIZE) for data in files])
        with torch.no_grad():
            return len(deployed(torch.from_numpy(pixels)).embedding)

    with tempfile.TemporaryDirectory() as folder:
        bundle = export_bundle(network, card, Path(folder) / "bundle")
        encoder = OnnxEncoder(bundle.path, setting.threads)
        try:
            sides: dict[str, Work] = {
                "direct": partial(encode, encoder, files),
                "reference": reference,
                "channels_last": channels_last,
            }
            rates = in_turns(sides, setting.seconds)
        finally:
            encoder.close()
    return {
        **rates,
        "ratio": rates["direct"] / rates["reference"],
        "channels_last_ratio": rates["direct"] / rates["channels_last"],
    }


@contextmanager
def of_reference_size(setting: Setting, weights: str) -> Iterator[Setting]:
    """The same with a model exported at 256x256, where a network takes its usual share of the time."""
    from serving.conversion.bundling import export_bundle

    with tempfile.TemporaryDirectory() as folder:
        bundle = export_bundle(*_of_reference_size(weights), Path(folder) / "bundle")
        yield Setting(bundle, setting.threads, setting.seconds, setting.images)


def _of_reference_size(weights: str) -> tuple[Any, Card]:
    from zoo.loading import load_model

    network: Any
    network, card = load_model(weights)
    return network, card.replace(
        input_size=REFERENCE_SIZE, pose_inputs=network.pose_inputs(REFERENCE_SIZE), metrics=[]
    )


def against_other(setting: Setting, other: Bundle) -> dict[str, Any]:
    """Another bundle of the same input size against this one, batch 8."""
    models = {str(each.precision): setting.model(each) for each in (other, setting.bundle)}
    return _compare(other.precision, models, setting)


def dealt_against_shared(setting: Setting) -> dict[str, Any]:
    """A batch of 8 dealt among single-threaded runs, against one run that all threads share."""
    shared = OnnxModel(setting.bundle.onnx_file, setting.threads)
    return _compare("dealt", {"dealt": setting.model(), "shared": shared}, setting, setting.seconds / 2)


def engine_sides(setting: Setting, other: Bundle | None) -> dict[str, Any]:
    """onnxruntime and OpenVINO on ready tensors, batch 8, for each bundle; nothing without OpenVINO."""
    if importlib.util.find_spec("openvino") is None:
        return {}
    bundles = [setting.bundle] if other is None else [setting.bundle, other]
    engines: tuple[Engine, ...] = ("onnxruntime", "openvino")
    batch = setting.ready(8)
    sides: dict[str, Work] = {
        f"{bundle.precision}_{engine}": partial(run, setting.model(bundle, engine), batch)
        for bundle in bundles
        for engine in engines
    }
    return dict(in_turns(sides, setting.seconds))


def single_image(setting: Setting) -> dict[str, Any]:
    """One JPEG file at a time in this process, and where its time goes: milliseconds."""
    encoder = OnnxEncoder(setting.bundle.path, setting.threads)
    network, one = setting.model(), setting.ready(1)
    data, size = setting.images[0], setting.bundle.card.input_size
    pixels = decode_image(data)
    seconds = setting.seconds / 8
    try:
        p50, p99 = latencies(lambda: encode(encoder, [data]), seconds)
    finally:
        encoder.close()
    return {
        "p50_ms": p50,
        "p99_ms": p99,
        "decode_ms": latencies(lambda: len(decode_image(data)), seconds)[0],
        "resize_ms": latencies(lambda: len(resize(pixels, size)), seconds)[0],
        "normalise_and_network_ms": latencies(lambda: run(network, one), seconds)[0],
    }


def batch_sweep(setting: Setting) -> dict[str, Any]:
    """onnxruntime on ready tensors: images/s by batch size."""
    model = setting.model()
    sides: dict[str, Work] = {str(size): partial(run, model, setting.ready(size)) for size in BATCHES}
    return dict(in_turns(sides, setting.seconds / 2))


def thread_sweep(setting: Setting) -> dict[str, Any]:
    """onnxruntime on ready tensors, batch 8: images/s by threads, 1 to those of the run."""
    batch = setting.ready(8)
    sides: dict[str, Work] = {
        str(count): partial(run, setting.model(threads=count), batch)
        for count in range(1, setting.threads + 1)
    }
    return dict(in_turns(sides, setting.seconds / 2))


def run(model: LoadedModel, batch: dict[str, np.ndarray]) -> int:
    """Answer ready tensors; how many images they were."""
    return len(model.run(batch)["embedding"])


def encode(encoder: Encoder, images: list[bytes]) -> int:
    """Encode image files; how many they were."""
    return len(encoder.encode(images).embedding)


def _compare(
    name: str, models: dict[str, LoadedModel], setting: Setting, seconds: float | None = None
) -> dict[str, Any]:
    """Images/s of two models at batch 8, and how many times as fast the one called `name` is."""
    batch = setting.ready(8)
    sides: dict[str, Work] = {side: partial(run, model, batch) for side, model in models.items()}
    rates = in_turns(sides, setting.seconds if seconds is None else seconds)
    (other,) = (side for side in rates if side != name)
    return {**rates, "ratio": rates[name] / rates[other]}
