"""A repository under a real server: options at work, a new version without a gap, a crash survived."""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import tritonclient.grpc as grpcclient
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException, serialize_byte_tensor, shared_memory

from benchmarks.processes import server_of, worker_of
from serving.bundle import Bundle
from serving.conversion.bundling import export_bundle
from serving.encoders.in_process import OnnxEncoder
from serving.encoders.triton import TritonEncoder
from serving.repository import main
from serving.server.server import TritonServer
from serving.server.settings import ServerSettings
from serving.triton.address import TritonAddress
from serving.triton.configs import ENTRY_MODEL, ONNX_MODEL
from serving.triton.options import RepositoryOptions
from serving.triton.repository import Repository, install
from tests.serving.conftest import OPTIONS, SIZE, make_image, make_model, request_of
from zoo.errors import UserError
from zoo.registry import create_model, make_card


def metrics(server: TritonServer) -> str:
    with urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def test_repeated_request_is_answered_from_the_cache(served: tuple[TritonServer, Path]) -> None:
    server, _ = served
    with grpcclient.InferenceServerClient(server.grpc) as client:
        answers = [client.infer(ENTRY_MODEL, [request_of([make_image(70)])]) for _ in range(2)]
        (statistics,) = client.get_inference_statistics(ENTRY_MODEL).model_stats
    np.testing.assert_array_equal(answers[0].as_numpy("embedding"), answers[1].as_numpy("embedding"))
    assert statistics.inference_stats.cache_hit.count >= 1


@pytest.mark.parametrize("model", [ENTRY_MODEL, ONNX_MODEL])
def test_cancelled_requests_are_dropped_from_the_queue(served: tuple[TritonServer, Path], model: str) -> None:
    """Some are dropped, not all: what the network has begun with is computed to its end."""
    server, _ = served
    asked, size = 40, 8
    with grpcclient.InferenceServerClient(server.grpc) as client:
        (before,) = client.get_inference_statistics(ONNX_MODEL).model_stats
        calls = []
        for seed in range(asked):
            if model == ENTRY_MODEL:
                tensor = request_of([make_image(200 + seed)] * size)
            else:
                tensor = grpcclient.InferInput("image", [size, *SIZE, 3], "UINT8")
                tensor.set_data_from_numpy(np.full((size, *SIZE, 3), seed, np.uint8))
            calls.append(client.async_infer(model, [tensor], lambda result, error: None))
        for call in calls:
            call.cancel()
        # It waits behind whatever is left of the others.
        client.infer(ENTRY_MODEL, [request_of([make_image(300)])], client_timeout=60)
        (after,) = client.get_inference_statistics(ONNX_MODEL).model_stats
    assert after.inference_count - before.inference_count < asked * size


def test_deadline_of_a_client_is_kept(served: tuple[TritonServer, Path]) -> None:
    with (
        grpcclient.InferenceServerClient(served[0].grpc) as client,
        pytest.raises(InferenceServerException, match="Deadline Exceeded"),
    ):
        client.infer(ENTRY_MODEL, [request_of([make_image(400)] * 32)], client_timeout=0.001)


def test_answers_through_shared_memory(served: tuple[TritonServer, Path]) -> None:
    """Encoded image in, embedding out, both in system shared memory: the same numbers as by value."""
    server, _ = served
    image = make_image(72)
    encoded = serialize_byte_tensor(np.array([[image]], dtype=np.object_)).item()
    name = f"vehicle_reid_test_{os.getpid()}"
    given = shared_memory.create_shared_memory_region(f"{name}_in", f"/{name}_in", len(encoded))
    taken = shared_memory.create_shared_memory_region(f"{name}_out", f"/{name}_out", 1024 * 4)
    try:
        shared_memory.set_shared_memory_region(given, [np.frombuffer(encoded, np.uint8)])
        with grpcclient.InferenceServerClient(server.grpc) as client:
            client.register_system_shared_memory(f"{name}_in", f"/{name}_in", len(encoded))
            client.register_system_shared_memory(f"{name}_out", f"/{name}_out", 1024 * 4)
            tensor = grpcclient.InferInput("image_bytes", [1, 1], "BYTES")
            tensor.set_shared_memory(f"{name}_in", len(encoded))
            wanted = grpcclient.InferRequestedOutput("embedding")
            wanted.set_shared_memory(f"{name}_out", 1024 * 4)
            client.infer(ENTRY_MODEL, [tensor], outputs=[wanted])
            embedding = shared_memory.get_contents_as_numpy(taken, np.float32, [1, 1024]).copy()
            expected = client.infer(ENTRY_MODEL, [request_of([image])]).as_numpy("embedding")
            client.unregister_system_shared_memory()
    finally:
        shared_memory.destroy_shared_memory_region(given)
        shared_memory.destroy_shared_memory_region(taken)
    np.testing.assert_allclose(embedding, expected, rtol=0, atol=1e-5)


def test_images_are_counted_by_outcome(served: tuple[TritonServer, Path]) -> None:
    server, _ = served
    before = counted(metrics(server))
    with grpcclient.InferenceServerClient(server.grpc) as client:
        client.infer(ENTRY_MODEL, [request_of([make_image(500), b"not an image", make_image(501)])])
    after = counted(metrics(server))
    assert after["good"] - before["good"] == 2
    assert after["bad"] - before["bad"] == 1
    assert after["seconds"] > before["seconds"]


def counted(text: str) -> dict[str, float]:
    """Read this project's own metrics."""
    names = {
        "good": 'vehicle_reid_images_total{outcome="good"}',
        "bad": 'vehicle_reid_images_total{outcome="bad"}',
        "seconds": "vehicle_reid_decode_seconds_total",
    }
    lines = text.splitlines()
    return {
        key: next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))
        for key, name in names.items()
    }


def test_warm_up_is_run(bundle: Bundle, tmp_path: Path) -> None:
    """One that cannot be run keeps the network from being ready, so that it is seen to be run."""
    repository = install(bundle, tmp_path / "repository", RepositoryOptions(warm_up=(2,)))
    file = repository.path / ONNX_MODEL / "config.pbtxt"
    config = text_format.Parse(file.read_text(), model_config_pb2.ModelConfig())
    config.model_warmup[0].inputs["image"].dims[0] = 1
    file.write_text(text_format.MessageToString(config))
    with pytest.raises(UserError, match="the Triton server ended"):
        TritonServer(repository, log=tmp_path / "log", start_timeout=30).start()
    assert "Expected [-1,64,64,3], got [1,1,64,3]" in (tmp_path / "log").read_text()


def test_new_version_is_taken_up_without_a_gap(bundle: Bundle, tmp_path: Path) -> None:
    """Every answer is that of the version which it names, while eight clients ask throughout."""
    torch.manual_seed(7)
    model = create_model("densenet121").eval()
    other = export_bundle(model, make_card(model, "densenet121.test", SIZE), tmp_path / "other")
    images = [make_image(seed) for seed in range(8)]
    expected = {}
    for version, source in (("1", bundle), ("2", other)):
        encoder = OnnxEncoder(source.path, threads=1)
        expected[version] = encoder.encode(images).embedding
        encoder.close()
    assert np.abs(expected["1"] - expected["2"]).max() > 0.01
    repository = install(bundle, tmp_path / "repository", RepositoryOptions())
    changed = threading.Event()
    seen: list[tuple[str, float]] = []

    def ask(index: int) -> None:
        after = 0
        with grpcclient.InferenceServerClient(server.grpc) as client:
            # Some more once the new version was seen, and never without an end.
            for _ in range(3000):
                answer = client.infer(ENTRY_MODEL, [request_of([images[index]])], client_timeout=60)
                version = answer.get_response().model_version
                error = float(np.abs(answer.as_numpy("embedding") - expected[version][index]).max())
                seen.append((version, error))
                if version == "2":
                    changed.set()
                after += changed.is_set()
                if after == 5:
                    return

    settings = ServerSettings(poll_seconds=1)
    with TritonServer(repository, settings=settings) as server, ThreadPoolExecutor(8) as pool:
        opened = TritonEncoder(TritonAddress(server.grpc))
        assert opened.encode(images[:1]).errors == {}
        asking = [pool.submit(ask, index) for index in range(8)]
        assert install(other, repository.path, RepositoryOptions()).version == 2
        for task in asking:
            task.result()
        with pytest.raises(UserError, match="serves version 2 of vehicle_reid now, and version 1 was opened"):
            opened.encode(images[:1])
        opened.close()
    assert {version for version, _ in seen} == {"1", "2"}
    assert max(error for _, error in seen) < 1e-4


def test_same_model_with_other_options_keeps_its_version(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    assert install(bundle, folder, RepositoryOptions()).version == 1
    again = install(bundle, folder, RepositoryOptions(warm_up=(1,)))
    assert again == Repository.open(folder)
    assert again.version == 1
    assert "batch of 1" in (folder / ONNX_MODEL / "config.pbtxt").read_text()


def test_model_of_another_size_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    install(bundle, folder, RepositoryOptions())
    model, card = make_model(multitask=False)
    other = export_bundle(model, card, tmp_path / "other")
    with pytest.raises(UserError, match="has other outputs and colors and types; choose another --out"):
        install(other, folder, RepositoryOptions())


def test_foreign_folder_is_left_alone(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"precious")
    with pytest.raises(UserError, match="no Triton repository of ours"):
        install(bundle, tmp_path, RepositoryOptions())
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_command_names_the_flags_of_the_server(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "options.toml").write_text(OPTIONS)
    arguments = ["--bundle", str(bundle.path), "--out", str(tmp_path / "r")]
    assert main([*arguments, "--options", str(tmp_path / "options.toml"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert answer["version"] == 1
    assert answer["server_flags"] == [
        f"--cache-config=local,size={64 * 2**20}",
        "--rate-limit=execution_count",
        "--rate-limit-resource=cores:2",
    ]


def test_killed_worker_and_killed_server_are_started_again(bundle: Bundle, tmp_path: Path) -> None:
    """With a cache, which would go on answering what it was asked before."""
    repository = install(bundle, tmp_path / "repository", RepositoryOptions(response_cache=True))
    command = [sys.executable, "-m", "serving.launch", "--repository", str(repository.path)]
    command += ["--restarts", "3", "--check", "0.5", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as launch:
        assert launch.stdout is not None
        try:
            addresses = json.loads(launch.stdout.readline())
            server = server_of(launch.pid)
            worker = worker_of(server, ONNX_MODEL)
            for number, victim in enumerate((worker, None), 1):
                os.kill(victim or server_of(launch.pid), signal.SIGKILL)
                restart = json.loads(launch.stdout.readline())
                assert restart["restart"] == number
                assert restart["cause"]
                assert {name: restart[name] for name in addresses} == addresses
                with grpcclient.InferenceServerClient(restart["grpc"]) as client:
                    answer = client.infer(ENTRY_MODEL, [request_of([make_image(1)])])
                assert answer.as_numpy("embedding").shape == (1, 1024)
        finally:
            launch.terminate()
    assert launch.returncode == 0
    assert list(Path("/dev/shm").glob(f"vehicle_reid_{launch.pid}_*")) == []
