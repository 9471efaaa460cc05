"""Every encoder: the same numbers, each image its own answer, each bad image its own error."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from serving.bundle import Bundle
from serving.conversion.bundling import export_bundle
from serving.encoders.encoder import AsyncEncoder, Encoder, open_encoder
from serving.encoders.image import InputImage
from serving.encoders.in_process import OnnxEncoder
from serving.encoders.predictions import Predictions
from serving.server.server import TritonServer
from tests.serving.conftest import SIZE, make_image, make_model
from zoo.errors import UserError
from zoo.preprocess import MAX_BYTES, decode_image, prepare

SERVED = (
    "triton:grpc://{grpc}",
    "triton:http://{http}",
    "triton:grpc://{grpc}?transport=stream",
    "triton:grpc://{grpc}?transport=shared-memory",
    "triton:http://{http}?transport=shared-memory&batch=3",
)


@pytest.fixture(scope="module")
def in_process(bundle: Bundle) -> Iterator[Encoder]:
    encoder = open_encoder(str(bundle.path), threads=1)
    yield encoder
    encoder.close()


@pytest.fixture(scope="module", params=SERVED)
def served(request: pytest.FixtureRequest, server: TritonServer) -> Iterator[Encoder]:
    encoder = open_encoder(request.param.format(grpc=server.grpc, http=server.http))
    yield encoder
    encoder.close()


@pytest.fixture(scope="module", params=["in process", "on two threads", *SERVED])
def encoder(request: pytest.FixtureRequest, server: TritonServer, bundle: Bundle) -> Iterator[Encoder]:
    spec = request.param.format(grpc=server.grpc, http=server.http)
    local = not spec.startswith("triton:")
    threads = 1 + (spec == "on two threads")
    opened = open_encoder(str(bundle.path), threads) if local else open_encoder(spec)
    yield opened
    opened.close()


def assert_same(one: Predictions, other: Predictions) -> None:
    assert one.errors == other.errors
    for name in ("embedding", "color_probs", "type_probs"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=0, atol=1e-5)


def test_card_and_hash_are_the_bundles(encoder: Encoder, bundle: Bundle) -> None:
    assert encoder.card == bundle.card
    assert encoder.model_hash == bundle.model_hash


@pytest.mark.parametrize("count", [1, 21])
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


def test_pixels_are_what_their_file_is(in_process: Encoder, served: Encoder) -> None:
    files = [make_image(seed) for seed in range(6)]
    expected = in_process.encode(files)
    pixels = [InputImage.from_pixels(decode_image(data)) for data in files]
    small = [image.at_size(SIZE) for image in pixels]
    decoded = [InputImage(data) for data in files]
    assert all(image.pixels.any() for image in decoded)
    for images in (pixels, small, decoded, [*decoded[:2], *pixels[2:4], *files[4:]]):
        assert_same(expected, in_process.encode(images))
        assert_same(expected, served.encode(images))


def test_pixels_may_be_more_than_a_file(encoder: Encoder) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3400, 3400, 3), dtype=np.uint8)
    assert noise.nbytes > MAX_BYTES
    assert not encoder.encode([InputImage.from_pixels(noise)]).errors


def test_errors_name_the_image(encoder: Encoder) -> None:
    bad = [InputImage(b"", "a.jpg"), InputImage(b"x", "b.jpg"), InputImage(bytes(MAX_BYTES + 1), "c.jpg")]
    errors = encoder.encode(bad).errors
    assert [errors[row].partition(":")[0] for row in range(3)] == ["a.jpg", "b.jpg", "c.jpg"]
    assert encoder.encode(bad[1:2]).errors[0].startswith("b.jpg: not a JPEG")


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


def test_errors_read_the_same_from_all(in_process: Encoder, served: Encoder) -> None:
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


def test_pose_models_need_more_than_an_image(tmp_path: Path) -> None:
    model, card = make_model(keypoints=True)
    export_bundle(model, card, tmp_path / "bundle")
    with pytest.raises(UserError, match="needs keypoints with each image"):
        open_encoder(str(tmp_path / "bundle"))


def test_altered_card_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    model, card = make_model(multitask=False)
    altered = export_bundle(model, card, tmp_path / "bundle")
    card.replace(metric="cosine").write(altered.path / "card.json")
    with pytest.raises(UserError, match=r"the card beside it is not the card inside"):
        OnnxEncoder(altered.path)


def test_asyncio_gives_the_same(in_process: Encoder, encoder: Encoder) -> None:
    images = [make_image(seed) for seed in range(12)]
    images[5] = b"not an image"
    expected = in_process.encode(images)

    async def ask() -> list[Predictions]:
        wrapped = AsyncEncoder(encoder)
        assert (wrapped.card, wrapped.model_hash) == (in_process.card, in_process.model_hash)
        calls = [wrapped.encode(images[start : start + 3]) for start in range(0, 12, 3)]
        return await asyncio.gather(*calls)

    answers = asyncio.run(ask())
    assert [answer.errors.keys() for answer in answers] == [set(), {2}, set(), set()]
    joined = np.concatenate([answer.embedding for answer in answers])
    np.testing.assert_allclose(joined, expected.embedding, rtol=0, atol=1e-5)


def test_asyncio_opens_and_closes(bundle: Bundle) -> None:
    async def ask() -> Predictions:
        async with await AsyncEncoder.open(str(bundle.path), threads=1) as encoder:
            return await encoder.encode([make_image(0)])

    assert np.isfinite(asyncio.run(ask()).embedding).all()


def test_encoders_need_no_torch(bundle: Bundle) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from serving.encoders.encoder import open_encoder; import serving.encoders.triton\n"
        "open_encoder(sys.argv[1], threads=1).close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundle.path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
