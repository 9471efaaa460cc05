"""The encoder of a Triton server: images in small requests, several of them in flight.

Everything is done on the process's one event loop for servers, whoever asks: plain and asynchronous callers
get the same batching, retries and deadlines.
"""

import asyncio
import atexit
import os
import threading
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import Future
from functools import cache
from typing import Any, TypeVar

from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from serving.bundle import CARD_KEY
from serving.encoders.deadline import seconds_left
from serving.encoders.image import InputImage
from serving.encoders.predictions import Predictions
from serving.encoders.trace import stage
from serving.triton.address import TritonAddress
from serving.triton.configs import ENTRY_MODEL, HASH_KEY
from serving.triton.link import Link, TritonError, open_link, readable_answer
from serving.triton.repository import entry_version
from serving.triton.spans import Attributes, span
from serving.triton.transport import Answer, Transport, open_transport
from zoo.card import Card
from zoo.errors import UserError
from zoo.preprocess import MAX_BYTES, ImageError, decode_image

MAX_REQUEST_BYTES = 48 * 2**20
"""Of the images of one request together: the server takes no more than 64 MiB over HTTP."""

FEWEST_IMAGES = 8
"""Of a request, where a call has so many: fewer are not worth what a request itself costs."""

OPEN_SECONDS = 10.0
"""For a server to tell what it serves."""

MAX_WAIT_SECONDS = 4.0
"""Between two attempts; waits double from 0.2 s on and are random, so that clients do not come at once."""

_BAD_IMAGE = "bad image: "
"""Begins the server's error for a request of one image that cannot be used."""

Result = TypeVar("Result")


class TritonEncoder:
    """Encodes on a server.

    Args:
        address: of the server, and how it is asked.

    Raises:
        UserError: nothing answers there, or it serves another model.
    """

    spec = ""

    def __init__(self, address: TritonAddress) -> None:
        self._address = address
        self._slots = asyncio.Semaphore(address.concurrency)
        self._link, config = _run(self._connect())
        parameters = {key: value.string_value for key, value in config.parameters.items()}
        try:
            if CARD_KEY not in parameters or HASH_KEY not in parameters:
                raise UserError(
                    f"{address}: its {ENTRY_MODEL} has no card; serve a bundle that serving.export has made"
                )
            self.card = Card.from_json(parameters[CARD_KEY], f"the card of {address}")
        except UserError:
            _run(self._link.client.close())
            raise
        self.model_hash = parameters[HASH_KEY]
        self._version = str(entry_version(config))
        self._most_images = max(1, min(address.batch, config.max_batch_size))
        self._transport: Transport = open_transport(address, self._link, self.card.outputs)

    def encode(self, images: Sequence[bytes | InputImage]) -> Predictions:
        """Predict; see `serving.encoders.encoder.Encoder.encode`."""
        with stage("encode"):
            future = self.submit(images)
            try:
                return future.result()
            finally:
                future.cancel()  # where this thread was interrupted

    def submit(self, images: Sequence[bytes | InputImage]) -> Future[Predictions]:
        """Begin to predict; see `serving.encoders.encoder.Encoder.submit`."""
        return asyncio.run_coroutine_threadsafe(self._encode(images, seconds_left()), _io_loop())

    def close(self) -> None:
        """Let the connection go. Requests that are on their way come to nothing."""
        _run(self._disconnect())

    async def _connect(self) -> tuple[Link, Any]:
        link = open_link(self._address)
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                with readable_answer():
                    return link, await link.config(ENTRY_MODEL)
        except BaseException as error:
            await link.client.close()
            if isinstance(error, TritonError | TimeoutError):
                raise self._refusal(error, OPEN_SECONDS) from error
            raise

    async def _disconnect(self) -> None:
        await self._transport.close()
        await self._link.client.close()

    async def _encode(self, images: Sequence[bytes | InputImage], seconds: float | None) -> Predictions:
        """Predict; what still waits or is on the server after so many seconds is cancelled."""
        result = Predictions.empty(self.card, len(images))
        named = [InputImage.of(image) for image in images]
        size, antialias = self.card.input_size, self.card.antialias
        if any(image.data is None for image in named):
            # Resizing what was cut from large scenes would hold up everybody's requests on this loop.
            files = await asyncio.to_thread(lambda: [image.to_send(size, antialias) for image in named])
        else:
            files = [image.to_send(size, antialias) for image in named]
        sendable = []
        for index, data in enumerate(files):
            if len(data) > MAX_BYTES:
                # Refused here with the server's own words, rather than sent to be refused there.
                result.errors[index] = _too_large(data, named[index].name)
            else:
                sendable.append(index)

        async def send(batch: list[int]) -> None:
            async with self._slots:
                answer = await self._infer([files[i] for i in batch])
            if good := [row for row, error in enumerate(answer.errors) if not error]:
                values = {name: answer.values[name][good] for name in self.card.outputs}
                rows = [batch[row] for row in good]
                result.fill(rows, values, str(self._address), [named[row].name for row in rows])
            for row, error in enumerate(answer.errors):
                if error:
                    # The server calls every image `image`.
                    result.errors[batch[row]] = named[batch[row]].name + error.removeprefix("image")

        try:
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                for batch in _split(files, sendable, self._images_a_request(len(sendable))):
                    group.create_task(send(batch))
        except TimeoutError as failure:
            raise self._refusal(failure, seconds or 0) from failure
        except ExceptionGroup as failures:
            # The others were cancelled with the first that failed.
            raise failures.exceptions[0] from None
        return result

    def _images_a_request(self, count: int) -> int:
        """Deal a call's images evenly to as few requests as can have them, or to all that may be on the way.

        Large requests cost less; several at a time keep every copy of the network busy.
        """
        several = min(self._address.concurrency, -(-count // FEWEST_IMAGES))
        requests = max(several, -(-count // self._most_images), 1)
        return -(-count // requests)

    async def _infer(self, images: list[bytes]) -> Answer:
        """Send one request, again where the server was away or too busy; all attempts share a deadline."""
        address = self._address
        sent: Attributes = {"server.address": address.server, "images": len(images)}
        try:
            async with asyncio.timeout(address.timeout):
                async for attempt in AsyncRetrying(
                    retry=retry_if_exception(_is_transient),
                    stop=stop_after_attempt(address.attempts),
                    wait=wait_random_exponential(multiplier=0.2, max=MAX_WAIT_SECONDS),
                    reraise=True,
                ):
                    with attempt, readable_answer(), span(f"infer {ENTRY_MODEL}", "client", attributes=sent):
                        answer = await self._transport.infer(images)
        except (TritonError, TimeoutError) as failure:
            _, marker, reason = str(failure).partition(_BAD_IMAGE)
            if marker and len(images) == 1:
                return Answer(self._version, {}, [reason])
            raise self._refusal(failure, address.timeout) from failure
        # A server may change over to another model at any time, whose embeddings are not comparable.
        if answer.version != self._version:
            raise UserError(
                f"{address}: serves version {answer.version} of {ENTRY_MODEL} now, and version "
                f"{self._version} was opened; start again, with a gallery of the new model"
            )
        return answer

    def _refusal(self, failure: Exception, seconds: float) -> UserError:
        if isinstance(failure, TimeoutError):
            return UserError(f"{self._address}: no answer within {seconds:g} s; is the server overloaded?")
        if _is_transient(failure):
            cure = "is it running? Start one with: python -m serving.launch --bundle BUNDLE"
            return UserError(f"{self._address}: no server answers there ({failure}); {cure}")
        return UserError(f"{self._address}: {failure}")


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    """Do it on the loop for servers, and wait."""
    return asyncio.run_coroutine_threadsafe(work, _io_loop()).result()


def _is_transient(failure: BaseException) -> bool:
    return isinstance(failure, TritonError) and failure.transient


def _too_large(data: bytes, name: str) -> str:
    try:
        decode_image(data, name)
    except ImageError as error:
        return str(error)
    raise AssertionError("decode_image takes more bytes than MAX_BYTES")


def _split(files: Sequence[bytes], indices: Sequence[int], size: int) -> Iterator[list[int]]:
    """Deal indices into batches of at most `size` images and MAX_REQUEST_BYTES."""
    batch: list[int] = []
    total = 0
    for index in indices:
        if batch and (len(batch) == size or total + len(files[index]) > MAX_REQUEST_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(index)
        total += len(files[index])
    if batch:
        yield batch


@cache
def _io_loop() -> asyncio.AbstractEventLoop:
    """Return the one loop that this process talks to servers on, in a thread of its own.

    It is started when it is first wanted and ends with the process. Callers with and without a loop of their
    own share it, and so share everything that is done on it.
    """
    ready: Future[asyncio.AbstractEventLoop] = Future()
    ended = asyncio.Event()

    async def run() -> None:
        ready.set_result(asyncio.get_running_loop())
        await ended.wait()

    # asyncio.run also ends what is still on the loop when the process does.
    thread = threading.Thread(target=lambda: asyncio.run(run()), name="serving-io", daemon=True)
    thread.start()
    loop = ready.result()

    def end() -> None:
        loop.call_soon_threadsafe(ended.set)
        thread.join(timeout=5)

    atexit.register(end)
    return loop


# A forked child has the loop but not its thread.
os.register_at_fork(after_in_child=_io_loop.cache_clear)
