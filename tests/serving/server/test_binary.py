"""Where the server comes from: a whole installation on PATH first, then the wheel."""

import os
import shutil
from pathlib import Path

import pytest

from serving.bundle import Bundle
from serving.probe import probe
from serving.server.binary import container_command, find_server
from serving.server.environment import ServerEnv, ensure_server_env
from serving.server.server import TritonServer
from zoo.errors import UserError


@pytest.fixture(scope="module")
def env() -> ServerEnv:
    return ensure_server_env()


@pytest.fixture
def installation(env: ServerEnv, bundle: Bundle, tmp_path: Path) -> Path:
    """A server installed as in the container: `bin` beside `backends`, a worker among them."""
    root = tmp_path / "opt"
    shutil.copytree(env.triton / "bin", root / "bin")
    assembled = tmp_path / "assembled"
    find_server(bundle.repository, assembled)
    shutil.copytree(assembled / "backends", root / "backends")
    return root


def path_of(*folders: Path) -> str:
    return os.pathsep.join([*(str(folder) for folder in folders), os.environ["PATH"]])


def test_server_on_path_is_preferred(
    installation: Path, env: ServerEnv, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", path_of(installation / "bin", env.path / "bin"))
    monkeypatch.setenv("LD_LIBRARY_PATH", os.pathsep.join(str(folder) for folder in env.library_path))
    with TritonServer(bundle) as server:
        assert Path(f"/proc/{server.pid}/exe").resolve() == installation / "bin" / "tritonserver"
        assert probe(server.http, bundle.card.outputs) is None
        environment = Path(f"/proc/{server.pid}/environ").read_bytes().split(b"\0")
        assert b"MALLOC_TRIM_THRESHOLD_=33554432" in environment


def test_interpreter_that_cannot_serve_is_reported(
    installation: Path, env: ServerEnv, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "python3").symlink_to("/bin/false")
    monkeypatch.setenv("PATH", path_of(installation / "bin", tmp_path / "python"))
    with pytest.raises(UserError, match=r"needs numpy < 2 and Pillow: pip install 'numpy<2' pillow=="):
        find_server(bundle.repository, tmp_path / "run")


def test_incomplete_server_on_path_is_left_aside(
    env: ServerEnv, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    shutil.copy(env.triton / "bin" / "tritonserver", tmp_path / "bin")
    monkeypatch.setenv("PATH", path_of(tmp_path / "bin"))
    found = find_server(bundle.repository, tmp_path / "run")
    assert found.command[0] == str(env.triton / "bin" / "tritonserver")
    assert {"MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"} <= found.environment.keys()
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000000")
    chosen = find_server(bundle.repository, tmp_path / "again").environment
    assert not any(name.startswith("MALLOC_") for name in chosen)
    assert "GLIBC_TUNABLES" in chosen
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0")
    assert "GLIBC_TUNABLES" not in find_server(bundle.repository, tmp_path / "third").environment


def test_environment_is_made_once(env: ServerEnv) -> None:
    made = (env.path / "complete").stat().st_mtime_ns
    assert ensure_server_env() == env
    assert (env.path / "complete").stat().st_mtime_ns == made


def test_container_command_can_be_pasted(bundle: Bundle) -> None:
    command = container_command(bundle.repository)
    assert command.startswith("docker run ")
    assert f"-v '{bundle.repository}:/models:ro'" in command
    assert "-p 127.0.0.1:8001:8001" in command
