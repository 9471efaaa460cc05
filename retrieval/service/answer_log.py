"""A line for every answer of the service, for people or for programs, without what was asked or shown."""

import json
import sys
from collections import Counter
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from serving.encoders.trace import Trace

Level = Literal["off", "error", "info", "debug"]
LEVELS: tuple[Level, ...] = ("off", "error", "info", "debug")
Form = Literal["text", "json"]
FORMS: tuple[Form, ...] = ("text", "json")

SUPERVISED = ("health", "ready", "metrics", "page")
"""Endpoints that are asked all the time, by supervisors and by open pages."""


class AnswerLog:
    """Writes lines.

    Args:
        level: `error` for answers with status 500 and above, `info` for all that somebody waits for,
            `debug` for those to supervisors and of the page's parts as well.
        form: `text` or one JSON object a line.
        stream: where to; None for stderr.
    """

    def __init__(self, level: Level = "off", form: Form = "text", stream: TextIO | None = None) -> None:
        self._level = LEVELS.index(level)
        self._form = form
        self._stream = stream or sys.stderr

    def write(self, endpoint: str, status: int, **facts: Any) -> None:
        """Write a line of an answer, where the level asks for it.

        Args:
            endpoint: see `retrieval.service.prometheus.endpoint_of`.
            status: of HTTP.
            facts: the rest; what is None or empty is left out.
        """
        level: Level = "error" if status >= 500 else "debug" if endpoint in SUPERVISED else "info"
        if self._level < LEVELS.index(level):
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": now, "level": level, "endpoint": endpoint, "status": status}
        line |= {name: value for name, value in facts.items() if value not in (None, {}, "")}
        if self._form == "json":
            text = json.dumps(line, ensure_ascii=False)
        else:
            text = " ".join(f"{name}={_plain(value)}" for name, value in line.items())
        print(text, file=self._stream, flush=True)

    def answer(self, endpoint: str, status: int, trace: Trace, seconds: float, **facts: Any) -> None:
        """Write a line of an answer with its id, its time and where that went, and its verdicts."""
        self.write(
            endpoint,
            status,
            **facts,
            request_id=trace.id,
            seconds=round(seconds, 4),
            stages={name: round(value, 4) for name, value in trace.seconds.items()},
            verdicts=dict(Counter(trace.verdicts)),
        )


def _plain(value: Any) -> str:
    """A value without spaces and line breaks, so that a line stays one and its parts apart."""
    if isinstance(value, dict):
        return ",".join(f"{name}:{_plain(each)}" for name, each in value.items())
    text = str(value).replace(" ", "_")
    return "".join(character if character.isprintable() else "?" for character in text)
