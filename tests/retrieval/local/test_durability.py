"""An acknowledged add or remove survives kill -9 at any instant."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from retrieval.galleries import open_gallery

DIMENSION = 64

# Adds and removes in an order that its line numbers tell, and says so only after the gallery has returned.
WRITER = f"""
import sys
import numpy as np
from retrieval.gallery.entries import Entry, GalleryModel
from retrieval.galleries import open_gallery
from retrieval.local import synchronizer
from retrieval.local.index_policy import IndexPolicy
from zoo.card import Card

model = GalleryModel(Card("tiny.one", (32, 32), {{"embedding": {DIMENSION}}}), "hash")
# Snapshots, an index, and vectors between two snapshots, so often that kills fall into their writing too.
synchronizer._MOST_IN_MEMORY = 2 * 4 * {DIMENSION}
policy = IndexPolicy("Flat", index_from=20, snapshot_rows=4)
gallery = open_gallery(sys.argv[1], model=model, writable=True, policy=policy)
print("open", flush=True)
for number in range(int(sys.argv[2]), 10**9):
    if number % 3 == 2:
        gallery.remove([str(number - 1)])
    else:
        gallery.add([Entry(str(number), np.full({DIMENSION}, number + 1, np.float32), picture=b"p" * 3000)])
    print(number, flush=True)
"""


def expected_keys(steps: int) -> set[str]:
    """What is there after the steps 0 .. steps - 1."""
    return {str(n) for n in range(steps) if n % 3 != 2 and not (n % 3 == 1 and n + 1 < steps)}


@pytest.mark.parametrize("kills", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_acknowledged_changes_survive_kill(tmp_path: Path, kills: int) -> None:
    chance = random.Random(6)
    done = 0
    for _ in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(done)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        time.sleep(chance.uniform(0, 0.12))
        process.send_signal(signal.SIGKILL)
        # What was printed before the kill is still in the pipe; a line cut short was not acknowledged.
        lines = process.stdout.read().splitlines(keepends=True)
        process.wait()
        process.stdout.close()
        acknowledged = [int(line) for line in lines if line.endswith("\n")]
        done = acknowledged[-1] + 1 if acknowledged else done
        if not (tmp_path / "gallery.sqlite").exists():
            continue
        with open_gallery(tmp_path) as gallery:
            hits = gallery.search(np.zeros(DIMENSION, np.float32), 0)
        keys = {hit.key for hit in hits}
        # The step after the last acknowledged one may or may not have been committed.
        assert keys in (expected_keys(done), expected_keys(done + 1))
        assert all(hit.distance == (float(hit.key) + 1) * DIMENSION**0.5 for hit in hits)
        done += keys != expected_keys(done)
    assert done > kills
