"""The server's life: started, asked directly, refused what is wrong, stopped without leftovers."""

import io
import os
import signal
import socket
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from PIL import Image
from tritonclient.utils import InferenceServerException

from serving.bundle import Bundle
from serving.encoder import open_encoder
from serving.export import export_bundle
from serving.probe import probe
from serving.repository_configs import ENTRY_MODEL, ONNX_MODEL
from serving.repository_options import Options
from serving.server import TritonServer, choose_ports
from zoo.errors import UserError

from .conftest import make_image, make_model
from .processes import command_line, session_members

LARGEST = Options().batching.max_size


def infer(server: TritonServer, images: list[bytes], **options: object) -> grpcclient.InferResult:
    tensor = grpcclient.InferInput("image_bytes", [len(images), 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[data] for data in images], dtype=np.object_))
    with grpcclient.InferenceServerClient(server.grpc) as client:
        return client.infer(ENTRY_MODEL, [tensor], **options)


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


@pytest.mark.parametrize("image_format", ["PNG", "JPEG"])
def test_decompression_bomb_is_refused(server: TritonServer, image_format: str) -> None:
    """A small file of many pixels, sent with a good image, which is answered."""
    buffer = io.BytesIO()
    Image.new("L", (9000, 9000)).save(buffer, image_format)
    assert buffer.tell() < 2 * 2**20
    answer = infer(server, [buffer.getvalue(), make_image(0)])
    bomb, good = (text.decode() for text in answer.as_numpy("error")[:, 0])
    assert "9000x9000 pixels exceeds the limit of 64000000 pixels" in bomb
    assert good == ""


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
    assert probe(server.grpc, bundle.card) is None
    wider = bundle.card.replace(outputs={**bundle.card.outputs, "embedding": 7})
    assert probe(server.grpc, wider) == "embedding came back as [1, 1024]"


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


def test_dead_worker_fails_the_probe_and_does_not_hold_up_the_stop(bundle: Bundle) -> None:
    """A killed worker never recovers while the health endpoints go on saying ready."""
    with TritonServer(bundle, stop_timeout=2) as server:
        pid = server.pid
        (worker,) = (p for p in session_members(pid) if f"/{ONNX_MODEL}/" in command_line(p))
        os.kill(worker, signal.SIGKILL)
        encoder = open_encoder(f"triton:grpc://{server.grpc}")
        assert probe(server.grpc, bundle.card, timeout=10) is not None
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
        assert probe(server.grpc, card) is None


def test_server_that_dies_is_reported(bundle: Bundle, tmp_path: Path) -> None:
    with TritonServer(bundle, log=tmp_path / "log") as server:
        server.check()
        os.kill(server.pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        with pytest.raises(UserError, match="the Triton server ended"):
            while time.monotonic() < deadline:
                server.check()
                time.sleep(0.1)
