"""Connections that go silent anywhere, by hundreds: a good request is answered meanwhile."""

import contextlib
import random
import socket
from urllib.parse import urlsplit

import httpx

from tests.adversary.conftest import Home, Trials
from tests.retrieval.running_app import running_app

KEPT = 400
"""Fewer than an address may have open."""


def _request(chance: random.Random, image: bytes) -> bytes:
    """One that is sound, or nearly."""
    body = (
        b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
        + image
        + b"\r\n--b--\r\n"
    )
    length = chance.choice([len(body), len(body) + 1000, 10**9])
    head = chance.choice(
        [
            "GET /health HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /gradio_api/heartbeat/a HTTP/1.1\r\nHost: a\r\n\r\n",
            f"GET /{'a' * 10_000} HTTP/1.1\r\nHost: a\r\n\r\n",
            f"POST /api/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\n\r\n",
            "POST /api/search HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n",
        ]
    )
    return head.encode() + body


def test_silent_connections(home: Home, trials: Trials) -> None:
    image = (home.images / "1.jpg").read_bytes()
    opened, open_now = 0, list[socket.socket]()
    with (
        running_app("--gallery", home.gallery) as url,
        httpx.Client(base_url=url, timeout=60, trust_env=False) as client,
        contextlib.ExitStack() as stack,
    ):
        place = urlsplit(url)
        for chance in trials(1):
            for _ in range(chance.randrange(1, 200)):
                connection = socket.create_connection((place.hostname or "", place.port or 0), timeout=20)
                stack.callback(connection.close)
                open_now.append(connection)
                opened += 1
                whole = _request(chance, image)
                with contextlib.suppress(OSError):  # hung up on already
                    connection.sendall(
                        whole[: chance.choice([0, 1, chance.randrange(len(whole)), len(whole)])]
                    )
            # Those that are silent for long are hung up on by the service; those here go to make room.
            while len(open_now) > KEPT:
                open_now.pop(chance.randrange(len(open_now))).close()
            found = client.post("/api/search", files={"image": image}, data={"k": "1"})
            assert (found.status_code, found.json()["results"][0]["key"]) == (200, "1.jpg")
            assert client.get("/ready").status_code == 200
    print(f"{opened} silent connections")
