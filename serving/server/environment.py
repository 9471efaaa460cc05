"""The server's own small environment: a tritonserver from PyPI and the interpreter of its Python backend.

Under numpy 2 the backend of that release gives tensors of zero bytes and reports success; the project itself
uses numpy 2. So the server gets an environment of its own, made on first use in the user's cache and kept.
"""

import fcntl
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from serving.server.python_library import fetch_python_library, find_python_library
from zoo.errors import UserError
from zoo.files import write_text

PYTRITON = "nvidia-pytriton==0.7.0"
"""The wheel that carries Triton 2.51.0, that of NVIDIA's 24.10 container. Only its binaries are used."""

_LAST_PYTHON = (3, 12)
"""numpy below 2 has no wheels for later ones."""

_CHECK = "import numpy, onnxruntime, PIL.Image; assert numpy.__version__.startswith('1.')"


@dataclass(frozen=True)
class ServerEnv:
    """A whole server environment.

    Attributes:
        path: of the virtual environment.
        library_path: folders that LD_LIBRARY_PATH must have.
    """

    path: Path
    library_path: tuple[Path, ...]

    @property
    def site_packages(self) -> Path:
        """Where the wheels are unpacked."""
        return self.path / "lib" / _python_name() / "site-packages"

    @property
    def triton(self) -> Path:
        """The server's folder in the wheel: `bin`, `backends`, `caches`, `python_backend_stubs`."""
        return self.site_packages / "pytriton" / "tritonserver"

    @property
    def stub(self) -> Path:
        """The Python backend's worker for this interpreter's version."""
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return self.triton / "python_backend_stubs" / version / "triton_python_backend_stub"


def ensure_server_env() -> ServerEnv:
    """Return the server environment of this interpreter, making it where there is none.

    Raises:
        UserError: this Python is too new, its shared library is missing, or the packages cannot be had.
    """
    if sys.version_info[:2] > _LAST_PYTHON:
        raise UserError(
            f"the pip-installed server needs Python {_LAST_PYTHON[0]}.{_LAST_PYTHON[1]} or older (its "
            f"backend needs numpy below 2), this is {sys.version_info.major}.{sys.version_info.minor}"
        )
    library = f"lib{_python_name()}.so.1.0"
    found = find_python_library(library)
    requirements = _requirements()
    identity = "\n".join([*requirements, PYTRITON, sys.base_prefix, sys.version])
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    path = _cache_folder() / f"triton-server-{_python_name()}-{digest}"
    fetched = path / "lib" / "libpython"
    wheel_libraries = path / "lib" / _python_name() / "site-packages" / "nvidia_pytriton.libs"
    python_libraries = (fetched,) if found is None else found
    env = ServerEnv(path, (wheel_libraries, *python_libraries))
    complete = path / "complete"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f"{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not complete.exists():
                # Without the mark, what is there was interrupted half-way.
                shutil.rmtree(path, ignore_errors=True)
            if found is None and not (fetched / library).exists():
                # Before the long part, so that a machine where it cannot be had is told at once.
                fetch_python_library(library, fetched)
            if not complete.exists():
                _build(env, requirements)
                write_text(complete, identity + "\n")
    except OSError as error:
        raise UserError(
            f"{path}: the server's environment cannot be made there ({error.strerror or error}); "
            "free some space, or set XDG_CACHE_HOME to another folder"
        ) from error
    return env


def _build(env: ServerEnv, requirements: list[str]) -> None:
    print(
        f"making the server's own environment, once (about 400 MB): {env.path}", file=sys.stderr, flush=True
    )
    _run([sys.executable, "-m", "venv", str(env.path)], "on Debian, apt-get install python3-venv")
    pip = [str(env.path / "bin" / "python3"), "-m", "pip", "install", "--quiet", "--no-input"]
    pip += ["--disable-pip-version-check"]
    cure = "check the network, or name an index of your own in PIP_INDEX_URL"
    _run([*pip, *requirements], cure)
    # Its dependencies are those of its own API (a client, a proxy, numpy 2): none is needed for the binary.
    _run([*pip, "--no-deps", PYTRITON], cure)
    # The backend's interpreter ignores PYTHON* variables, and would write __pycache__ into the repository.
    no_bytecode = env.site_packages / "no_bytecode.pth"
    no_bytecode.write_text("import sys; sys.dont_write_bytecode = True\n", encoding="utf-8")
    _run([str(env.path / "bin" / "python3"), "-I", "-c", _CHECK], "delete the folder and try again")
    for file in (env.stub, env.triton / "bin" / "tritonserver"):
        if not file.is_file():
            raise UserError(f"{PYTRITON} has no {file.relative_to(env.triton)} for this interpreter")


def _run(command: list[str], cure: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).strip().splitlines() or [f"exit code {done.returncode}"]
        reason = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1])
        step = " ".join(command[1:4])
        raise UserError(f"the server's environment cannot be made: `{step}` failed ({reason}); {cure}")


def _requirements() -> list[str]:
    """Pin what computes to the project's own versions, so that server and in-process encoder agree."""
    return ["numpy<2", *(f"{name}=={importlib.metadata.version(name)}" for name in ("onnxruntime", "pillow"))]


def _python_name() -> str:
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


def _cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "vehicle-reid-zoo"
