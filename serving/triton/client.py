"""How this project connects to a Triton server's gRPC service."""

import importlib
from typing import TYPE_CHECKING

from zoo.errors import UserError, from_extra

if TYPE_CHECKING:
    from tritonclient.grpc import InferenceServerClient

_MAX_MESSAGE_BYTES = 2**31 - 1


def require_client(protocol: str = "grpc") -> None:
    """Make sure that the client of a protocol is installed, before anything is started for it.

    Raises:
        UserError: it is not.
    """
    try:
        importlib.import_module(f"tritonclient.{protocol}.aio")
    except ImportError as error:
        raise UserError(f"a Triton server needs tritonclient ({error}); it {from_extra('triton')}") from error


def connect(address: str) -> "InferenceServerClient":
    """Make a client of the server at `host:port`. Nothing is sent yet.

    Raises:
        UserError: tritonclient is not installed.
    """
    require_client()
    import tritonclient.grpc as grpcclient

    return grpcclient.InferenceServerClient(address, channel_args=channel_options(address))


def channel_options(address: str) -> list[tuple[str, int]]:
    """gRPC's options for a server at `host:port`."""
    # gRPC obeys http_proxy even for the loopback address, where no proxy can help.
    local = address.rpartition(":")[0] in ("127.0.0.1", "localhost", "[::1]")
    return [
        ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.enable_http_proxy", 0 if local else 1),
        # Until it connects again, gRPC fails every call at once. Left alone it waits up to two minutes, long
        # after the retries of a server that is there again have run out.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 500),
    ]


def triton_errors() -> tuple[type[Exception], ...]:
    """Name the exceptions that a failing server or connection raises."""
    import grpc
    from tritonclient.utils import InferenceServerException

    return (InferenceServerException, grpc.RpcError)
