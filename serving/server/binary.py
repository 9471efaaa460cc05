"""Where a tritonserver comes from: PATH, else the wheel on PyPI, else a command for NVIDIA's container."""

import importlib.metadata
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from serving.server.environment import ServerEnv, ensure_server_env
from serving.triton import onnxruntime_backend
from serving.triton.repository import server_flags
from zoo.errors import UserError

CONTAINER_IMAGE = "nvcr.io/nvidia/tritonserver:24.10-py3"
"""Triton 2.51.0, the release that the wheel carries as well."""


@dataclass(frozen=True)
class ServerBinary:
    """How to start a server.

    Attributes:
        command: the binary and the arguments that belong to its installation.
        environment: variables to set over the caller's.
    """

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)


def find_server(repository: Path, run_folder: Path) -> ServerBinary:
    """Find a server that can serve the repository, on PATH or else from PyPI's wheel.

    Args:
        repository: what is to be served; the container command names it.
        run_folder: of this start; the wheel's backends are assembled here.

    Raises:
        UserError: there is none. The message ends with the container command.
    """
    installed = shutil.which("tritonserver")
    if installed is not None:
        binary = Path(installed).resolve()
        backends = binary.parent.parent / "backends"
        if all((backends / name).is_dir() for name in ("python", "onnxruntime")):
            _check_interpreter(installed)
            return ServerBinary([installed, f"--backend-directory={backends}"], _allocation())
        print(f"{installed} is left aside: it has no python and onnxruntime backends", file=sys.stderr)
    try:
        env = ensure_server_env()
    except UserError as error:
        raise UserError(f"{error}. Or serve it in a container: {container_command(repository)}") from error
    return _from_wheel(env, run_folder)


def container_command(repository: Path) -> str:
    """Write the shell command that serves it in NVIDIA's container, on the loopback's usual ports."""
    pillow = importlib.metadata.version("pillow")
    serve = shlex.join(["tritonserver", "--model-repository=/models", *server_flags(repository)])
    inside = f"pip install 'numpy<2' pillow=={pillow} && exec {serve}"
    ports = [part for port in (8000, 8001, 8002) for part in ("-p", f"127.0.0.1:{port}:{port}")]
    mount = f"{repository.absolute()}:/models:ro"
    words = [
        "docker",
        "run",
        "--rm",
        "--shm-size=1g",
        *ports,
        "-v",
        mount,
        CONTAINER_IMAGE,
        "sh",
        "-c",
        inside,
    ]
    return shlex.join(words)


def _from_wheel(env: ServerEnv, run_folder: Path) -> ServerBinary:
    """Assemble the backend directory that the wheel lacks, and the variables that its parts need."""
    backends = run_folder / "backends"
    python = backends / "python"
    python.mkdir(parents=True)
    # Copies, never links: the server changes the mode of a worker that fails to start.
    for file in ("libtriton_python.so", "triton_python_backend_utils.py"):
        shutil.copy(env.triton / "backends" / "python" / file, python)
    shutil.copy(env.stub, python)
    (backends / "onnxruntime").mkdir()
    shutil.copy(Path(*onnxruntime_backend.__path__) / "model.py", backends / "onnxruntime")
    libraries = [str(folder) for folder in env.library_path]
    if existing := os.environ.get("LD_LIBRARY_PATH"):
        libraries.append(existing)
    return ServerBinary(
        [
            str(env.triton / "bin" / "tritonserver"),
            f"--backend-directory={backends}",
            f"--cache-directory={env.triton / 'caches'}",
            "--allow-gpu-metrics=false",
        ],
        {
            # The worker takes the first python3 on PATH for its interpreter.
            "PATH": f"{env.path / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "LD_LIBRARY_PATH": os.pathsep.join(libraries),
            # This onnxruntime backend runs on CPUs: the server must not place instances on GPUs.
            "CUDA_VISIBLE_DEVICES": "",
            **_allocation(),
        },
    )


def _allocation() -> dict[str, str]:
    """How glibc allocates, but for what the caller has said of it.

    It keeps the memory of an ordinary picture, which it would else give back after each and take anew, empty
    pages one by one. And it asks for huge pages, which Linux gives on request: the network looks up fewer.
    """
    kept = {"MALLOC_MMAP_THRESHOLD_": str(16 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(32 * 2**20)}
    huge = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    groups = [group for group in (kept, huge) if not any(name in os.environ for name in group)]
    return {name: value for group in groups for name, value in group.items()}


def _check_interpreter(installed: str) -> None:
    """Make sure that the python3 which a server on PATH will use can decode images."""
    check = "import numpy, PIL.Image; raise SystemExit(int(numpy.__version__.split('.')[0]) > 1)"
    done = subprocess.run(["python3", "-I", "-c", check], capture_output=True, check=False)
    if done.returncode != 0:
        pillow = importlib.metadata.version("pillow")
        raise UserError(
            f"{installed}: its Python backend runs the python3 on PATH, which needs numpy < 2 and Pillow: "
            f"pip install 'numpy<2' pillow=={pillow}"
        )
