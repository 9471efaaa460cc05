"""Where a Triton server is and how it is asked, as one string: `triton:grpc://HOST:PORT?transport=stream`."""

from dataclasses import dataclass, fields
from typing import Literal, get_args
from urllib.parse import parse_qsl, urlsplit

from zoo.errors import UserError

PREFIX = "triton:"

Protocol = Literal["grpc", "http"]
Transport = Literal["message", "stream", "shared-memory"]

FORM = "triton:grpc://HOST:PORT or triton:http://HOST:PORT"


@dataclass(frozen=True)
class TritonAddress:
    """A server and how it is asked.

    Attributes:
        server: `host:port` of the service that speaks `protocol`.
        protocol: `grpc` or `http`.
        transport: how requests travel. `message` sends each as a call of its own; `stream` sends them one
            after the other on gRPC streams that stay open; `shared-memory` leaves images and embeddings in
            memory that a server on this host maps, and sends their places.
        batch: images of a request at most; a call's are dealt evenly, to several requests where there are
            many for one. The server decodes one request while it computes another, and merges them.
        concurrency: requests that wait for the server at a time.
        timeout: seconds from a request's first attempt to its answer.
        attempts: that a request gets where the server is away or too busy.
    """

    server: str
    protocol: Protocol = "grpc"
    transport: Transport = "message"
    batch: int = 16
    concurrency: int = 4
    timeout: float = 120.0
    attempts: int = 5

    @classmethod
    def parse(cls, spec: str) -> "TritonAddress":
        """Read a spec; what comes after `?` are the attributes by name, joined by `&`.

        Raises:
            UserError: another form, an unknown option, or a value out of its range.
        """
        try:
            url = urlsplit(spec.removeprefix(PREFIX))
            given = parse_qsl(url.query, keep_blank_values=True, strict_parsing=True) if url.query else []
            sound = bool(url.hostname and url.port) and url.path in ("", "/") and not url.fragment
        except ValueError:
            given, sound = [], False
        if not (spec.startswith(PREFIX) and url.scheme in get_args(Protocol) and sound):
            raise UserError(f"{spec}: not an encoder; the form is {FORM}")
        options: dict[str, str] = {}
        known = {field.name for field in fields(cls)} - {"server", "protocol"}
        for name, value in given:
            if name not in known or name in options:
                problem = "is given twice" if name in options else "is not known"
                raise UserError(f"{spec}: option {name!r} {problem}; there are {', '.join(sorted(known))}")
            options[name] = value
        if (transport := options.pop("transport", "message")) not in get_args(Transport):
            raise UserError(
                f"{spec}: transport is one of {', '.join(get_args(Transport))}, not {transport!r}"
            )
        if transport == "stream" and url.scheme != "grpc":
            raise UserError(f"{spec}: only gRPC has streams; use triton:grpc://")
        numbers = {
            name: _number(spec, name, value, float if name == "timeout" else int)
            for name, value in options.items()
        }
        return cls(url.netloc, url.scheme, transport, **numbers)  # type: ignore[arg-type]

    def __str__(self) -> str:
        """The spec, options left out."""
        return f"{PREFIX}{self.protocol}://{self.server}"


def _number(spec: str, name: str, text: str, kind: type[int] | type[float]) -> int | float:
    try:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise ValueError
    except ValueError as error:
        what = "a whole number" if kind is int else "a number"
        raise UserError(f"{spec}: {name} is {what} above 0, not {text!r}") from error
    return value
