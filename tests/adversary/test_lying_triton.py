"""A Triton server that answers anything, or nothing for a while: right answers or one-line refusals."""

import copy
import itertools
import json
import os
import random
import re
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from google.protobuf.json_format import ParseDict
from tritonclient.grpc import model_config_pb2
from tritonclient.grpc import service_pb2 as messages

from retrieval.galleries import open_gallery
from serving.bundle import Bundle
from serving.encoders.encoder import open_encoder
from serving.encoders.image import InputImage
from serving.server.server import TritonServer
from serving.triton.options import RepositoryOptions
from serving.triton.repository import install
from tests.adversary.conftest import Home, Trials
from tests.retrieval.running_app import running_app
from tests.serving.conftest import make_image
from tests.serving.encoders.lying_triton import (
    ANSWER,
    CONFIG,
    EMBEDDING,
    as_json,
    as_message,
    grpc_server,
)
from zoo.errors import UserError

SHAPES: list[Any] = [
    [1, 4],
    [4, 1],
    [1],
    [],
    [0, 4],
    [1, 5],
    [2, 4],
    [-1, 4],
    [2**40, 4],
    [2**70],
    "1x4",
    None,
]
KINDS = ["FP32", "FP64", "FP16", "BF16", "INT8", "UINT64", "BOOL", "BYTES", "FP8", "", None]
DATA: list[Any] = [
    [], [0.5], [1.0] * 5, ["a"] * 4, [None] * 4, [[0.5, -1.0, 2.0, 0.25]], [1e400] * 4, [float("nan")] * 4,
    [10**400] * 4, {}, None, "text", [True] * 4, [0.0] * 4,
]  # fmt: skip
STATUSES = [100, 200, 204, 301, 302, 400, 401, 404, 429, 500, 502, 503, 504, 599, 999]
TEXTS = [
    "",
    "two\nlines",
    "x" * 100_000,
    "<html>",
    "\0",
    "bad image: \n",
    '{"error": 5}',
    "Ü" * 3,
    "not ready",
]


def lie(chance: random.Random, answer: dict[str, Any]) -> dict[str, Any]:
    """Change what is said in one to three places."""
    answer = copy.deepcopy(answer)
    for _ in range(chance.choice([1, 1, 2, 3])):
        outputs = answer.get("outputs")
        output = chance.choice(outputs) if isinstance(outputs, list) and outputs else {}
        if not isinstance(output, dict):  # an earlier lie
            continue
        kind = chance.randrange(8)
        if kind == 0:
            output["shape"] = chance.choice(SHAPES)
        elif kind == 1:
            output["datatype"] = chance.choice(KINDS)
        elif kind == 2:
            output["data"] = chance.choice(DATA)
        elif kind == 3 and output:
            output["name"] = chance.choice(["embedding", "error", "other", "", 5])
        elif kind == 4 and output:
            outputs.append(copy.deepcopy(output))
        elif kind == 5 and output:
            outputs.remove(output)
        elif kind == 6:
            answer[chance.choice(["outputs", "model_version", "model_name", "error"])] = chance.choice(
                [None, [], {}, 5, "1", "7", [None], [[]], "text"]
            )
        elif kind == 7 and output:
            output.pop(chance.choice(list(output)))
    return answer


def damaged(chance: random.Random, body: bytes) -> bytes:
    """Change, cut, or lengthen bytes."""
    data = bytearray(body)
    for _ in range(chance.choice([0, 1, 1, 3, 20])):
        if data:
            data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data[: chance.choice([len(data)] * 3 + [chance.randrange(len(data) + 1)])])


def http_answer(chance: random.Random) -> bytes:
    """All that is sent for a request, head and body."""
    is_sound = chance.random() < 0.2

    def said(right: object, *wrong: object) -> object:
        return right if is_sound or chance.random() < 0.8 else chance.choice(wrong)

    body = as_json(ANSWER)
    tail = len(body) - len(body.rstrip(b"\0"))
    kind = "sound" if is_sound else chance.choice(["lie", "damage", "text"])
    if kind == "lie":
        words, rest = body[: len(body) - tail], body[len(body) - tail :]
        body = json.dumps(lie(chance, json.loads(words))).encode() + rest
    elif kind == "damage":
        body = damaged(chance, body)
    elif kind == "text":
        body = chance.choice(TEXTS).encode()
    size, length = len(body), len(body.rstrip(b"\0"))
    head = {
        "Content-Length": said(size, 0, size + 50, max(0, size - 5), "many", -1),
        "Inference-Header-Content-Length": said(length, 0, 10**9, -5, "x", length + 3),
        "Content-Encoding": said("identity", "gzip", "deflate", "br", "none"),
        "Location": "/again",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    whole = f"HTTP/1.1 {said(200, *STATUSES)} X\r\n{lines}\r\n".encode() + body
    return whole if is_sound or chance.random() < 0.9 else damaged(chance, whole)


@contextmanager
def raw_server(config: bytes, answers: Iterator[bytes]) -> Iterator[str]:
    """Send a sound config, then what comes next to each connection that asks for more; hang up after it."""

    def serve() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            with peer:
                peer.settimeout(5)
                try:
                    head = b""
                    while b"\r\n\r\n" not in head and (piece := peer.recv(65536)):
                        head += piece
                    head, _, rest = head.partition(b"\r\n\r\n")
                    found = re.search(rb"(?i)content-length: *(\d+)", head)
                    missing = (int(found[1]) if found else 0) - len(rest)
                    while missing > 0 and (piece := peer.recv(65536)):
                        missing -= len(piece)
                    if head.startswith(b"GET"):
                        reply = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(config)}"
                        peer.sendall(reply.encode() + b"\r\n\r\n" + config)
                    elif head:
                        peer.sendall(next(answers))
                except OSError:
                    continue

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def assert_right_or_refused(spec: str) -> bool:
    """Encode an image; whether there was an answer."""
    encoder = open_encoder(spec)
    try:
        found = encoder.encode([InputImage(make_image(0), "car.jpg")])
    except UserError as error:
        reasons = [str(error)]
    else:
        reasons = list(found.errors.values())
        if not reasons:
            # Damage may have changed a digit, which nobody can tell.
            assert found.embedding.shape == EMBEDDING.shape
            assert np.isfinite(found.embedding).all()
            assert found.embedding.any()
    finally:
        encoder.close()
    for reason in reasons:
        assert "\n" not in reason
        assert len(reason) < 2000
    return not reasons


def test_http(trials: Trials) -> None:
    answered = refused = 0
    for chance in trials(60):
        with raw_server(json.dumps(CONFIG).encode(), itertools.repeat(http_answer(chance))) as address:
            right = assert_right_or_refused(f"triton:http://{address}?timeout=2&attempts=1&batch=1")
        answered, refused = answered + right, refused + (not right)
    print(f"{answered} answered, {refused} refused")
    assert answered
    assert refused


def grpc_answer(chance: random.Random) -> bytes:
    body = as_message(ANSWER)
    kind = chance.randrange(12)
    if kind > 6:
        return body if kind > 10 else damaged(chance, body)
    message = messages.ModelInferResponse.FromString(body)
    output = chance.choice(message.outputs)
    if kind == 0:
        shape = chance.choice(SHAPES[:9])
        del output.shape[:]
        output.shape.extend(shape)
    elif kind == 1:
        output.datatype = chance.choice(KINDS[:-1])
    elif kind == 2:
        output.name = chance.choice(["embedding", "error", "other", ""])
    elif kind == 3:
        message.raw_output_contents[chance.randrange(3)] = chance.randbytes(chance.choice([0, 1, 4, 16, 17]))
    elif kind == 4:
        del message.raw_output_contents[chance.randrange(3)]
    else:
        message.model_version = chance.choice(["", "2", "x"])
    return bytes(message.SerializeToString())


def test_grpc(trials: Trials) -> None:
    config = messages.ModelConfigResponse(config=ParseDict(CONFIG, model_config_pb2.ModelConfig()))
    answered = refused = 0
    for chance in trials(40):
        body = grpc_answer(chance)
        code = chance.choice(list(grpc.StatusCode)) if chance.random() < 0.15 else None
        text = chance.choice(TEXTS)[:1000]
        with grpc_server(config.SerializeToString(), body, code, text) as address:
            right = assert_right_or_refused(f"triton:grpc://{address}?timeout=2&attempts=1&batch=1")
        answered, refused = answered + right, refused + (not right)
    print(f"{answered} answered, {refused} refused")
    assert answered
    assert refused


@pytest.fixture(scope="module")
def server(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    repository = install(
        Bundle.open(home.bundle), tmp_path_factory.mktemp("frozen") / "repository", RepositoryOptions()
    )
    with TritonServer(repository) as running:
        yield running


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("road", ["grpc", "http", "stream", "shared-memory"])
def test_a_server_that_is_frozen(
    home: Home, server: TritonServer, tmp_path: Path, trials: Trials, road: str
) -> None:
    """Stopped for a moment, or for longer than anybody waits, amid searches and adds, and at the end."""
    gallery = shutil.copytree(home.gallery, tmp_path / "gallery")
    address = server.http if road == "http" else server.grpc
    spec = f"triton:{'http' if road == 'http' else 'grpc'}://{address}?timeout=4&attempts=2"
    spec += f"&transport={road}" * (road in ("stream", "shared-memory"))
    images = {path.name: path.read_bytes() for path in home.images.iterdir()}
    acknowledged, counts = set(images), Counter[str]()

    def search(client: httpx.Client, name: str) -> None:
        answer = client.post("/api/search", files={"image": images[name]}, data={"k": "1"})
        counts[f"search {answer.status_code}"] += 1
        assert answer.status_code in (200, 503), answer.text
        if answer.status_code == 200:
            assert answer.json()["results"][0]["distance"] == pytest.approx(0, abs=1e-4)
        else:
            assert "\n" not in answer.json()["detail"]

    def add(client: httpx.Client, name: str, key: str) -> None:
        answer = client.put(f"/api/entries/{key}", files={"image": images[name]})
        counts[f"add {answer.status_code}"] += 1
        assert answer.status_code in (200, 201, 503), answer.text
        if answer.status_code != 503:
            acknowledged.add(key)

    with (
        ExitStack() as stack,
        running_app("--gallery", gallery, "--encoder", spec, "--writable") as url,
        httpx.Client(base_url=url, timeout=60, trust_env=False) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        stack.callback(os.kill, server.pid, signal.SIGCONT)
        for number, chance in enumerate(trials(2)):
            freeze = chance.choice([0.05, 0.5, 2.0, 6.0])
            names = [chance.choice(list(images)) for _ in range(16)]
            work = [pool.submit(search, client, name) for name in names[:6]]
            os.kill(server.pid, signal.SIGSTOP)
            try:
                work += [pool.submit(search, client, name) for name in names[6:12]]
                work += [pool.submit(add, client, name, f"{number}/{i}") for i, name in enumerate(names[12:])]
                assert client.get("/health").status_code == 200
                time.sleep(freeze)
            finally:
                os.kill(server.pid, signal.SIGCONT)
            for done in work:
                done.result()
            # Awake, it answers again: at once, or when what it was asked in its sleep is done.
            for _ in range(10):
                if client.get("/ready").status_code == 200:
                    break
            else:
                pytest.fail("not ready again")
        # It is ended with requests on a server that sleeps.
        os.kill(server.pid, signal.SIGSTOP)
        last = ThreadPoolExecutor(8)
        for _ in range(8):
            last.submit(client.post, "/api/search", files={"image": images["1.jpg"]})
        assert client.get("/health").status_code == 200
        last.shutdown(wait=False)
    print(dict(counts))
    with open_gallery(gallery) as left:
        found = [result.key for result in left.browse(limit=100_000)]
    assert set(found) >= acknowledged
    assert len(found) == len(set(found))
