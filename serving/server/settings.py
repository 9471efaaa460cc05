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
    """

    cache_bytes: int = 64 * 2**20
    poll_seconds: int = 0
    trace: Path | None = None
    trace_rate: int = 1000

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            UserError: a value is out of its range.
        """
        for name, least in (("cache_bytes", 1), ("poll_seconds", 0), ("trace_rate", 1)):
            if getattr(self, name) < least:
                raise UserError(f"{name} = {getattr(self, name)}: at least {least} is expected")

    def flags(self) -> list[str]:
        """Write them as the server's flags."""
        flags = []
        if self.poll_seconds:
            flags += ["--model-control-mode=poll", f"--repository-poll-secs={self.poll_seconds}"]
        if self.trace is not None:
            settings = (f"rate={self.trace_rate}", "level=TIMESTAMPS", f"triton,file={self.trace.absolute()}")
            flags += [f"--trace-config={setting}" for setting in settings]
        return flags
