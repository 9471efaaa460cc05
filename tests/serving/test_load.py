"""The load command counts right answers, and would count wrong ones."""

from pathlib import Path

import numpy as np

from benchmarks.serving_load import Load, main, make_images, resident_bytes
from serving.bundle import Bundle
from serving.encoder_onnx import OnnxEncoder
from serving.server import TritonServer


def test_answers_are_held_against_their_own_images(server: TritonServer, bundle: Bundle) -> None:
    images = make_images()
    encoder = OnnxEncoder(bundle.path, threads=1)
    expected = encoder.encode(images).embedding
    encoder.close()
    right = Load(server, images, expected, malformed=0.3)
    right.run(seconds=2, concurrency=2, kill=False)
    assert right.counts["right"] > 0
    assert right.counts["refused"] > 0
    assert set(right.counts) == {"right", "refused"}
    swapped = Load(server, images, np.roll(expected, 1, axis=0), malformed=0)
    swapped.run(seconds=1, concurrency=2, kill=False)
    assert set(swapped.counts) == {"wrong"}


def test_command_passes_on_a_sound_server(bundle: Bundle) -> None:
    assert main(["--bundle", str(bundle.path), "--minutes", "0.05", "--concurrency", "4"]) == 0


def test_memory_is_that_of_server_and_workers(server: TritonServer) -> None:
    alone = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * 4096
    assert resident_bytes(server.pid) > alone
