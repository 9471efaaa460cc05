"""What a server is told beside its repository: cache, polling, tracing."""

from dataclasses import dataclass
from pathlib import Path

from zoo.errors import UserError


@dataclass(frozen=True)
class ServerSettings:
    """Settings of one start.

    Attributes:
        cache_bytes: size of the response cache, where the repository asks for one.
        poll_seconds: between looks at the repository for a new version; 0 for never.
        trace: file that the timestamps of requests are written to; None for no tracing.
        trace_rate: one request of so many is traced.
        trace_otlp: where spans of OpenTelemetry go instead, such as http://127.0.0.1:4318/v1/traces.
    """

    cache_bytes: int = 64 * 2**20
    poll_seconds: int = 0
    trace: Path | None = None
    trace_rate: int = 1000
    trace_otlp: str = ""

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            UserError: a value is out of its range, or traces are to go to two places.
        """
        if self.trace is not None and self.trace_otlp:
            raise UserError("--trace and --trace-otlp: the server writes one of them; leave the other out")
        for name, least in (("cache_bytes", 1), ("poll_seconds", 0), ("trace_rate", 1)):
            if getattr(self, name) < least:
                raise UserError(f"{name} = {getattr(self, name)}: at least {least} is expected")

    def flags(self) -> list[str]:
        """Write them as the server's flags."""
        flags = []
        if self.poll_seconds:
            flags += ["--model-control-mode=poll", f"--repository-poll-secs={self.poll_seconds}"]
        if self.trace is not None:
            flags += self._trace_flags(f"triton,file={self.trace.absolute()}")
        if self.trace_otlp:
            flags += self._trace_flags("mode=opentelemetry", f"opentelemetry,url={self.trace_otlp}")
        return flags

    def _trace_flags(self, *settings: str) -> list[str]:
        both = (f"rate={self.trace_rate}", "level=TIMESTAMPS", *settings)
        return [f"--trace-config={setting}" for setting in both]
