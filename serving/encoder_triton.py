"""The encoder of a Triton server: encoded images over gRPC, several requests in flight."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from serving.bundle import CARD_KEY
from serving.predictions import Predictions
from serving.triton_client import connect, is_transient, triton_errors
from serving.triton_repository import ENTRY_MODEL, entry_version
from zoo.card import Card
from zoo.errors import UserError
from zoo.preprocess import MAX_BYTES, ImageError, decode_image

BATCH_SIZE = 8
"""Images of a request. Small ones let the server decode one while it computes another, and merge them."""

IN_FLIGHT = 4
"""Requests that wait for the server at a time."""

MAX_REQUEST_BYTES = 64 * 2**20
"""Of the images of one request together; gRPC has a limit, and the server holds the request several times."""

TIMEOUT_SECONDS = 120.0
"""From a request's first attempt to its answer."""

ATTEMPTS = 5
MAX_WAIT_SECONDS = 4.0
"""Between two attempts; waits double from 0.2 s on and are random, so that clients do not come at once."""

_BAD_IMAGE = "bad image: "
"""Begins the server's error for a request of one image that cannot be used."""


class TritonEncoder:
    """Encodes on a server.

    Args:
        address: of its gRPC service, `host:port`.

    Raises:
        UserError: nothing answers there, or it serves another model.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._client = connect(address)
        try:
            config = self._client.get_model_config(ENTRY_MODEL, client_timeout=10.0).config
        except triton_errors() as error:
            self._client.close()
            raise self._failure(error) from error
        parameters = {key: value.string_value for key, value in config.parameters.items()}
        if CARD_KEY not in parameters or "model_hash" not in parameters:
            self._client.close()
            raise UserError(
                f"{address}: its {ENTRY_MODEL} has no card; serve a bundle that serving.export has made"
            )
        self.card = Card.from_json(parameters[CARD_KEY], f"the card of {address}")
        self.model_hash = parameters["model_hash"]
        self._version = str(entry_version(config))
        self._batch_size = max(1, min(BATCH_SIZE, config.max_batch_size))
        self._senders = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="triton")

    def encode(self, images: Sequence[bytes]) -> Predictions:
        """Predict; see `serving.encoder.Encoder.encode`."""
        result = Predictions.empty(self.card, len(images))
        sendable = []
        for index, data in enumerate(images):
            if len(data) > MAX_BYTES:
                # Refused here with the server's own words, rather than sent to be refused there.
                result.errors[index] = _refusal(data)
            else:
                sendable.append(index)
        batches = list(_split(images, sendable, self._batch_size))
        answers = [self._senders.submit(self._infer, [images[i] for i in batch]) for batch in batches]
        try:
            for batch, answer in zip(batches, answers, strict=True):
                values, errors = answer.result()
                good = [row for row, error in enumerate(errors) if not error]
                for name in self.card.outputs if good else ():
                    getattr(result, name)[[batch[row] for row in good]] = values[name][good]
                result.errors.update({batch[row]: error for row, error in enumerate(errors) if error})
        finally:
            for answer in answers:
                answer.cancel()
        return result

    def close(self) -> None:
        """Let threads and connection go."""
        self._senders.shutdown(cancel_futures=True)
        self._client.close()

    def _infer(self, images: list[bytes]) -> tuple[dict[str, np.ndarray], list[str]]:
        """Send one request; return its outputs by name and an error text (or nothing) for each row."""
        import tritonclient.grpc as grpcclient

        tensor = grpcclient.InferInput("image_bytes", [len(images), 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[data] for data in images], dtype=np.object_))
        outputs = [grpcclient.InferRequestedOutput(name) for name in (*self.card.outputs, "error")]
        try:
            answer: Any = self._with_retries([tensor], outputs)
        except triton_errors() as error:
            _, marker, reason = str(error).partition(_BAD_IMAGE)
            if marker and len(images) == 1:
                return {}, [reason]
            raise self._failure(error) from error
        # A server may change over to another model at any time, whose embeddings are not comparable.
        if (version := answer.get_response().model_version) != self._version:
            raise UserError(
                f"triton:grpc://{self._address}: serves version {version} of {ENTRY_MODEL} now, and version "
                f"{self._version} was opened; start again, with a gallery of the new model"
            )
        values = {name: answer.as_numpy(name) for name in self.card.outputs}
        for name, dimension in self.card.outputs.items():
            if values[name] is None or values[name].shape != (len(images), dimension):
                raise UserError(
                    f"{self._address}: answered {name} in a wrong shape; look at the log, restart the server"
                )
        return values, [text.decode() for text in answer.as_numpy("error")[:, 0]]

    def _with_retries(self, inputs: list[Any], outputs: list[Any]) -> Any:
        """Ask, and ask again where the server was away or too busy; all attempts share one deadline."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        for attempt in Retrying(
            retry=retry_if_exception(is_transient),
            stop=stop_after_attempt(ATTEMPTS) | stop_after_delay(TIMEOUT_SECONDS),
            wait=wait_random_exponential(multiplier=0.2, max=MAX_WAIT_SECONDS),
            reraise=True,
        ):
            with attempt:
                left = max(0.001, deadline - time.monotonic())
                return self._client.infer(ENTRY_MODEL, inputs, outputs=outputs, client_timeout=left)
        raise AssertionError("the last attempt returns or raises")

    def _failure(self, error: Exception) -> UserError:
        reason = " ".join(str(error).split())
        if "UNAVAILABLE" in reason:
            cure = "is it running? Start one with: python -m serving.launch --bundle BUNDLE"
            return UserError(f"triton:grpc://{self._address}: no server answers there; {cure}")
        return UserError(f"triton:grpc://{self._address}: {reason}")


def _refusal(data: bytes) -> str:
    try:
        decode_image(data)
    except ImageError as error:
        return str(error)
    raise AssertionError("decode_image takes more bytes than MAX_BYTES")


def _split(images: Sequence[bytes], indices: Sequence[int], size: int) -> Iterator[list[int]]:
    """Deal indices into batches of at most `size` images and MAX_REQUEST_BYTES."""
    batch: list[int] = []
    total = 0
    for index in indices:
        if batch and (len(batch) == size or total + len(images[index]) > MAX_REQUEST_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(index)
        total += len(images[index])
    if batch:
        yield batch
