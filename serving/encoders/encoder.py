"""Encoded images in, embeddings and attribute probabilities out: one protocol, in process or from a server.

Imports neither torch nor, until one is opened, onnxruntime or a Triton client.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol, Self

from serving.encoders.image import InputImage
from serving.encoders.predictions import Predictions
from serving.shipped import is_name
from serving.triton.address import PREFIX, TritonAddress
from zoo.card import Card
from zoo.errors import UserError

_PREFIXES = ("openvino:", "auto:", "ascend:")
"""Of specs that go on with a path or a name."""


class Encoder(Protocol):
    """A model that can be asked. Safe to use from several threads.

    Attributes:
        card: the model's card.
        model_hash: sha256 of the ONNX file, or of another name where that file is run in another way; equal
            for every encoder that gives the same embeddings.
        spec: what opens it again, from any folder; see `open_encoder`.
    """

    spec: str

    @property
    def card(self) -> Card: ...

    @property
    def model_hash(self) -> str: ...

    def encode(self, images: Sequence[bytes | InputImage]) -> Predictions:
        """Predict for images; bad ones are reported in `errors`, row by row.

        Args:
            images: the bytes of JPEG, PNG, WebP or BMP files, or images that may be decoded already.

        Raises:
            UserError: the model or its server fails.
        """
        ...

    def submit(self, images: Sequence[bytes | InputImage]) -> Future[Predictions]:
        """Begin to predict, and return at once; the future ends as `encode` does.

        A future that is cancelled takes what has not begun with it; on a server, what waits there too.
        """
        ...

    def close(self) -> None:
        """Let threads and connections go."""
        ...


class AsyncEncoder:
    """An encoder for asyncio: the same answers, batching, limits, retries and deadlines.

    Cancelling `encode`, as `asyncio.timeout` does, cancels its requests. One encoder may serve several loops.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.card, self.model_hash = encoder.card, encoder.model_hash

    @classmethod
    async def open(cls, spec: str, threads: int | None = None) -> Self:
        """Open an encoder as `open_encoder` does, which may take a while, without holding up the loop."""
        return cls(await asyncio.to_thread(open_encoder, spec, threads))

    async def encode(self, images: Sequence[bytes | InputImage]) -> Predictions:
        """Predict; see `Encoder.encode`."""
        return await asyncio.wrap_future(self._encoder.submit(images))

    async def close(self) -> None:
        """Let threads and connections go."""
        await asyncio.to_thread(self._encoder.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def open_encoder(spec: str, threads: int | None = None) -> Encoder:
    """Open an encoder.

    Args:
        spec: name of a shipped model or of a fetched network, or path of a bundle; `openvino:` before it for
            OpenVINO to run it, `auto:` for the faster of onnxruntime and OpenVINO here. Or `ascend:PATH` of
            an .om file, or a server as `serving.triton.address` describes it.
        threads: of the in-process model; every core where None is given. A server has its own.

    Raises:
        UserError: no such model, no server there, a model that needs more than an image, or a spec of
            another form.
    """
    encoder: Encoder
    if spec.startswith(PREFIX):
        from serving.encoders.triton import TritonEncoder

        encoder = TritonEncoder(TritonAddress.parse(spec))
    else:
        from serving.encoders.in_process import OmEncoder, OnnxEncoder

        if spec.startswith("openvino:"):
            encoder = OnnxEncoder(spec.removeprefix("openvino:"), threads, "openvino")
        elif spec.startswith("auto:"):
            encoder = OnnxEncoder(spec.removeprefix("auto:"), threads, "auto")
        elif spec.startswith("ascend:"):
            encoder = OmEncoder(spec.removeprefix("ascend:"), threads)
        else:
            encoder = OnnxEncoder(spec, threads)
    if encoder.card.pose_inputs:
        encoder.close()
        wanted = ", ".join(encoder.card.pose_inputs)
        raise UserError(f"{spec}: {encoder.card.name} needs {wanted} with each image; use an RGB-only model")
    encoder.spec = portable_spec(spec)
    return encoder


def portable_spec(spec: str) -> str:
    """Write a spec so that it means the same in every folder: paths become absolute."""
    path = model_path(spec)
    return spec if path is None else f"{_prefix(spec)}{path.resolve()}"


def model_path(spec: str) -> Path | None:
    """The file or folder that a spec names; None for a server, and for a model that goes by its name."""
    if spec.startswith(PREFIX):
        return None
    model = spec.removeprefix(_prefix(spec))
    return None if is_name(model) else Path(model)


def _prefix(spec: str) -> str:
    return next((each for each in _PREFIXES if spec.startswith(each)), "")
