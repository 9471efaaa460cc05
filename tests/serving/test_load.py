"""The load command counts right answers, and would count wrong ones, losses and growth."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.launched_server import Recovery
from benchmarks.load_clients import Asked, Load, make_images
from benchmarks.processes import resident_bytes
from benchmarks.serving_load import count, failures, main, memory
from serving.bundle import Bundle
from serving.encoders.in_process import OnnxEncoder
from serving.server.server import TritonServer


def outcomes(load: Load) -> set[str]:
    return {each.outcome for each in load.asked}


def test_answers_are_held_against_their_own_images(server: TritonServer, bundle: Bundle) -> None:
    images = make_images()
    encoder = OnnxEncoder(bundle.path, threads=1)
    expected = encoder.encode(images).embedding
    encoder.close()
    right = Load(server.grpc, images, expected, malformed=0.3)
    right.run(seconds=2, concurrency=2)
    assert outcomes(right) == {"right", "refused"}
    swapped = Load(server.grpc, images, np.roll(expected, 1, axis=0), malformed=0)
    swapped.run(seconds=1, concurrency=2)
    assert outcomes(swapped) == {"wrong"}
    gone = Load("127.0.0.1:1", images, expected, malformed=0)
    gone.run(seconds=0.5, concurrency=1)
    assert outcomes(gone) == {"lost"}


def test_command_passes_on_a_sound_server(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--bundle", str(bundle.path), "--minutes", "0.05", "--concurrency", "4", "--json"]
    assert main([*command, "--malformed", "0.3"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["requests"] == result["right"] + result["malformed_refused"]
    assert result["malformed_refused"] > 0
    assert result["rss"]["idle_mb"] > 50
    assert (result["recoveries"], result["restarts"], result["failed"]) == ([], 0, [])


@pytest.mark.slow
def test_command_shows_the_recovery_from_every_kill(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--bundle", str(bundle.path), "--minutes", "2", "--concurrency", "4", "--json", "--kill"]
    assert main(command) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [each["killed"] for each in result["recoveries"]] == ["network worker", "decoder worker", "server"]
    assert all(each["seconds"] > 0 and each["cause"] for each in result["recoveries"])


def test_losses_are_those_that_no_kill_explains() -> None:
    outage = Recovery("server", at=10.0, seconds=5.0)
    asked = [
        Asked(1, 2, "lost"),
        Asked(9, 10.5, "lost"),
        Asked(14, 14.1, "lost"),
        Asked(16, 17, "lost"),
        Asked(3, 4, "right"),
    ]
    counts = count(asked, [outage])
    assert (counts["lost"], counts["lost_in_outages"], counts["right"]) == (2, 2, 1)


def test_memory_is_judged_after_the_warm_up() -> None:
    filling = [(float(second), 10**6 * min(100, 10 * second)) for second in range(60)]
    assert memory(filling, 60) == {"start_mb": 100, "end_mb": 100, "max_mb": 100, "drift_percent": 0}
    leaking = [(float(second), 10**6 * (100 + second)) for second in range(600)]
    found = memory(leaking, 600)
    assert found["drift_percent"] is not None
    assert found["drift_percent"] > 200
    result = {**count([Asked(0, 1, "right")], []), "rss": found, "recoveries": [], "restarts": 0}
    assert failures(result, kill=False) == ["memory grew by more than 3.0%"]
    assert memory(filling[:5], 5)["drift_percent"] is None


def test_memory_is_that_of_server_and_workers(server: TritonServer) -> None:
    alone = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * 4096
    assert resident_bytes(server.pid) > alone
