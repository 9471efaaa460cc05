"""A gallery on a real Milvus server, of release 2.3.5: the one that a package brings along."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(importlib.util.find_spec("milvus") is None, reason="needs `pip install milvus==2.3.5`")
def test_real_server(tmp_path: Path) -> None:
    """Answers as a folder's, several writers, moves there and back, kill -9 amid adds.

    That release listens on all interfaces, whatever its configuration says: so it gets a network of its own.
    """
    alone = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs a network namespace (unshare --net), which only root may make")
    checks = [sys.executable, "-m", "tests.retrieval.milvus.server_checks", str(tmp_path)]
    done = subprocess.run([*alone, *checks], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert [line.partition(":")[0] for line in done.stdout.splitlines() if ": " in line] == [
        "euclidean",
        "cosine",
        "writers",
        "transfer",
        "kill -9",
    ], done.stdout
