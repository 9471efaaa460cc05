"""Readiness by a real inference: health endpoints go on saying ready when a backend's worker is dead."""

import io

import numpy as np
from PIL import Image

from serving.bundle import CARD_KEY, POSE_DTYPES
from serving.repository_configs import ENTRY_MODEL
from serving.triton_client import connect, triton_errors
from zoo.card import Card


def probe(address: str, card: Card | None = None, timeout: float = 30.0) -> str | None:
    """Send one small generated JPEG through the whole ensemble.

    Args:
        address: of the gRPC service, `host:port`.
        card: of the model that should answer; without one, the card that the server itself shows.
        timeout: seconds for the inference.

    Returns:
        None when every output came back whole, otherwise what went wrong.
    """
    import tritonclient.grpc as grpcclient

    client = connect(address)
    try:
        if not client.is_model_ready(ENTRY_MODEL, client_timeout=2.0):
            return f"{ENTRY_MODEL} is not ready"
        if card is None:
            config = client.get_model_config(ENTRY_MODEL, client_timeout=2.0).config
            card = Card.from_json(config.parameters[CARD_KEY].string_value, f"the card of {address}")
        inputs = [_tensor("image_bytes", np.array([[_small_jpeg()]], dtype=np.object_), "BYTES")]
        for name, shape in card.pose_inputs.items():
            kind = "UINT8" if POSE_DTYPES[name] == "uint8" else "FP32"
            inputs.append(_tensor(name, np.zeros((1, *shape), POSE_DTYPES[name]), kind))
        outputs = [grpcclient.InferRequestedOutput(name) for name in card.outputs]
        answer = client.infer(ENTRY_MODEL, inputs, outputs=outputs, client_timeout=timeout)
        for name, dimension in card.outputs.items():
            value = answer.as_numpy(name)
            if value is None or value.shape != (1, dimension) or not np.isfinite(value).all():
                return f"{name} came back {'missing' if value is None else f'as {list(value.shape)}'}"
    except triton_errors() as error:
        return " ".join(str(error).split())
    finally:
        client.close()
    return None


def answered(address: str) -> int:
    """Count the requests that the server has answered well; 0 where it does not tell."""
    client = connect(address)
    try:
        statistics = client.get_inference_statistics(ENTRY_MODEL, client_timeout=2.0)
        return sum(model.inference_stats.success.count for model in statistics.model_stats)
    except triton_errors():
        return 0
    finally:
        client.close()


def _tensor(name: str, value: np.ndarray, kind: str) -> object:
    import tritonclient.grpc as grpcclient

    tensor = grpcclient.InferInput(name, list(value.shape), kind)
    tensor.set_data_from_numpy(value)
    return tensor


def _small_jpeg() -> bytes:
    ramp = np.linspace(0, 255, 32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(ramp).save(buffer, "JPEG")
    return buffer.getvalue()
