"""OpenTelemetry spans, where the environment asks for them; nothing of it is imported where it does not.

The standard variables say where they go: OTEL_TRACES_EXPORTER, OTEL_EXPORTER_OTLP_ENDPOINT, and those that
OpenTelemetry's SDK reads itself. Spans tell times, counts and classes of answers, and nothing of pictures.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any, Literal

from zoo.errors import UserError

Kind = Literal["server", "client", "internal"]
Attributes = dict[str, str | int | float]

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_tracer: Any = None


def start_tracing(service: str, environment: Mapping[str, str] = os.environ) -> None:
    """Export spans from now on, if the environment asks for it; those that still wait go out at the end.

    Args:
        service: what the spans' resource is called where OTEL_SERVICE_NAME says nothing else.
        environment: that asks.

    Raises:
        UserError: it asks for what is not installed.
    """
    names = [name.strip() for name in environment.get("OTEL_TRACES_EXPORTER", "").split(",") if name.strip()]
    if not names and any(environment.get(name) for name in _ENDPOINTS):
        names = ["otlp"]
    if not names or names == ["none"] or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return
    exporters = [_exporter(name, environment) for name in names]
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    own = {} if environment.get("OTEL_SERVICE_NAME") else {"service.name": service}
    provider = TracerProvider(resource=Resource.create(own))
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter()))
    trace_with(provider)


def trace_with(provider: Any) -> None:
    """Make spans by an OpenTelemetry tracer provider, such as one of a program around this; None for none."""
    global _tracer  # noqa: PLW0603
    _tracer = None if provider is None else provider.get_tracer("vehicle_reid")


@contextmanager
def span(
    name: str,
    kind: Kind = "internal",
    caller: Mapping[str, str] | None = None,
    attributes: Attributes | None = None,
) -> Iterator[Attributes]:
    """Let what is done inside be a span, where spans are made.

    Args:
        name: of the span, of few kinds.
        kind: of OpenTelemetry.
        caller: headers of a request, whose `traceparent` the span belongs to; None for the span around it.
        attributes: that are known at once.

    Yields:
        where to put attributes that are known later; `error.type` marks a failure.
    """
    later: Attributes = {}
    if _tracer is None:
        yield later
        return
    from opentelemetry import propagate, trace

    context = None if caller is None else propagate.extract(dict(caller))
    with _tracer.start_as_current_span(
        name,
        context,
        trace.SpanKind[kind.upper()],
        attributes,
        # Messages of errors name files and keys.
        record_exception=False,
        set_status_on_exception=False,
    ) as made:
        try:
            yield later
        except BaseException as error:
            later["error.type"] = type(error).__name__
            raise
        finally:
            made.set_attributes(later)
            if "error.type" in later:
                made.set_status(trace.StatusCode.ERROR)


def outgoing_headers() -> dict[str, str] | None:
    """The headers by which another server takes the current span for its own's parent; None without one."""
    if _tracer is None:
        return None
    from opentelemetry import propagate

    headers: dict[str, str] = {}
    propagate.inject(headers)
    return headers


def _exporter(name: str, environment: Mapping[str, str]) -> Any:
    """The class of an exporter, as OpenTelemetry's own set-up finds it."""
    wanted = name
    if name == "otlp":
        general = environment.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", general)
        wanted = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
    found = list(entry_points(group="opentelemetry_traces_exporter", name=wanted))
    try:
        return found[0].load()
    except (IndexError, ImportError):
        raise UserError(
            f"the environment asks for OpenTelemetry's exporter {name}, which is not installed: "
            "`pip install 'vehicle-reid-zoo[otel]'` has otlp over HTTP and console; or set "
            "OTEL_SDK_DISABLED=true"
        ) from None
