"""What only servers do to an encoder: be away, be slow, be restarted, refuse. And how they are named."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as schema
from tritonclient.utils import InferenceServerException

from serving.bundle import Bundle
from serving.encoders.encoder import AsyncEncoder, open_encoder
from serving.encoders.triton import TritonEncoder
from serving.server.server import TritonServer, choose_ports
from serving.triton.address import TritonAddress
from serving.triton.repository import ENTRY_MODEL
from serving.triton.shared_region import SharedRegion
from tests.serving.conftest import make_image
from zoo.errors import UserError


def open_triton(spec: str, server: TritonServer) -> TritonEncoder:
    return TritonEncoder(TritonAddress.parse(spec.format(grpc=server.grpc, http=server.http)))


def region_names() -> list[str]:
    return [path.name for path in Path("/dev/shm").glob(f"vehicle_reid_client_{os.getpid()}_*")]


def test_options_are_read() -> None:
    plain = TritonAddress.parse("triton:grpc://host:8001")
    assert plain == TritonAddress("host:8001")
    spec = "triton:http://[::1]:8000/?transport=shared-memory&batch=3&concurrency=2&timeout=1.5&attempts=1"
    assert TritonAddress.parse(spec) == TritonAddress("[::1]:8000", "http", "shared-memory", 3, 2, 1.5, 1)
    assert str(TritonAddress.parse(spec)) == "triton:http://[::1]:8000"


@pytest.mark.parametrize(
    "spec",
    ["triton:", "triton:grpc://", "triton:ftp://h:1", "triton:grpc://host", "triton:grpc://h:99999",
     "triton:grpc://h:1/x", "triton:grpc://h:1?batch"],
)  # fmt: skip
def test_malformed_addresses_are_refused(spec: str) -> None:
    with pytest.raises(UserError, match="the form is triton:grpc://HOST:PORT"):
        open_encoder(spec)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("size=3", "option 'size' is not known; there are attempts, batch, concurrency, timeout, transport"),
        ("batch=1&batch=2", "option 'batch' is given twice"),
        ("batch=0", "batch is a whole number above 0"),
        ("batch=1.5", "batch is a whole number above 0"),
        ("timeout=inf", "timeout is a number above 0"),
        ("transport=pigeon", "transport is one of message, stream, shared-memory"),
    ],
)
def test_wrong_options_are_refused(options: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        open_encoder(f"triton:grpc://127.0.0.1:1?{options}")


def test_only_grpc_has_streams() -> None:
    with pytest.raises(UserError, match="only gRPC has streams"):
        open_encoder("triton:http://127.0.0.1:1?transport=stream")


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_no_server_is_one_line(protocol: str) -> None:
    port = choose_ports({"grpc": None})["grpc"]
    expected = f"127.0.0.1:{port}: no server answers there .*; is it running"
    with pytest.raises(UserError, match=expected) as caught:
        open_encoder(f"triton:{protocol}://127.0.0.1:{port}")
    assert "\n" not in str(caught.value)


def test_server_without_a_card_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle.path, copy)
    file = copy / "triton" / ENTRY_MODEL / "config.pbtxt"
    config = text_format.Parse(file.read_text(encoding="utf-8"), schema.ModelConfig())
    config.ClearField("parameters")
    file.write_text(text_format.MessageToString(config), encoding="utf-8")
    with TritonServer(copy) as server, pytest.raises(UserError, match="its vehicle_reid has no card"):
        open_triton("triton:grpc://{grpc}", server)


def test_server_that_went_away_is_reported_and_its_return_is_noticed(bundle: Bundle) -> None:
    """Streams are broken by a restart, and the new server knows no shared memory of the old one's."""
    specs = (
        "triton:grpc://{grpc}?transport=stream",
        "triton:http://{http}",
        "triton:grpc://{grpc}?transport=shared-memory",
    )
    # Streams and connections that stay open hold up its end for so long.
    server = TritonServer(bundle, stop_timeout=2)
    with server:
        encoders = [open_triton(spec, server) for spec in specs]
        expected = [encoder.encode([make_image(0)]).embedding for encoder in encoders]
        server.stop()
        with pytest.raises(UserError, match="no server answers there"):
            encoders[0].encode([make_image(0)])
        server.start()
        for encoder, embedding in zip(encoders, expected, strict=True):
            np.testing.assert_allclose(encoder.encode([make_image(0)]).embedding, embedding, atol=1e-5)
            encoder.close()


class Flaky:
    """Stands before the real client and fails the first times, as a server does that is being restarted."""

    def __init__(self, client: Any, status: str, failures: int) -> None:
        self.client, self.status, self.failures, self.calls = client, status, failures, 0

    async def infer(self, *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        if self.calls <= self.failures:
            code = self.status if self.status.isdecimal() else f"StatusCode.{self.status}"
            raise InferenceServerException("for the test", code)
        return await self.client.infer(*arguments, **options)

    async def close(self) -> None:
        await self.client.close()


@pytest.mark.parametrize(
    ("spec", "transient", "others"),
    [
        (
            "triton:grpc://{grpc}",
            "UNAVAILABLE",
            ("INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "INTERNAL"),
        ),
        ("triton:http://{http}?attempts=3", "503", ("400", "500", "504")),
    ],
)
def test_transient_errors_are_retried_and_no_others(
    spec: str, transient: str, others: tuple[str, ...], server: TritonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.encoders.triton.MAX_WAIT_SECONDS", 0.01)
    encoder = open_triton(spec, server)
    attempts = encoder._address.attempts
    real = encoder._link.client
    expected = encoder.encode([make_image(0)]).embedding

    def ask(status: str, failures: int) -> tuple[np.ndarray, int]:
        flaky = encoder._link.client = Flaky(real, status, failures)
        try:
            return encoder.encode([make_image(0)]).embedding, flaky.calls
        finally:
            calls.append(flaky.calls)

    calls: list[int] = []
    np.testing.assert_allclose(ask(transient, attempts - 1)[0], expected, atol=1e-5)
    with pytest.raises(UserError, match="no server answers there"):
        ask(transient, 100)
    for status in others:
        with pytest.raises(UserError, match=f"{status}: for the test"):
            ask(status, 1)
    assert calls == [attempts, attempts, *[1] * len(others)]
    encoder.close()


def test_a_deadline_holds_for_all_attempts_together(server: TritonServer) -> None:
    encoder = open_triton("triton:grpc://{grpc}?timeout=0.3&attempts=1000", server)
    flaky = encoder._link.client = Flaky(encoder._link.client, "UNAVAILABLE", 10**9)
    with pytest.raises(UserError, match=r"no answer within 0\.3 s"):
        encoder.encode([make_image(0)])
    assert 1 <= flaky.calls < 1000
    encoder.close()


@pytest.mark.parametrize("options", ["concurrency=2&batch=1", "transport=stream&concurrency=2&batch=1"])
def test_requests_at_a_time_are_bounded_for_all_callers(options: str, server: TritonServer) -> None:
    encoder = open_triton("triton:grpc://{grpc}?" + options, server)
    transport = encoder._transport
    now, most = 0, 0

    class Counting:
        async def infer(self, images: list[bytes]) -> Any:
            nonlocal now, most
            now, most = now + 1, max(most, now + 1)
            try:
                return await transport.infer(images)
            finally:
                now -= 1

        async def close(self) -> None:
            await transport.close()

    encoder._transport = Counting()
    futures = [encoder.submit([make_image(seed) for seed in range(4)]) for _ in range(3)]
    assert not any(future.result().errors for future in futures)
    assert (now, most) == (0, 2)
    encoder.close()


@pytest.mark.parametrize(
    ("count", "options", "sizes"),
    [
        (0, "", []),
        (8, "", [8]),
        (9, "", [5, 4]),
        (40, "", [10] * 4),
        (64, "", [16] * 4),
        (65, "", [13] * 5),
        (9, "batch=4", [3] * 3),
        (4, "batch=1", [1] * 4),
    ],
)
def test_a_call_is_dealt_evenly_to_requests(
    count: int, options: str, sizes: list[int], server: TritonServer
) -> None:
    encoder = open_triton("triton:grpc://{grpc}?" + options, server)
    transport, sent = encoder._transport, []

    class Measuring:
        async def infer(self, images: list[bytes]) -> Any:
            sent.append(len(images))
            return await transport.infer(images)

        async def close(self) -> None:
            await transport.close()

    encoder._transport = Measuring()
    assert not any(encoder.encode([make_image(0)] * count).errors)
    assert sent == sizes
    encoder.close()


@pytest.mark.parametrize("transport", ["message", "stream", "shared-memory"])
def test_cancelled_calls_leave_the_encoder_sound(transport: str, server: TritonServer) -> None:
    """Their answers may still come: nobody else may get them."""
    encoder = open_triton(f"triton:grpc://{{grpc}}?transport={transport}&concurrency=1", server)
    images = [make_image(seed) for seed in range(8)]
    expected = encoder.encode(images[:1]).embedding

    async def ask() -> np.ndarray:
        wrapped = AsyncEncoder(encoder)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.003):
                await wrapped.encode(images)
        return (await wrapped.encode(images[:1])).embedding

    np.testing.assert_allclose(asyncio.run(ask()), expected, atol=1e-5)
    encoder.close()


def test_shared_memory_grows_and_leaves_no_names(server: TritonServer) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    encoder = open_triton("triton:grpc://{grpc}?transport=shared-memory", server)
    plain = open_triton("triton:grpc://{grpc}", server)
    small, large = make_image(0), make_image(1, "PNG", noise)
    assert len(large) > 2**20
    for images in ([small], [large, small], [small]):
        expected = plain.encode(images).embedding
        np.testing.assert_allclose(encoder.encode(images).embedding, expected, rtol=0, atol=1e-5)
        assert region_names() == []
    encoder.close()
    plain.close()


def test_memory_that_the_server_cannot_open_is_explained(
    server: TritonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = open_triton("triton:grpc://{grpc}?transport=shared-memory", server)

    class Elsewhere(SharedRegion):
        def __init__(self, size: int) -> None:
            super().__init__(size)
            self.unlink()  # as it is for a server in a container

    monkeypatch.setattr("serving.triton.transport.SharedRegion", Elsewhere)
    with pytest.raises(UserError, match=r"cannot open this process's shared memory .*--ipc=host"):
        encoder.encode([make_image(0)])
    encoder.close()


def test_full_shared_memory_is_explained() -> None:
    with pytest.raises(UserError, match=r"no shared memory of \d+ bytes .*make room"):
        SharedRegion(2**60)
    assert region_names() == []


@pytest.mark.parametrize("transport", ["message", "stream", "shared-memory"])
def test_a_process_that_forgets_to_close_ends_quietly(transport: str, server: TritonServer) -> None:
    code = (
        "import sys; from serving.encoders.encoder import open_encoder\n"
        "assert not open_encoder(sys.argv[1]).encode([open(sys.argv[2], 'rb').read()] * 2).errors"
    )
    spec = f"triton:grpc://{server.grpc}?transport={transport}&batch=1"
    picture = Path(server.log).with_name("picture.jpg")
    picture.write_bytes(make_image(0))
    done = subprocess.run(
        [sys.executable, "-c", code, spec, str(picture)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
