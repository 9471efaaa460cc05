"""The two protocols of a Triton server behind one face, asynchronous: the same calls, the same errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NoReturn, Protocol

from serving.triton.address import TritonAddress
from serving.triton.client import channel_options, require_client
from zoo.errors import UserError

_LONGEST = 500
"""Letters of what a server says that are passed on."""


def one_line(text: str) -> str:
    """What a server says, which may be anything, as a part of one line."""
    text = " ".join(text.replace("\0", " ").split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} .."


class TritonError(Exception):
    """A request that got no answer.

    Attributes:
        transient: whether it may succeed a moment later: no connection, or a full queue. A deadline that has
            passed is not transient, for the time is spent, nor is an image that cannot be used.
    """

    def __init__(self, reason: str, transient: bool = False) -> None:
        super().__init__(one_line(reason))
        self.transient = transient


@contextmanager
def readable_answer() -> Iterator[None]:
    """Turn what a client stumbles over in a malformed answer into a `TritonError`.

    A client reads what comes as if only Triton could have sent it, and raises whatever that leads to.
    """
    try:
        yield
    except (TritonError, UserError, TimeoutError):
        raise
    except Exception as error:
        raise TritonError(
            f"what it answers is none of Triton's answers ({type(error).__name__}: {error}); is another "
            "service at this address, or a proxy before it?"
        ) from error


class Link(Protocol):
    """A connection to a server; made and used on one event loop.

    Attributes:
        tensors: module with this protocol's InferInput and InferRequestedOutput.
        client: tritonclient's asynchronous client. Its calls raise what `fail` takes.
        errors: types of the exceptions that a failing server or connection raises.
    """

    tensors: ModuleType
    client: Any
    errors: tuple[type[Exception], ...]

    async def config(self, model: str) -> Any:
        """Return a model's `ModelConfig`."""
        ...

    def fail(self, error: Exception) -> NoReturn:
        """Raise a TritonError that says what an exception of `errors` means."""
        ...

    def version(self, result: Any) -> str:
        """Say which version of the model gave an `InferResult`."""
        ...

    def form(self, result: Any, name: str) -> tuple[str, tuple[int, ...]]:
        """Say what data type and shape an output has, wherever its numbers are."""
        ...


def open_link(address: TritonAddress) -> Link:
    """Make a connection. Nothing is sent yet.

    Raises:
        UserError: tritonclient is not installed.
    """
    require_client(address.protocol)
    return GrpcLink(address) if address.protocol == "grpc" else HttpLink(address)


_UNAVAILABLE = (
    "Exceeds maximum queue size",
    "Request timeout expired",
    "has no available versions",
    "not ready",
)
"""What Triton says where it refuses a request that may be asked again."""


class GrpcLink:
    """Speaks gRPC."""

    def __init__(self, address: TritonAddress) -> None:
        import grpc
        import tritonclient.grpc
        import tritonclient.grpc.aio
        from tritonclient.utils import InferenceServerException

        self.tensors: ModuleType = tritonclient.grpc
        self.client: Any = tritonclient.grpc.aio.InferenceServerClient(
            address.server, channel_args=channel_options(address.server)
        )
        self.errors: tuple[type[Exception], ...] = (InferenceServerException, grpc.RpcError)

    async def config(self, model: str) -> Any:
        """See `Link`."""
        try:
            return (await self.client.get_model_config(model)).config
        except self.errors as error:
            self.fail(error)

    def fail(self, error: Any) -> NoReturn:
        """See `Link`."""
        # tritonclient keeps the code as text; an error that comes along a stream is gRPC's own.
        code = str(error.code()) if hasattr(error, "code") else str(error.status())
        text = error.details() if hasattr(error, "details") else error.message()
        code = code.removeprefix("StatusCode.")
        if code == "None":  # an answer on a stream, which has a text alone
            code = "UNAVAILABLE" if any(words in text for words in _UNAVAILABLE) else "FAILED"
        raise TritonError(f"{code}: {text}", transient=code == "UNAVAILABLE") from error

    def version(self, result: Any) -> str:
        """See `Link`."""
        return str(result.get_response().model_version)

    def form(self, result: Any, name: str) -> tuple[str, tuple[int, ...]]:
        """See `Link`."""
        output = result.get_output(name)
        return output.datatype, tuple(output.shape)


class HttpLink:
    """Speaks HTTP."""

    def __init__(self, address: TritonAddress) -> None:
        import aiohttp
        import tritonclient.http
        import tritonclient.http.aio
        from tritonclient.utils import InferenceServerException

        self.tensors: ModuleType = tritonclient.http
        # Whoever asks has a deadline; the client's own, a minute by default, must not come before it.
        self.client: Any = tritonclient.http.aio.InferenceServerClient(
            address.server, conn_limit=address.concurrency, conn_timeout=2 * address.timeout
        )
        self._lost = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)
        self.errors: tuple[type[Exception], ...] = (InferenceServerException, *self._lost)

    async def config(self, model: str) -> Any:
        """See `Link`."""
        from google.protobuf.json_format import ParseDict
        from tritonclient.grpc import model_config_pb2

        try:
            found = await self.client.get_model_config(model)
        except self.errors as error:
            self.fail(error)
        return ParseDict(found, model_config_pb2.ModelConfig(), ignore_unknown_fields=True)

    def fail(self, error: Any) -> NoReturn:
        """See `Link`."""
        if isinstance(error, self._lost):
            raise TritonError(f"no connection: {error}", transient=True) from error
        unavailable = error.status() == "503"
        raise TritonError(f"HTTP {error.status()}: {error.message()}", transient=unavailable) from error

    def version(self, result: Any) -> str:
        """See `Link`."""
        return str(result.get_response()["model_version"])

    def form(self, result: Any, name: str) -> tuple[str, tuple[int, ...]]:
        """See `Link`."""
        output = result.get_output(name)
        return output["datatype"], tuple(output["shape"])
