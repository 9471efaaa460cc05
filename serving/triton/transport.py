"""How requests travel to a Triton server: as messages, on streams that stay open, or through shared memory.

All asynchronous, made and used on one event loop. A transport knows nothing of retries and deadlines.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from serving.triton.address import TritonAddress
from serving.triton.configs import ENTRY_MODEL
from serving.triton.link import Link, TritonError, one_line
from serving.triton.request_id import REQUEST_ID
from serving.triton.shared_region import SharedRegion
from serving.triton.spans import outgoing_headers

_LAST_ANSWERS = 5.0
"""Seconds for answers that nobody waits for any more: those of closed streams, and of regions let go."""


@dataclass(frozen=True)
class Answer:
    """What the entry model answered.

    Attributes:
        version: of the entry model that answered.
        values: the card's outputs by name, float32 [N, dimension].
        errors: why an image could not be used, empty where it could, row by row.
    """

    version: str
    values: dict[str, np.ndarray]
    errors: list[str]


class Transport(Protocol):
    """Carries requests of encoded images; at most as many at a time as the address says."""

    async def infer(self, images: list[bytes]) -> Answer:
        """Send one request.

        Raises:
            TritonError: the server refused it, failed, or could not be reached.
        """
        ...

    async def close(self) -> None:
        """Let go of what was opened, the link's client left out."""
        ...


def open_transport(address: TritonAddress, link: Link, outputs: dict[str, int]) -> Transport:
    """Make the transport that an address names, for a model of these outputs (name -> dimension)."""
    if address.transport == "stream":
        return StreamTransport(link, outputs)
    if address.transport == "shared-memory":
        return SharedMemoryTransport(link, outputs)
    return MessageTransport(link, outputs)


class MessageTransport:
    """Each request is a call of its own."""

    def __init__(self, link: Link, outputs: dict[str, int]) -> None:
        self._link, self._outputs = link, outputs

    async def infer(self, images: list[bytes]) -> Answer:
        """See `Transport`."""
        try:
            headers = outgoing_headers()
            result = await self._link.client.infer(ENTRY_MODEL, headers=headers, **self._request(images))
        except self._link.errors as error:
            self._link.fail(error)
        return self._read(result, len(images))

    async def close(self) -> None:
        """See `Transport`."""

    def _request(self, images: list[bytes]) -> dict[str, Any]:
        tensors = self._link.tensors
        tensor = tensors.InferInput("image_bytes", [len(images), 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[data] for data in images], dtype=np.object_))
        outputs = [tensors.InferRequestedOutput(name) for name in (*self._outputs, "error")]
        return {"inputs": [tensor], "outputs": outputs, "request_id": REQUEST_ID.get()}

    def _read(self, result: Any, count: int) -> Answer:
        check_forms(self._link, result, self._outputs, count)
        values = {name: result.as_numpy(name) for name in self._outputs}
        return Answer(self._link.version(result), values, read_errors(result, count))


class StreamTransport(MessageTransport):
    """Requests follow each other on gRPC streams; a stream carries one at a time.

    Headers are of a stream, so that no request tells its span.
    """

    def __init__(self, link: Link, outputs: dict[str, int]) -> None:
        super().__init__(link, outputs)
        self._idle: list[_Stream] = []
        self._ending: set[asyncio.Task[None]] = set()

    async def infer(self, images: list[bytes]) -> Answer:
        """See `Transport`."""
        stream = self._idle.pop() if self._idle else _Stream(self._link)
        try:
            result, failure = await stream.ask({"model_name": ENTRY_MODEL, **self._request(images)})
        except BaseException:
            # Also when nobody waits any longer: the answer would be taken for that of the next request.
            self._end(stream)
            raise
        self._idle.append(stream)
        if failure is not None:
            self._link.fail(failure)
        return self._read(result, len(images))

    async def close(self) -> None:
        """See `Transport`."""
        while self._idle:
            self._end(self._idle.pop())
        if self._ending:
            await asyncio.wait(self._ending, timeout=_LAST_ANSWERS)

    def _end(self, stream: "_Stream") -> None:
        task = asyncio.ensure_future(stream.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


class _Stream:
    def __init__(self, link: Link) -> None:
        self._link = link
        self._requests: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._answer: asyncio.Future[Any] | None = None
        # Without the header `triton_grpc_error`: with it a failing request ends its stream, and Triton 2.51
        # can crash then (`HandleCancellation called even when the context was not cancelled`).
        self._answers = link.client.stream_infer(self._feed())

    async def _feed(self) -> AsyncIterator[dict[str, Any]]:
        while (request := await self._requests.get()) is not None:
            yield request

    async def ask(self, request: dict[str, Any]) -> tuple[Any, Exception | None]:
        self._requests.put_nowait(request)
        self._answer = asyncio.ensure_future(self._next())
        try:
            # gRPC cancels a stream whose reader is cancelled; see `end`.
            answer = await asyncio.shield(self._answer)
        except self._link.errors as error:
            self._link.fail(error)
        if answer is None:
            raise TritonError("the server ended the stream", transient=True)
        return answer

    async def _next(self) -> Any:
        return await anext(self._answers, None)

    async def end(self) -> None:
        """Ask nothing more, and throw away what is still answered.

        A stream that is cancelled while the server has a request of it can crash Triton 2.51, which then
        touches what the cancellation has freed.
        """
        self._requests.put_nowait(None)
        with contextlib.suppress(*self._link.errors, asyncio.CancelledError):
            if self._answer is not None:
                await self._answer
            while await self._next() is not None:
                pass


class SharedMemoryTransport:
    """Images and embeddings lie in memory that the server has mapped; only their places are sent."""

    def __init__(self, link: Link, outputs: dict[str, int]) -> None:
        self._link, self._outputs = link, outputs
        self._idle: list[SharedRegion] = []

    async def infer(self, images: list[bytes]) -> Answer:
        """See `Transport`."""
        from tritonclient.utils import serialize_byte_tensor

        payload = serialize_byte_tensor(np.array([[data] for data in images], dtype=np.object_)).item()
        places, end = {}, 0
        for name, dimension in self._outputs.items():
            places[name] = (end, 4 * len(images) * dimension)
            end += 4 * len(images) * dimension
        region = await self._take(end + len(payload))
        tensors = self._link.tensors
        tensor = tensors.InferInput("image_bytes", [len(images), 1], "BYTES")
        tensor.set_shared_memory(region.name, len(payload), end)
        outputs = [tensors.InferRequestedOutput("error")]
        for name, (offset, size) in places.items():
            outputs.append(tensors.InferRequestedOutput(name))
            outputs[-1].set_shared_memory(region.name, size, offset)
        try:
            region.memory[end : end + len(payload)] = payload
            result = await self._link.client.infer(
                ENTRY_MODEL,
                [tensor],
                outputs=outputs,
                request_id=REQUEST_ID.get(),
                headers=outgoing_headers(),
            )
            check_forms(self._link, result, self._outputs, len(images))
            errors = read_errors(result, len(images))
            values = {
                name: np.frombuffer(region.memory[offset : offset + size], np.float32).reshape(
                    len(images), -1
                )
                for name, (offset, size) in places.items()
            }
        except BaseException as error:
            # The server may still write there, so nobody else may have it.
            await asyncio.shield(self._drop(region))
            if isinstance(error, self._link.errors):
                if "shared memory region" in str(error):  # a server that was started again does not know it
                    raise TritonError(str(error), transient=True) from error
                self._link.fail(error)
            raise
        self._idle.append(region)
        return Answer(self._link.version(result), values, errors)

    async def close(self) -> None:
        """See `Transport`."""
        while self._idle:
            await self._drop(self._idle.pop())

    async def _take(self, size: int) -> SharedRegion:
        """Return a region of at least `size` bytes that the server has mapped."""
        if self._idle:
            region = self._idle.pop()
            if len(region.memory) >= size:
                return region
            await self._drop(region)
        # Room to spare, for the next request is often a little larger.
        region = SharedRegion(max(2**20, 1 << (size - 1).bit_length()))
        try:
            await self._link.client.register_system_shared_memory(region.name, region.key, len(region.memory))
        except BaseException as error:
            region.close()
            if not isinstance(error, self._link.errors):
                raise
            if "open shared memory" in str(error):
                raise TritonError(
                    f"the server cannot open this process's shared memory ({error}); run both on one host as "
                    "one user, a container with --ipc=host, or leave transport=shared-memory out"
                ) from error
            self._link.fail(error)
        # Mapped on both sides, it needs no name; without one, it goes with the last who has it mapped.
        region.unlink()
        return region

    async def _drop(self, region: SharedRegion) -> None:
        # A server that does not answer must not keep whoever has just given up on it.
        with contextlib.suppress(*self._link.errors, TimeoutError):
            async with asyncio.timeout(_LAST_ANSWERS):
                await self._link.client.unregister_system_shared_memory(region.name)
        region.close()


def check_forms(link: Link, result: Any, outputs: dict[str, int], count: int) -> None:
    """Make sure that outputs came whole.

    Raises:
        TritonError: one did not.
    """
    for name, dimension in outputs.items():
        kind, shape = link.form(result, name)
        if (kind, shape) != ("FP32", (count, dimension)):
            raise TritonError(
                f"answered {name} as {kind} of shape {list(shape)}, not FP32 of {[count, dimension]}; look "
                "at the log, restart the server"
            )


def read_errors(result: Any, count: int) -> list[str]:
    """Read the texts of the `error` output, row by row.

    Raises:
        TritonError: there is not one for each row.
    """
    texts = result.as_numpy("error")
    if np.shape(texts) != (count, 1):
        raise TritonError(f"answered error as {list(np.shape(texts))}, not {[count, 1]}; restart the server")
    return [one_line(text.decode()) for text in texts[:, 0]]
