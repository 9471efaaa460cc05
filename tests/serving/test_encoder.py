"""Both encoders: the same numbers, each image its own answer, each bad image its own error."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as schema
from tritonclient.utils import InferenceServerException

from serving.bundle import Bundle
from serving.encoder import Encoder, open_encoder
from serving.encoder_onnx import OnnxEncoder
from serving.encoder_triton import ATTEMPTS, TritonEncoder
from serving.export import export_bundle
from serving.predictions import Predictions
from serving.server import TritonServer, choose_ports
from serving.triton_repository import ENTRY_MODEL
from zoo.errors import UserError
from zoo.preprocess import MAX_BYTES, prepare

from .conftest import SIZE, make_image, make_model


@pytest.fixture(scope="module")
def in_process(bundle: Bundle) -> Iterator[Encoder]:
    encoder = open_encoder(str(bundle.path), threads=1)
    yield encoder
    encoder.close()


@pytest.fixture(scope="module")
def served(server: TritonServer) -> Iterator[Encoder]:
    encoder = open_encoder(f"triton:grpc://{server.grpc}")
    yield encoder
    encoder.close()


@pytest.fixture(params=["in_process", "served"])
def encoder(request: pytest.FixtureRequest) -> Encoder:
    chosen: Encoder = request.getfixturevalue(request.param)
    return chosen


def assert_same(one: Predictions, other: Predictions) -> None:
    assert one.errors == other.errors
    for name in ("embedding", "color_probs", "type_probs"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=0, atol=1e-5)


def test_card_and_hash_are_the_bundles(encoder: Encoder, bundle: Bundle) -> None:
    assert encoder.card == bundle.card
    assert encoder.model_hash == bundle.model_hash


@pytest.mark.parametrize("count", [1, 7, 40])
def test_encoders_agree(in_process: Encoder, served: Encoder, count: int) -> None:
    images = [make_image(seed, ("JPEG", "PNG", "WEBP", "BMP")[seed % 4]) for seed in range(count)]
    result = in_process.encode(images)
    assert result.embedding.shape == (count, 1024)
    assert result.embedding.dtype == np.float32
    assert_same(result, served.encode(images))


def test_answers_are_those_of_the_graph(encoder: Encoder, bundle: Bundle) -> None:
    image = make_image(5)
    session = onnxruntime.InferenceSession(bundle.onnx_file)
    embedding, colors = session.run(["embedding", "color_probs"], {"image": prepare(image, SIZE)[None]})
    result = encoder.encode([image])
    np.testing.assert_allclose(result.embedding, embedding, rtol=0, atol=1e-5)
    np.testing.assert_allclose(result.color_probs, colors, rtol=0, atol=1e-5)


def test_no_images_give_no_rows(encoder: Encoder) -> None:
    result = encoder.encode([])
    assert result.embedding.shape == (0, 1024)
    assert result.type_probs.shape == (0, 9)


def test_bad_images_fail_alone(encoder: Encoder) -> None:
    images = [make_image(seed) for seed in range(20)]
    good = encoder.encode(images)
    bad = {2: b"", 3: b"not an image", 11: images[11][:300], 19: bytes(MAX_BYTES + 1)}
    result = encoder.encode([bad.get(index, data) for index, data in enumerate(images)])
    assert set(result.errors) == set(bad)
    assert "empty" in result.errors[2]
    assert "not a JPEG" in result.errors[3]
    assert "limit" in result.errors[19]
    rows = [index for index in range(20) if index not in bad]
    np.testing.assert_allclose(result.embedding[rows], good.embedding[rows], rtol=0, atol=1e-5)
    assert np.isnan(result.embedding[list(bad)]).all()
    assert np.isnan(result.color_probs[list(bad)]).all()


def test_a_single_bad_image_is_an_error_row(encoder: Encoder) -> None:
    result = encoder.encode([b"not an image"])
    assert list(result.errors) == [0]
    assert result.errors[0].startswith("image: not a JPEG")


def test_errors_read_the_same_from_both(in_process: Encoder, served: Encoder) -> None:
    images = [b"", b"not an image", make_image(0)[:300], bytes(MAX_BYTES + 1), make_image(1)]
    assert in_process.encode(images).errors == served.encode(images).errors
    assert in_process.encode(images[:1]).errors == served.encode(images[:1]).errors


def test_concurrent_callers_get_their_own_answers(in_process: Encoder, served: Encoder) -> None:
    """Batches of mixed sizes, from many threads, merged by the server: none is swapped, none is missing."""
    images = [make_image(seed) for seed in range(60)]
    images[13] = b"not an image"
    expected = in_process.encode(images)
    shuffled = np.random.default_rng(0).permutation(60).tolist()
    calls = [shuffled[start : start + 1 + start % 6] for start in range(0, 60, 2)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda call: served.encode([images[i] for i in call]), calls))
    for call, answer in zip(calls, answers, strict=True):
        assert answer.errors.keys() == {row for row, index in enumerate(call) if index == 13}
        np.testing.assert_allclose(answer.embedding, expected.embedding[call], rtol=0, atol=1e-5)


@pytest.mark.parametrize("spec", ["triton:", "triton:grpc://", "triton:http://h:1", "triton:grpc://host"])
def test_malformed_addresses_are_refused(spec: str) -> None:
    with pytest.raises(UserError, match="the form is triton:grpc://HOST:PORT"):
        open_encoder(spec)


def test_no_server_is_one_line(bundle: Bundle) -> None:
    port = choose_ports({"grpc": None})["grpc"]
    with pytest.raises(UserError, match=f"127.0.0.1:{port}: no server answers there; is it running"):
        TritonEncoder(f"127.0.0.1:{port}")


def test_server_without_a_card_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle.path, copy)
    file = copy / "triton" / ENTRY_MODEL / "config.pbtxt"
    config = text_format.Parse(file.read_text(encoding="utf-8"), schema.ModelConfig())
    config.ClearField("parameters")
    file.write_text(text_format.MessageToString(config), encoding="utf-8")
    with TritonServer(copy) as server, pytest.raises(UserError, match="its vehicle_reid has no card"):
        TritonEncoder(server.grpc)


def test_server_that_went_away_is_reported(bundle: Bundle) -> None:
    with TritonServer(bundle) as server:
        encoder = TritonEncoder(server.grpc)
        assert not encoder.encode([make_image(0)]).errors
    with pytest.raises(UserError, match="no server answers there"):
        encoder.encode([make_image(0)])
    encoder.close()


class Flaky:
    """Stands before the real client and fails the first times, as a server does that is being restarted."""

    def __init__(self, client: Any, status: str, failures: int) -> None:
        self.client, self.status, self.failures, self.calls = client, status, failures, 0

    def infer(self, *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        if self.calls <= self.failures:
            raise InferenceServerException("for the test", f"StatusCode.{self.status}")
        return self.client.infer(*arguments, **options)

    def close(self) -> None:
        self.client.close()


def test_transient_errors_are_retried_and_no_others(
    server: TritonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.encoder_triton.MAX_WAIT_SECONDS", 0.01)
    encoder = TritonEncoder(server.grpc)
    real = encoder._client
    expected = encoder.encode([make_image(0)])
    flaky = encoder._client = Flaky(real, "UNAVAILABLE", ATTEMPTS - 1)
    assert_same(encoder.encode([make_image(0)]), expected)
    assert flaky.calls == ATTEMPTS
    flaky = encoder._client = Flaky(real, "UNAVAILABLE", 100)
    with pytest.raises(UserError, match="no server answers there"):
        encoder.encode([make_image(0)])
    assert flaky.calls == ATTEMPTS
    for status in ("INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "INTERNAL"):
        flaky = encoder._client = Flaky(real, status, 1)
        with pytest.raises(UserError, match=status):
            encoder.encode([make_image(0)])
        assert flaky.calls == 1
    encoder.close()


def test_pose_models_need_more_than_an_image(tmp_path: Path) -> None:
    model, card = make_model(keypoints=True)
    export_bundle(model, card, tmp_path / "bundle")
    with pytest.raises(UserError, match="needs keypoints with each image"):
        open_encoder(str(tmp_path / "bundle"))


def test_altered_card_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    model, card = make_model(multitask=False)
    altered = export_bundle(model, card, tmp_path / "bundle")
    card.replace(metric="cosine").write(altered.path / "card.json")
    with pytest.raises(UserError, match=r"card\.json is not the card inside model\.onnx"):
        OnnxEncoder(altered.path)


def test_encoders_need_no_torch(bundle: Bundle) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from serving.encoder import open_encoder; import serving.encoder_triton\n"
        "open_encoder(sys.argv[1], threads=1).close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundle.path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
