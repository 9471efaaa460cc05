"""The rows of `serving.benchmark` that ask a real Triton server."""

import base64
import csv
import json
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from serving.benchmarks.rows import Setting, encode, of_reference_size, run
from serving.encoders.triton import TritonEncoder
from serving.engines.timing import Work, in_turns, latencies, under_load
from serving.server.server import TritonServer
from serving.triton.address import TritonAddress
from serving.triton.client import connect
from serving.triton.configs import ENTRY_MODEL, ONNX_MODEL, PREPROCESS_MODEL
from serving.triton.options import Instances, RepositoryOptions, Runtime
from serving.triton.repository import install

IN_FLIGHT = 8
ROUNDS = 4
"""Of the setting's images in one turn: in a turn's first and last moments fewer than eight are in flight."""

CONCURRENCIES = (1, 2, 4, 8, 16)

PERF_ANALYZER = "perf_analyzer"


def served(setting: Setting, weights: str | None = None) -> dict[str, Any]:
    """Everything about a server; see the functions for what the parts are.

    The sweep decides which instances and threads the other parts are measured with.

    Args:
        setting: what all rows share.
        weights: a model to compare served and direct with at 256x256 too.
    """
    counts = sorted({1, setting.threads})
    with ExitStack() as stack:
        servers = {
            (instances, threads): stack.enter_context(serving(setting, instances, threads))
            for instances in counts
            for threads in counts
        }
        sweep = instance_sweep(setting, servers)
        best = max(sweep, key=lambda row: row["served"])
        server = servers[best["instances"], best["threads"]]
        choice = {"instances": best["instances"], "threads": best["threads"]}
        found: dict[str, Any] = {
            "instances": sweep,
            "triton": {**choice, **against_direct(setting, server)},
            "transports": transports(setting, server),
            "load": [
                {"requests_at_a_time": count, **_under_load(setting, server, count)}
                for count in CONCURRENCIES
            ],
            "time": where_time_goes(setting, server),
            "perf_analyzer": perf_analyzer(setting, server),
        }
    if weights is not None:
        with (
            of_reference_size(setting, weights) as large,
            serving(large, best["instances"], best["threads"]) as server,
        ):
            found["triton_256"] = {**choice, **against_direct(large, server)}
    return found


def instance_sweep(setting: Setting, servers: Mapping[tuple[int, int], TritonServer]) -> list[dict[str, Any]]:
    """JPEG files, 8 requests at a time, by copies of the network and threads of each; all in turns.

    Args:
        setting: what all rows share.
        servers: by (copies, threads); those whose turn it is not cost memory and nothing else.
    """
    with ExitStack() as stack:
        sides: dict[str, Work] = {}
        for (instances, threads), server in servers.items():
            encoder = stack.enter_context(
                _encoder(TritonAddress(server.grpc, batch=1, concurrency=IN_FLIGHT))
            )
            sides[f"{instances} {threads}"] = _through(encoder, setting)
        sides["direct"] = _direct(setting)
        rates = in_turns(sides, setting.seconds)
    return [
        {
            "instances": instances,
            "threads": threads,
            "served": rates[f"{instances} {threads}"],
            "direct": rates["direct"],
            "ratio": rates[f"{instances} {threads}"] / rates["direct"],
        }
        for instances, threads in servers
    ]


def against_direct(setting: Setting, server: TritonServer) -> dict[str, Any]:
    """JPEG files, 8 requests of one image at a time, against ready tensors, batch 8; then one at a time."""
    with _encoder(TritonAddress(server.grpc, batch=1, concurrency=IN_FLIGHT)) as encoder:
        sides: dict[str, Work] = {
            "served": _through(encoder, setting),
            "direct": _direct(setting),
        }
        rates = in_turns(sides, setting.seconds)
        p50, p99 = latencies(partial(encode, encoder, setting.images[:1]), setting.seconds / 4)
    ratio = rates["served"] / rates["direct"]
    return {**rates, "ratio": ratio, "single_p50_ms": p50, "single_p99_ms": p99}


def transports(setting: Setting, server: TritonServer) -> dict[str, Any]:
    """Images/s by the way that requests travel: 8 at a time, of one image each."""
    grpc = TritonAddress(server.grpc, batch=1, concurrency=IN_FLIGHT)
    http = replace(grpc, server=server.http, protocol="http")
    addresses = {
        "grpc": grpc,
        "grpc_stream": replace(grpc, transport="stream"),
        "grpc_shared_memory": replace(grpc, transport="shared-memory"),
        "http": http,
        "http_shared_memory": replace(http, transport="shared-memory"),
    }
    with ExitStack() as stack:
        sides: dict[str, Work] = {
            name: _through(stack.enter_context(_encoder(address)), setting)
            for name, address in addresses.items()
        }
        return dict(in_turns(sides, setting.seconds / 2))


def where_time_goes(setting: Setting, server: TritonServer) -> dict[str, float]:
    """Milliseconds of one image by stage, one request at a time, by the client's clock and the server's."""
    with closing(connect(server.grpc)) as client, _encoder(TritonAddress(server.grpc, batch=1)) as encoder:
        encode(encoder, setting.images[:1])
        before = _settled_counters(client)
        requests, start = 0, time.perf_counter()
        while requests < 20 or time.perf_counter() < start + setting.seconds / 4:
            encode(encoder, setting.images[:1])
            requests += 1
        total = 1000 * (time.perf_counter() - start) / requests
        after = _settled_counters(client)

    def spent(model: str, *stages: str) -> float:
        return sum(after[model][stage] - before[model][stage] for stage in stages) / requests / 1e6

    members = (PREPROCESS_MODEL, ONNX_MODEL)
    stages = {
        "client and gRPC": total - spent(ENTRY_MODEL, "success"),
        "queues": sum(spent(model, "queue") for model in members),
        "copies to and from the models": sum(
            spent(model, "compute_input", "compute_output") for model in members
        ),
        "decode and resize": spent(PREPROCESS_MODEL, "compute_infer"),
        "normalise and network": spent(ONNX_MODEL, "compute_infer"),
    }
    # What the server counts for an ensemble beyond its models; less than nothing where the second model has
    # begun while the first is still said to copy its output.
    stages["between the models, less overlaps"] = total - sum(stages.values())
    return {**stages, "total": total}


def perf_analyzer(setting: Setting, server: TritonServer) -> dict[str, Any]:
    """What Triton's own perf_analyzer measures, 8 requests at a time; or that it is not there."""
    program = shutil.which(PERF_ANALYZER)
    if program is None:
        return {"found": False}
    with tempfile.TemporaryDirectory() as folder:
        data, report = Path(folder) / "data.json", Path(folder) / "report.csv"
        # Bytes come with their length in front, as in the raw form of a BYTES tensor.
        rows = [struct.pack("<I", len(image)) + image for image in setting.images]
        content = [{"image_bytes": {"b64": base64.b64encode(row).decode()}} for row in rows]
        data.write_text(json.dumps({"data": content}), encoding="utf-8")
        command = [program, "-m", ENTRY_MODEL, "-i", "grpc", "-u", server.grpc, "--input-data", str(data)]
        command += ["--concurrency-range", str(IN_FLIGHT), "-f", str(report)]
        command += ["--measurement-interval", str(max(1000, int(250 * setting.seconds)))]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=120 + 10 * setting.seconds
            )
            if done.returncode:
                lines = (done.stderr or done.stdout).strip().splitlines()
                return {"found": True, "failure": lines[-1] if lines else f"exit code {done.returncode}"}
            with report.open(encoding="utf-8", newline="") as file:
                (row,) = csv.DictReader(file)
            return {
                "found": True,
                "rate": float(row["Inferences/Second"]),
                "p50_ms": float(row["p50 latency"]) / 1000,
                "p99_ms": float(row["p99 latency"]) / 1000,
            }
        except (OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
            return {"found": True, "failure": " ".join(str(error).split())}


@contextmanager
def serving(setting: Setting, instances: int, threads: int) -> Iterator[TritonServer]:
    """Serve the bundle with so many copies of the network, of so many threads each."""
    options = RepositoryOptions(instances=Instances(network=instances), runtime=Runtime(threads=threads))
    with tempfile.TemporaryDirectory() as folder:
        repository = install(setting.bundle, Path(folder) / "repository", options)
        with TritonServer(repository) as server:
            yield server


def _under_load(setting: Setting, server: TritonServer, concurrency: int) -> dict[str, float]:
    with _encoder(TritonAddress(server.grpc, batch=1, concurrency=concurrency)) as encoder:
        work = partial(encode, encoder, setting.images[:1])
        work()
        return under_load(work, concurrency, setting.seconds / 2 / len(CONCURRENCIES))


def _encoder(address: TritonAddress) -> AbstractContextManager[TritonEncoder]:
    return closing(TritonEncoder(address))


def _through(encoder: TritonEncoder, setting: Setting) -> Work:
    """A turn of image files."""
    return partial(encode, encoder, ROUNDS * setting.images)


def _direct(setting: Setting) -> Work:
    """As many ready images as the served sides take files, in batches of 8."""
    model, batch = setting.model(), setting.ready(IN_FLIGHT)
    return lambda: sum(run(model, batch) for _ in range(ROUNDS * len(setting.images) // IN_FLIGHT))


def _settled_counters(client: Any) -> dict[str, dict[str, int]]:
    """Each model's nanoseconds by stage since the start; the server counts a moment after it has answered."""
    time.sleep(0.2)
    return {
        model.name: {field.name: stage.ns for field, stage in model.inference_stats.ListFields()}
        for model in client.get_inference_statistics().model_stats
    }
