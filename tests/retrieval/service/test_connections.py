"""Connections that say nothing, or too little, or are too many; and a log that does not fill the disk."""

import logging
import random
import socket
from collections import Counter
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from retrieval.service import connections
from retrieval.service.connections import GuardedProtocol, SparingFilter
from tests.retrieval.service.serving_thread import served


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body, and answers with 64 MB on /large."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(64 if scope["path"] == "/large" else 0):
        await send({"type": "http.response.body", "body": bytes(2**20), "more_body": True})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(connections, "SILENT_SECONDS", 0.3)
    monkeypatch.setattr(GuardedProtocol, "open", Counter())


def connect(url: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((address.hostname or "", address.port or 0), timeout=20)


def rest_of(connection: socket.socket) -> bytes:
    """What comes until the service hangs up."""
    found = b""
    try:
        while data := connection.recv(2**20):
            found += data
    except ConnectionResetError:
        pass
    return found


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"GET / HT",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n123",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1GET / HTTP/1.1\r\n",
    ],
    ids=["nothing", "half a head", "half a body", "half of the next"],
)
def test_silent_connections_are_closed(begin: bytes) -> None:
    with served(app, http=GuardedProtocol, timeout_keep_alive=1) as url, connect(url) as connection:
        connection.sendall(begin)
        answer = rest_of(connection)
        assert answer.startswith(b"HTTP/1.1 200") == (b"1GET" in begin)
        assert httpx.get(url, trust_env=False).text == "ok"


def test_who_does_not_read_is_hung_up_on() -> None:
    with served(app, http=GuardedProtocol) as url:
        with connect(url) as connection:
            connection.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            with httpx.Client(base_url=url, trust_env=False) as other:
                assert other.get("/").text == "ok"
                while GuardedProtocol.open["127.0.0.1"] > 1:
                    assert other.get("/").text == "ok"
            assert len(rest_of(connection)) < 64 * 2**20
        assert len(httpx.get(f"{url}/large", trust_env=False).content) > 64 * 2**20


def test_no_more_connections_than_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 30.0)
    monkeypatch.setattr(connections, "MAX_PER_ADDRESS", 3)
    with served(app, http=GuardedProtocol) as url:
        kept = [connect(url) for _ in range(3)]
        with connect(url) as refused:
            assert rest_of(refused) == b""
        for connection in kept:
            connection.close()
        while GuardedProtocol.open:
            pass
        assert httpx.get(url, trust_env=False).text == "ok"
        monkeypatch.setattr(GuardedProtocol, "limit", 0)
        with pytest.raises(httpx.TransportError):
            httpx.get(url, trust_env=False)


def test_a_fault_that_repeats_itself_is_logged_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever clock the records are of, which somebody may set."""
    sparing, chance = SparingFilter(), random.Random(0)

    def logged(line: int, seconds: float) -> str | None:
        record = logging.LogRecord("a", logging.ERROR, "file", line, "out of files", (), None)
        record.created = chance.choice([0.0, 1e9, 3e9])
        monkeypatch.setattr(connections.time, "monotonic", lambda: seconds)
        return record.getMessage() if sparing.filter(record) else None

    assert [logged(1, 100.0 + n / 100) for n in range(1000)].count(None) == 995
    assert logged(2, 110.0) == "out of files"
    assert logged(1, 170.0) == "out of files (995 more like it in the last minutes)"
    assert logged(1, 171.0) == "out of files"
