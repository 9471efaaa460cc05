"""Who searched for what, and what they were shown: one JSON line a search, and never an image."""

import fcntl
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from retrieval.gallery.filters import Filters
from serving.encoders.trace import current_trace
from zoo.errors import UserError


class Audit:
    """A log that is only ever appended to.

    The file is opened for each line, so that it can be moved away at any time, and a line is written whole.

    Args:
        path: None for no log.

    Raises:
        UserError: the file cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._append(b"")

    def record(
        self, caller: str | None, endpoint: str, filters: Filters, results: Sequence[str], **asked: Any
    ) -> None:
        """Write a line down, before the results are shown.

        Args:
            caller: the name of the key.
            endpoint: what was asked.
            filters: the conditions; those that do not filter are left out.
            results: keys, in order.
            asked: what else tells the searches apart, such as the key that was asked with.

        Raises:
            UserError: it cannot be written; the search must not be answered then.
        """
        if self._path is None:
            return
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "key_name": caller,
            **({"request_id": trace.id} if (trace := current_trace()) is not None else {}),
            "endpoint": endpoint,
            **{name: value for name, value in asked.items() if value},
            "filters": {
                name: value for name, value in asdict(filters).items() if value != getattr(Filters(), name)
            },
            "results": list(results),
        }
        self._append(json.dumps(line, ensure_ascii=False).encode(errors="replace") + b"\n")

    def _append(self, line: bytes) -> None:
        if self._path is None:
            return
        try:
            # Whom somebody looks for is for few to read.
            file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                # Nobody's line is looked at while it is being written.
                with suppress(OSError):
                    fcntl.flock(file, fcntl.LOCK_EX)
                size = os.fstat(file).st_size
                # What a full disk has cut short stays a line of its own.
                if line and size and os.pread(file, 1, size - 1) != b"\n":
                    line = b"\n" + line
                if os.write(file, line) != len(line):
                    raise OSError("no space is left")
            finally:
                os.close(file)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UserError(
                f"the audit log cannot be written ({reason}), and no search is answered without; "
                "free some space, or mend --audit"
            ) from error
