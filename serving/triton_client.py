"""How this project connects to a Triton server's gRPC service."""

from typing import TYPE_CHECKING

from zoo.errors import UserError

if TYPE_CHECKING:
    from tritonclient.grpc import InferenceServerClient

_MAX_MESSAGE_BYTES = 2**31 - 1


def require_client() -> None:
    """Make sure that the client is installed, before anything is started for it.

    Raises:
        UserError: it is not.
    """
    try:
        import tritonclient.grpc  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"a Triton server needs tritonclient ({error}); it comes with the extra `triton`: "
            "pip install -e '.[triton]'"
        ) from error


def connect(address: str) -> "InferenceServerClient":
    """Make a client of the server at `host:port`. Nothing is sent yet.

    Raises:
        UserError: tritonclient is not installed.
    """
    require_client()
    import tritonclient.grpc as grpcclient

    # gRPC obeys http_proxy even for the loopback address, where no proxy can help.
    local = address.rpartition(":")[0] in ("127.0.0.1", "localhost", "[::1]")
    options = [
        ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.enable_http_proxy", 0 if local else 1),
    ]
    return grpcclient.InferenceServerClient(address, channel_args=options)


def is_transient(error: BaseException) -> bool:
    """Tell an error that may be gone a moment later (no connection, a full queue) from one that will not.

    A deadline that has passed is not: the time is spent. An image that cannot be used never is.
    """
    return isinstance(error, triton_errors()) and "UNAVAILABLE" in str(error)


def triton_errors() -> tuple[type[Exception], ...]:
    """Name the exceptions that a failing server or connection raises."""
    import grpc
    from tritonclient.utils import InferenceServerException

    return (InferenceServerException, grpc.RpcError)
