"""What is not a sound model's answer is refused in one line, whoever gave it."""

import json
from typing import Any

import numpy as np
import pytest
from google.protobuf.json_format import ParseDict
from tritonclient.grpc import model_config_pb2
from tritonclient.grpc import service_pb2 as messages

from serving.encoders.encoder import Encoder, open_encoder
from serving.encoders.image import InputImage
from serving.encoders.in_process import ModelEncoder
from serving.probe import probe
from serving.triton.configs import HASH_KEY
from tests.serving.conftest import make_image
from tests.serving.encoders.lying_triton import (
    ANSWER,
    CARD,
    CONFIG,
    EMBEDDING,
    as_json,
    as_message,
    changed,
    grpc_server,
    http_server,
)
from zoo.errors import UserError

HTML = b"<!DOCTYPE html><html><body>Sign in</body></html>"

UNSOUND = {
    "zeros": changed(data=[0.0] * 4),
    "NaN": changed(data=[float("nan"), 1.0, 1.0, 1.0]),
    "infinity": changed(data=[1.0, float("inf"), 1.0, 1.0]),
    "another shape": changed(shape=[1, 3], data=[1.0] * 3),
    "transposed": changed(shape=[4, 1]),
    "flat": changed(shape=[4]),
    "more rows": changed(shape=[2, 4], data=[1.0] * 8),
    "less than it says": changed(data=[1.0] * 3),
    "another type": changed(datatype="FP64"),
    "missing output": {**ANSWER, "outputs": ANSWER["outputs"][1:]},
    "missing errors": {**ANSWER, "outputs": ANSWER["outputs"][:2]},
    "more errors": {
        **ANSWER,
        "outputs": [*ANSWER["outputs"][:2], {**ANSWER["outputs"][2], "shape": [2, 1], "data": ["", ""]}],
    },
    "no outputs": {**ANSWER, "outputs": []},
}
"""Answers that both protocols can carry."""

NO_JSON: dict[str, Any] = {
    "HTML": HTML,
    "nothing": b"",
    "broken": as_json(ANSWER)[:-20],
    "no text": b"\xff\xfe\x00",
    "list": [],
    "number": 5,
    "null": b"null",
    "outputs of another kind": {"outputs": 3},
    "texts for numbers": changed(data=["a", "b", "c", "d"]),
    "nothing for numbers": changed(data=None),
    "shape of another kind": changed(shape="1x4"),
    "no version": {"model_name": "vehicle_reid", "outputs": ANSWER["outputs"]},
    "unknown type": changed(datatype="FP8"),
    "deep": b"[" * 100_000,
}
"""Bodies that only HTTP can carry."""


def assert_refused(encoder: Encoder) -> None:
    for count in (1, 2):  # one is answered apart, where the server has refused it
        try:
            found = encoder.encode([InputImage(make_image(0), "car.jpg")] * count)
        except UserError as error:
            reasons = [str(error)]
        else:
            reasons = [found.errors[row] for row in range(count)]
            assert all(reason.startswith("car.jpg: ") for reason in reasons)
            assert np.isnan(found.embedding).all()
        for reason in reasons:
            assert "\n" not in reason
            assert len(reason) < 500


@pytest.mark.parametrize("name", [*UNSOUND, *NO_JSON])
def test_http(name: str) -> None:
    body = as_json({**UNSOUND, **NO_JSON}[name])
    with http_server(as_json(CONFIG), body) as address:
        encoder = open_encoder(f"triton:http://{address}?batch=1")
        assert_refused(encoder)
        encoder.close()


@pytest.mark.parametrize("name", [*UNSOUND, "HTML", "nothing"])
def test_grpc(name: str) -> None:
    config = messages.ModelConfigResponse(config=ParseDict(CONFIG, model_config_pb2.ModelConfig()))
    body = {"HTML": HTML, "nothing": b""}.get(name) or (as_message(UNSOUND[name]) if name in UNSOUND else b"")
    with grpc_server(config.SerializeToString(), body) as address:
        encoder = open_encoder(f"triton:grpc://{address}?batch=1")
        assert_refused(encoder)
        encoder.close()


def test_sound_answers_are_taken() -> None:
    """Without this, the tests above could pass because nothing is ever taken."""
    config = messages.ModelConfigResponse(config=ParseDict(CONFIG, model_config_pb2.ModelConfig()))
    with (
        http_server(as_json(CONFIG), as_json(ANSWER)) as http,
        grpc_server(config.SerializeToString(), as_message(ANSWER)) as grpc,
    ):
        for spec in (f"triton:http://{http}?batch=1", f"triton:grpc://{grpc}?batch=1"):
            encoder = open_encoder(spec)
            np.testing.assert_array_equal(encoder.encode([make_image(0)]).embedding, EMBEDDING)
            encoder.close()


@pytest.mark.parametrize(
    "config",
    [HTML, b"", [], 5, {**CONFIG, "max_batch_size": "many"}, {**CONFIG, "parameters": []},
     {"parameters": {"card": {"string_value": "{}"}, HASH_KEY: {"string_value": "abc"}}}, b"[" * 100_000],
    ids=["HTML", "nothing", "list", "number", "texts", "no table", "another card", "deep"],
)  # fmt: skip
def test_malformed_configs(config: object) -> None:
    with http_server(as_json(config), b"") as address:
        with pytest.raises(UserError) as caught:
            open_encoder(f"triton:http://{address}")
        assert "\n" not in str(caught.value)
        assert probe(address)


@pytest.mark.parametrize("name", NO_JSON)
def test_the_probe_says_what_is_wrong(name: str) -> None:
    config = {
        "input": [{"name": "image_bytes", "data_type": "TYPE_STRING", "dims": [1]}],
        "output": [{"name": "embedding", "data_type": "TYPE_FP32", "dims": [4]}],
    }
    answer = NO_JSON[name]
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    with http_server(
        as_json(config), body if isinstance(body, bytes) else json.dumps(body).encode()
    ) as address:
        reason = probe(address)
    assert (reason is None) == (name in ("no version", "unknown type"))


class Damaged:
    """A model in this process whose weights a disk has spoilt."""

    card = CARD

    def __init__(self, embedding: np.ndarray) -> None:
        self.embedding = embedding

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        count = len(inputs["image"])
        return {
            "embedding": np.repeat(self.embedding, count, 0),
            "color_probs": np.full((count, 10), 0.1, np.float32),
        }


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_in_process(value: float) -> None:
    encoder = ModelEncoder(Damaged(np.full((1, 4), value, np.float32)), "abc", 1)
    assert_refused(encoder)
    encoder.close()
