"""Who waits, who passes, who is refused: options for queues and shared resources at work in a real server."""

import contextlib
import itertools
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from serving.bundle import Bundle
from serving.encoders import trace
from serving.encoders.encoder import open_encoder
from serving.probe import failure, probe
from serving.server.server import TritonServer
from serving.triton.configs import ENTRY_MODEL, ONNX_MODEL, PREPROCESS_MODEL
from serving.triton.options import Queue, RepositoryOptions
from serving.triton.repository import install
from tests.serving.conftest import make_image, request_of

LARGEST = RepositoryOptions().batching.max_size

seeds = itertools.count(10_000)
"""No two requests of these tests are alike, or the response cache would answer."""


def new_request(images: int) -> grpcclient.InferInput:
    return request_of([make_image(next(seeds)) for _ in range(images)])


class Asked:
    """Requests that are under way, and their ends in order: names, and errors by name."""

    def __init__(self, client: grpcclient.InferenceServerClient) -> None:
        self._client = client
        self._ended = threading.Condition()
        self._asked = 0
        self.order: list[str] = []
        self.errors: dict[str, str] = {}

    def ask(self, name: str, request: grpcclient.InferInput, **options: Any) -> None:
        def end(result: object, error: Exception | None) -> None:
            with self._ended:
                self.order.append(name)
                if error is not None:
                    self.errors[name] = str(error)
                self._ended.notify_all()

        self._asked += 1
        self._client.async_infer(ENTRY_MODEL, [request], end, request_id=name, client_timeout=120, **options)

    def ask_all(self, name: str, requests: list[grpcclient.InferInput]) -> None:
        for number, request in enumerate(requests):
            self.ask(f"{name} {number}", request)

    def wait(self, count: int | None = None) -> None:
        """Wait until so many have ended, all where None is given."""
        with self._ended:
            assert self._ended.wait_for(lambda: len(self.order) >= (count or self._asked), 120)


def test_urgent_request_passes_those_that_wait(served: tuple[TritonServer, Path]) -> None:
    bulk = [new_request(LARGEST) for _ in range(8)]
    with grpcclient.InferenceServerClient(served[0].grpc) as client:
        asked = Asked(client)
        asked.ask_all("bulk", bulk)
        asked.wait(1)
        asked.ask("ordinary", new_request(1))
        asked.ask("urgent", new_request(1), priority=1)
        asked.wait()
    assert asked.errors == {}
    # The urgent one was sent last of all.
    assert asked.order.index("urgent") < asked.order.index("ordinary")
    assert len(asked.order) - asked.order.index("urgent") > 3, asked.order


def test_request_that_waits_beyond_its_own_time_is_refused(served: tuple[TritonServer, Path]) -> None:
    bulk = [new_request(LARGEST) for _ in range(8)]
    with grpcclient.InferenceServerClient(served[0].grpc) as client:
        asked = Asked(client)
        asked.ask_all("bulk", bulk)
        # Small requests would overtake large ones on their way, and find nobody to wait for.
        asked.wait(1)
        asked.ask("impatient", new_request(1), timeout=1_000)
        asked.ask("patient", new_request(1), timeout=60_000_000)
        asked.wait()
    assert set(asked.errors) == {"impatient"}
    assert "Request timeout expired" in asked.errors["impatient"]


def test_busy_server_is_not_taken_for_a_broken_one(served: tuple[TritonServer, Path]) -> None:
    server, _ = served
    bulk = [new_request(LARGEST) for _ in range(16)]
    with grpcclient.InferenceServerClient(server.grpc) as client:
        asked = Asked(client)
        began = time.monotonic()
        asked.ask_all("bulk", bulk)
        asked.wait(2)
        a_few = 2 * (time.monotonic() - began)
        assert failure(server.http, timeout=a_few) is None
        assert probe(server.http, timeout=a_few / 4) is not None
        asked.wait()
    assert probe(server.http) is None


def ask_at_once(server: TritonServer, clients: int, images: int) -> list[str]:
    """Send requests from many clients; the error of each, empty for the answered ones."""

    def ask(number: int) -> str:
        try:
            client.infer(ENTRY_MODEL, [new_request(images)], client_timeout=120)
        except InferenceServerException as error:
            return str(error)
        return ""

    with grpcclient.InferenceServerClient(server.grpc) as client, ThreadPoolExecutor(clients) as pool:
        return list(pool.map(ask, range(2 * clients)))


def test_full_queue_refuses_at_once_and_a_slow_one_in_time(bundle: Bundle, tmp_path: Path) -> None:
    """One executes, one waits and loses patience, the others find no place to wait."""
    options = RepositoryOptions(queue=Queue(max_requests=1, timeout_us=20_000))
    with TritonServer(install(bundle, tmp_path / "repository", options)) as server:
        errors = ask_at_once(server, clients=12, images=LARGEST)
    kinds = ("xceeds maximum queue size", "Request timeout expired")
    found = {next((kind for kind in kinds if kind in error), error) for error in errors}
    assert found == {"", *kinds}


def test_request_that_waited_too_long_is_put_behind_the_others(bundle: Bundle, tmp_path: Path) -> None:
    options = RepositoryOptions(
        queue=Queue(timeout_us=60_000_000, client_timeout=True, timeout_action="delay")
    )
    repository = install(bundle, tmp_path / "repository", options)
    *first, impatient = [new_request(LARGEST) for _ in range(4)]
    patient = [new_request(LARGEST) for _ in range(5)]
    with TritonServer(repository) as server, grpcclient.InferenceServerClient(server.grpc) as client:
        asked = Asked(client)
        asked.ask_all("first", first)
        # Requests may overtake each other on their way: the others have to be there already.
        asked.wait(1)
        asked.ask("impatient", impatient, timeout=1_000)
        asked.ask_all("patient", patient)
        asked.wait()
    assert asked.errors == {}
    # Without a timeout it would be the fourth.
    assert asked.order.index("impatient") > 3, asked.order


@contextlib.contextmanager
def traced(served: tuple[TritonServer, Path]) -> Iterator[list[dict[str, Any]]]:
    """Yield a list that, when the block has ended, holds the events of what was asked in it."""
    server, folder = served
    events: list[dict[str, Any]] = []
    with grpcclient.InferenceServerClient(server.grpc) as client:
        # One file a trace from now on, which is written when the trace ends.
        client.update_trace_settings(settings={"log_frequency": "1"})
        before = set(folder.glob("trace.json.*"))
        yield events
        last = f"last of {next(seeds)}"
        client.infer(ENTRY_MODEL, [new_request(1)], request_id=last)
        deadline = time.monotonic() + 30
        while last not in {event.get("request_id") for event in events} and time.monotonic() < deadline:
            time.sleep(0.1)
            events[:] = [
                event for file in set(folder.glob("trace.json.*")) - before for event in read_trace(file)
            ]
        client.update_trace_settings(settings={"log_frequency": "0"})


def read_trace(file: Path) -> list[dict[str, Any]]:
    try:
        return list(json.loads(file.read_text()))
    except ValueError:
        return []  # being written


@pytest.mark.parametrize("transport", ["message", "shared-memory"])
def test_a_request_has_the_id_of_whom_it_is_for(served: tuple[TritonServer, Path], transport: str) -> None:
    encoder = open_encoder(f"triton:grpc://{served[0].grpc}?transport={transport}")
    with contextlib.closing(encoder), traced(served) as events:
        with trace.traced(trace.Trace(f"for {transport}")) as asked:
            encoder.encode([make_image(next(seeds))])
        encoder.encode([make_image(next(seeds))])
    ids = [event.get("request_id") for event in events if event.get("model_name") == ENTRY_MODEL]
    assert f"for {transport}" in ids
    assert asked.seconds.keys() == {"encode"}


def executions(events: list[dict[str, Any]], model: str) -> set[tuple[int, int]]:
    """List when a model computed, as (start, end) in nanoseconds; merged requests share one."""
    ids = {event["id"] for event in events if event.get("model_name") == model}
    times: dict[int, dict[str, int]] = {}
    for event in events:
        if event["id"] in ids:
            for stamp in event.get("timestamps", []):
                times.setdefault(event["id"], {})[stamp["name"]] = stamp["ns"]
    return {(each["COMPUTE_START"], each["COMPUTE_END"]) for each in times.values() if "COMPUTE_END" in each}


def overlaps(some: set[tuple[int, int]], others: set[tuple[int, int]]) -> int:
    """Count the pairs of different executions that ran at the same time."""
    return sum(a != b and a[0] < b[1] and b[0] < a[1] for a in some for b in others)


def test_rate_limit_keeps_network_and_decoding_apart(served: tuple[TritonServer, Path]) -> None:
    """Two decoders share the resource and run together; the network takes all of it and runs alone."""
    requests = [new_request(LARGEST) for _ in range(8)]
    with traced(served) as events, grpcclient.InferenceServerClient(served[0].grpc) as client:
        asked = Asked(client)
        asked.ask_all("request", requests)
        asked.wait()
        assert asked.errors == {}
    decoding, network = (executions(events, model) for model in (PREPROCESS_MODEL, ONNX_MODEL))
    assert len(network) >= len(requests)
    assert overlaps(decoding, decoding) > 0
    assert overlaps(decoding, network) == 0


def test_trace_shows_a_request_through_the_ensemble(served: tuple[TritonServer, Path]) -> None:
    with traced(served) as events, grpcclient.InferenceServerClient(served[0].grpc) as client:
        answer = client.infer(ENTRY_MODEL, [new_request(1)], request_id="query-71")
    assert answer.get_response().id == "query-71"
    models = {event["model_name"] for event in events if event.get("request_id") == "query-71"}
    assert models == {ENTRY_MODEL, ONNX_MODEL, PREPROCESS_MODEL}
