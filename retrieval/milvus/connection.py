"""A connection to Milvus, or to Milvus Lite in a file: where it is, and what its errors mean."""

import importlib.util
import logging
import math
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval.milvus.rows import as_known
from zoo.errors import UserError, from_extra

DEFAULT_NAME = "gallery"
MAX_FETCH = 16_384
"""Milvus returns no more results than this to one search."""

TOKEN = "MILVUS_TOKEN"
"""The environment's variable with `USER:PASSWORD` or an API key: others can read command lines."""

_SECONDS = 30.0
_REMEMBERED = 60.0
"""Seconds after a write of this process in which its searches ask for it; later ones see it anyway."""
_BATCH = 1000


@dataclass(frozen=True)
class Address:
    """Where a gallery is: `uri` as Milvus' client takes it, and the name of the collection.

    Attributes:
        file: of Milvus Lite; None for a server.
    """

    uri: str
    collection: str
    file: Path | None = None


def parse_address(name: str) -> Address:
    """Read `milvus://HOST:PORT/NAME`, `milvus+tls://HOST:PORT/NAME`, or `milvus:FILE.db` for Milvus Lite.

    Raises:
        UserError: another form.
    """
    server = re.fullmatch(r"milvus(\+tls)?://([^/@\s]+:\d+)/([A-Za-z_][A-Za-z0-9_]{0,200})", name)
    if server:
        return Address(f"{'https' if server[1] else 'http'}://{server[2]}", server[3])
    lite = re.fullmatch(r"milvus:(?!//)(.*\.db)", name)
    if lite:
        file = Path(lite[1]).resolve()
        return Address(str(file), DEFAULT_NAME, file)
    raise UserError(
        f"{name}: not a gallery in Milvus; the form is milvus://HOST:PORT/NAME (letters, digits and _ in the "
        f"name), milvus+tls://HOST:PORT/NAME, or milvus:FILE.db for Milvus Lite; a password goes into {TOKEN}"
    )


class Connection:
    """Milvus' client, whose errors are a user's errors.

    Raises:
        UserError: no Milvus there, or the extra `milvus` is not installed.
    """

    def __init__(self, name: str, address: Address) -> None:
        try:
            from pymilvus import MilvusClient
            from pymilvus.exceptions import MilvusException
        except ImportError as error:
            raise _extra_missing(name) from error
        if address.file is not None and importlib.util.find_spec("milvus_lite") is None:
            raise _extra_missing(name)
        # They log every error with its traceback, and raise it as well.
        for logger in ("pymilvus", "milvus_lite", "grpc._server"):
            logging.getLogger(logger).setLevel(logging.CRITICAL)
        # A server in this process needs no sign of life, and turns a client away that sends one too often.
        options: dict[str, Any] = (
            {"token": os.environ.get(TOKEN, "")}
            if address.file is None
            else {"grpc_options": {"grpc.keepalive_time_ms": 2**31 - 1}}
        )
        self._name = name
        self._written = -math.inf
        self._failure: type[Exception] = MilvusException
        try:
            self._client = MilvusClient(uri=address.uri, timeout=_SECONDS, **options)
        except MilvusException as error:
            reason = (
                "another process has it open, or it is no file of Milvus Lite, which serves one process at a "
                "time; a Milvus server serves many"
                if address.file is not None
                else f"no Milvus answers there ({_first_line(error)}); start it, or mend the address "
                f"or {TOKEN}"
            )
            raise UserError(f"{name}: {reason}") from error

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of the client.

        Raises:
            UserError: Milvus fails.
        """
        try:
            answer = getattr(self._client, method)(*arguments, **options)
        except self._failure as error:
            raise self._told(error) from error
        if method in ("upsert", "delete"):
            self._written = time.monotonic()
        return answer

    def recent(self, method: str, *arguments: Any, **options: Any) -> Any:
        """`call` for what a search reads: it sees all that this process wrote, and what others wrote.

        Of others' writes the last may be missing: some 200 ms of them, and never more than the few seconds
        that the server allows (5 unless it was told otherwise). To see those, too, a search would wait for
        Milvus' next tick, many times as long as it takes itself.
        """
        has_written = time.monotonic() - self._written < _REMEMBERED
        level = "Session" if has_written else "Bounded"
        return self.call(method, *arguments, consistency_level=level, **options)

    def scan(self, collection: str, expression: str, fields: list[str]) -> Iterator[list[dict[str, Any]]]:
        """All rows of images that meet an expression, in batches.

        Raises:
            UserError: Milvus fails.
        """
        rows = self.call(
            "query_iterator", collection, batch_size=_BATCH, filter=expression, output_fields=fields
        )
        try:
            while batch := rows.next():
                yield [as_known(row) for row in batch]
        except self._failure as error:
            raise self._told(error) from error
        finally:
            rows.close()

    def close(self) -> None:
        """Let the connection go; a file of Milvus Lite is this process's until it ends."""
        self._client.close()

    def _told(self, error: Exception) -> UserError:
        return UserError(f"{self._name}: Milvus fails: {_first_line(error)}; what it acknowledged is kept")


def _first_line(error: Exception) -> str:
    text = str(getattr(error, "message", "")) or str(error)
    return text.strip().splitlines()[0] if text.strip() else type(error).__name__


def _extra_missing(name: str) -> UserError:
    return UserError(
        f"{name}: a gallery in Milvus needs pymilvus, and milvus-lite for a file; it {from_extra('milvus')}"
    )
