"""Encoded images in, embeddings and attribute probabilities out: one protocol, in process or from a server.

Imports neither torch nor, until one is opened, onnxruntime or a Triton client.
"""

from collections.abc import Sequence
from typing import Protocol

from serving.predictions import Predictions
from zoo.card import Card
from zoo.errors import UserError

PATH_PREFIXES = ("openvino:", "ascend:")
"""Of specs that go on with a path."""


class Encoder(Protocol):
    """A model that can be asked. Safe to use from several threads.

    Attributes:
        card: the model's card.
        model_hash: sha256 of the ONNX file; equal for every encoder that gives the same embeddings.
    """

    @property
    def card(self) -> Card: ...

    @property
    def model_hash(self) -> str: ...

    def encode(self, images: Sequence[bytes]) -> Predictions:
        """Predict for encoded images (JPEG, PNG, WebP, BMP); bad ones are reported in `errors`, row by row.

        Raises:
            UserError: the model or its server fails.
        """
        ...

    def close(self) -> None:
        """Let threads and connections go."""
        ...


def open_encoder(spec: str, threads: int | None = None) -> Encoder:
    """Open an encoder.

    Args:
        spec: path of a bundle, `openvino:PATH` of one for OpenVINO to run, `ascend:PATH` of an .om file, or
            `triton:grpc://HOST:PORT`.
        threads: of the in-process model; every core where None is given. A server has its own.

    Raises:
        UserError: no such bundle, no server there, a model that needs more than an image, or a spec of
            another form.
    """
    encoder: Encoder
    if spec.startswith("triton:"):
        address = spec.removeprefix("triton:").removeprefix("grpc://").rstrip("/")
        host, colon, port = address.rpartition(":")
        if not (spec.startswith("triton:grpc://") and host and colon and port.isdecimal()):
            raise UserError(f"{spec}: not an encoder; the form is triton:grpc://HOST:PORT")
        from serving.encoder_triton import TritonEncoder

        encoder = TritonEncoder(address)
    else:
        from serving.encoder_onnx import OmEncoder, OnnxEncoder

        if spec.startswith("openvino:"):
            encoder = OnnxEncoder(spec.removeprefix("openvino:"), threads, "openvino")
        elif spec.startswith("ascend:"):
            encoder = OmEncoder(spec.removeprefix("ascend:"), threads)
        else:
            encoder = OnnxEncoder(spec, threads)
    if encoder.card.pose_inputs:
        encoder.close()
        wanted = ", ".join(encoder.card.pose_inputs)
        raise UserError(f"{spec}: {encoder.card.name} needs {wanted} with each image; use an RGB-only model")
    return encoder
