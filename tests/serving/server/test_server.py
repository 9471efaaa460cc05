"""The server's life: started, asked directly, refused what is wrong, stopped without leftovers."""

import io
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tritonclient.utils import InferenceServerException

import serving.probe
import serving.server.server
from benchmarks.processes import session_members, worker_of
from serving.bundle import Bundle
from serving.conversion.bundling import export_bundle
from serving.encoders.encoder import open_encoder
from serving.probe import probe
from serving.server.binary import ServerBinary
from serving.server.server import TritonServer, choose_ports
from serving.triton.configs import ENTRY_MODEL, ONNX_MODEL, PREPROCESS_MODEL
from serving.triton.options import RepositoryOptions
from tests.serving.conftest import make_image, make_model, request_of
from zoo.errors import UserError

LARGEST = RepositoryOptions().batching.max_size


def infer(server: TritonServer, images: list[bytes], **options: object) -> grpcclient.InferResult:
    with grpcclient.InferenceServerClient(server.grpc) as client:
        return client.infer(ENTRY_MODEL, [request_of(images)], **options)


def own_regions() -> set[Path]:
    """List the shared memory that servers of this process hold."""
    return set(Path("/dev/shm").glob(f"vehicle_reid_{os.getpid()}_*"))


def test_bad_image_in_a_batch_has_its_own_error(server: TritonServer) -> None:
    answer = infer(server, [make_image(0), b"not an image", make_image(1)])
    errors = [text.decode() for text in answer.as_numpy("error")[:, 0]]
    assert [bool(error) for error in errors] == [False, True, False]
    alone = infer(server, [make_image(1)]).as_numpy("embedding")
    np.testing.assert_allclose(answer.as_numpy("embedding")[2:], alone, rtol=0, atol=1e-5)


def test_bad_image_alone_fails_its_request(server: TritonServer) -> None:
    with pytest.raises(InferenceServerException, match="bad image: image: not a JPEG"):
        infer(server, [b"not an image"])


def test_image_of_too_many_pixels_is_refused_before_decoding(server: TritonServer) -> None:
    header = make_image(0, "BMP")
    huge = header[:18] + (20_000).to_bytes(4, "little") * 2 + header[26:]
    with pytest.raises(InferenceServerException, match="limit of 64000000 pixels"):
        infer(server, [huge])


BOMB_SIDE = 8100
"""Of a square of a little more than the limit of 64 million pixels."""


def encoded_bomb(image_format: str) -> bytes:
    """Encode a black square as a small file; Pillow writes no compressed BMP, so that one is put together."""
    if image_format == "BMP":
        runs, rest = divmod(BOMB_SIDE, 255)
        pixels = (b"\xff\0" * runs + bytes([rest, 0]) + b"\0\0") * BOMB_SIDE + b"\0\1"
        start = 14 + 40 + 1024
        file_header = struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start)
        rle8 = (40, BOMB_SIDE, BOMB_SIDE, 1, 8, 1, len(pixels), 2835, 2835, 256, 0)
        return file_header + struct.pack("<IiiHHIIiiII", *rle8) + bytes(1024) + pixels
    buffer = io.BytesIO()
    how = {"lossless": True, "quality": 0, "method": 0} if image_format == "WEBP" else {}
    Image.new("L", (BOMB_SIDE, BOMB_SIDE)).save(buffer, image_format, **how)
    return buffer.getvalue()


def most_memory(process: int) -> int:
    """Return the most bytes that a process ever had resident."""
    status = Path(f"/proc/{process}/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "BMP"])
def test_decompression_bomb_is_refused_undecoded(server: TritonServer, image_format: str) -> None:
    """A small file of many pixels, sent with a good image, which is answered."""
    bomb = encoded_bomb(image_format)
    assert len(bomb) < 2**20
    decoder = worker_of(server.pid, PREPROCESS_MODEL)
    before = most_memory(decoder)
    answer = infer(server, [bomb, make_image(0)])
    refusal, good = (text.decode() for text in answer.as_numpy("error")[:, 0])
    assert f"{BOMB_SIDE}x{BOMB_SIDE} pixels exceeds the limit of 64000000 pixels" in refusal
    assert good == ""
    assert most_memory(decoder) - before < BOMB_SIDE**2 / 4


def test_bomb_in_the_text_of_a_png_is_refused(server: TritonServer) -> None:
    buffer, texts = io.BytesIO(), PngInfo()
    texts.add_text("Comment", "0" * 100 * 2**20, zip=True)
    Image.new("L", (50, 50)).save(buffer, "PNG", pnginfo=texts)
    assert buffer.tell() < 2**20
    with pytest.raises(InferenceServerException, match=r"bad image: .*Decompressed data too large"):
        infer(server, [buffer.getvalue()])


def test_too_large_a_batch_is_refused(server: TritonServer) -> None:
    with pytest.raises(InferenceServerException, match=f"must be <= {LARGEST}"):
        infer(server, [make_image(0)] * (LARGEST + 1))


def test_classes_come_with_their_names(server: TritonServer, bundle: Bundle) -> None:
    wanted = grpcclient.InferRequestedOutput("color_probs", class_count=1)
    (best,) = infer(server, [make_image(0)], outputs=[wanted]).as_numpy("color_probs").ravel()
    probability, index, name = best.decode().split(":")
    assert bundle.card.colors[int(index)] == name
    assert 0 < float(probability) <= 1


def test_metrics_are_served_on_loopback(server: TritonServer) -> None:
    assert all(address.startswith("127.0.0.1:") for address in (server.grpc, server.http, server.metrics))
    with urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=10) as answer:
        assert f'nv_inference_count{{model="{ENTRY_MODEL}"' in answer.read().decode()


def test_probe_tells_what_is_wrong(server: TritonServer, bundle: Bundle) -> None:
    assert probe(server.http, bundle.card.outputs) is None
    assert probe(server.http) is None
    wider = {**bundle.card.outputs, "embedding": 7}
    assert probe(server.http, wider) == "embedding came back as [1, 1024]"


def test_nothing_is_left_and_nothing_is_written_into_the_bundle(bundle: Bundle) -> None:
    files = sorted(bundle.path.rglob("*"))
    regions = own_regions()
    with TritonServer(bundle) as server:
        pid, log = server.pid, server.log
        assert len(session_members(pid)) >= 3  # the server and a worker for each of two models
        assert own_regions() > regions
        assert log.exists()
    assert session_members(pid) == []
    assert own_regions() == regions
    assert not log.parent.exists()
    assert sorted(bundle.path.rglob("*")) == files


@pytest.mark.parametrize(("number", "starts"), [(signal.SIGSEGV, 3), (signal.SIGTERM, 1)])
def test_a_server_that_crashes_as_it_starts_is_started_again(
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: signal.Signals,
    starts: int,
) -> None:
    """By a program in its place: the real one does so too seldom. One that was told to end is left."""
    count = tmp_path / "starts"
    program = ["sh", "-c", f"echo started >> {count}; kill -{int(number)} $$"]
    monkeypatch.setattr(serving.server.server, "find_server", lambda *_: ServerBinary(program))
    server, regions = TritonServer(bundle), own_regions()
    with pytest.raises(UserError, match=f"the Triton server ended .exit code {256 - number}"):
        server.start()
    assert count.read_text().split() == ["started"] * starts
    assert caplog.text.count("starting again") == starts - 1
    assert own_regions() == regions


def test_dead_worker_fails_the_probe_and_does_not_hold_up_the_stop(bundle: Bundle, tmp_path: Path) -> None:
    """A killed worker never recovers while the health endpoints go on saying ready."""
    # As in a container, where nothing but the file is there.
    alone = shutil.copy(serving.probe.__file__, tmp_path)
    with TritonServer(bundle, stop_timeout=2) as server:
        pid = server.pid
        command = [sys.executable, "-I", alone, "--address", server.http, "--timeout", "5"]
        assert subprocess.run(command, check=False).returncode == 0
        worker = worker_of(pid, ONNX_MODEL)
        os.kill(worker, signal.SIGKILL)
        encoder = open_encoder(f"triton:grpc://{server.grpc}")
        with urllib.request.urlopen(
            f"http://{server.http}/v2/models/{ENTRY_MODEL}/ready", timeout=10
        ) as ready:
            assert ready.status == 200
        done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 1
        assert done.stderr.startswith(f"{server.http}: ")
        with pytest.raises(UserError, match="triton:grpc://"):
            encoder.encode([make_image(0)])
        encoder.close()
    assert session_members(pid) == []


def test_port_in_use_is_named(bundle: Bundle) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} for http cannot be used .*--http-port"):
            TritonServer(bundle, http_port=port).start()


def test_ports_are_distinct() -> None:
    chosen = choose_ports({"grpc": None, "http": None, "metrics": None})
    assert len(set(chosen.values())) == 3
    with pytest.raises(UserError, match="a port of its own"):
        choose_ports({"grpc": 18001, "http": 18001})
    with pytest.raises(UserError, match="port 70000 for grpc"):
        choose_ports({"grpc": 70000})


def test_pose_model_is_served(tmp_path: Path) -> None:
    model, card = make_model(keypoints=True, segments=True)
    with TritonServer(export_bundle(model, card, tmp_path / "bundle")) as server:
        assert probe(server.http, card.outputs) is None


def test_server_that_dies_is_reported(bundle: Bundle, tmp_path: Path) -> None:
    with TritonServer(bundle, log=tmp_path / "log") as server:
        server.check()
        os.kill(server.pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        with pytest.raises(UserError, match="the Triton server ended"):
            while time.monotonic() < deadline:
                server.check()
                time.sleep(0.1)
