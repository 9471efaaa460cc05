"""OpenVINO gives the same numbers as onnxruntime, from the same bundle."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from serving.bundle import Bundle
from serving.encoders.encoder import open_encoder
from serving.engines.openvino import OpenVinoModel, alternate_signal_stack
from tests.serving.conftest import make_image


def test_same_numbers_and_errors_as_onnxruntime(bundle: Bundle) -> None:
    images = [make_image(seed) for seed in range(20)]
    images[3] = b"not an image"
    plain, other = (open_encoder(f"{prefix}{bundle.path}", threads=1) for prefix in ("", "openvino:"))
    expected, found = plain.encode(images), other.encode(images)
    assert found.errors == expected.errors
    good = [row for row in range(20) if row != 3]
    for name in ("embedding", "color_probs", "type_probs"):
        a, b = getattr(expected, name)[good], getattr(found, name)[good]
        assert np.abs(a - b).max() <= 1e-5 * np.abs(a).max()
    assert other.model_hash == plain.model_hash
    with ThreadPoolExecutor(4) as pool:
        alone = list(pool.map(lambda row: other.encode([images[row]]).embedding[0], good))
    np.testing.assert_allclose(np.stack(alone), expected.embedding[good], rtol=0, atol=1e-5)
    plain.close()
    other.close()


def test_opening_and_leaving_a_model_keeps_the_signal_stack(bundle: Bundle) -> None:
    """OpenVINO gives the thread one of its own, frees it in whatever thread lets the model go, and the next
    signal would be handled on it: the end of a child process ended this one."""
    before = alternate_signal_stack().address
    models = [OpenVinoModel(bundle.onnx_file, bundle.card, 2, streams=2)]
    assert alternate_signal_stack().address == before
    with ThreadPoolExecutor(1) as pool:
        pool.submit(models.clear).result()
    assert alternate_signal_stack().address == before
