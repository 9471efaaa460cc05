"""libpython, which the backend's worker is linked to: found on the system, or taken from Debian's package.

Debian and Ubuntu link their interpreter statically, so a machine with `python3.11` need not have the library.
Taking it from its package needs no root and leaves the system as it is.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from zoo.errors import UserError

_TIMEOUT_SECONDS = 300.0


def find_python_library(name: str) -> tuple[Path, ...] | None:
    """Find libpython: the folder to add to the loader's path, nothing to add, or None where it is nowhere."""
    folder = Path(str(sysconfig.get_config_var("LIBDIR")))
    if (folder / name).exists():
        return (folder,)
    loads = subprocess.run(
        [sys.executable, "-I", "-c", f"import ctypes; ctypes.CDLL('{name}')"],
        capture_output=True,
        check=False,
    )
    return () if loads.returncode == 0 else None


def fetch_python_library(name: str, folder: Path, interpreter: str | Path = sys.executable) -> None:
    """Put libpython into `folder`, from the package of the interpreter's distribution.

    Args:
        name: file name of the library, as `libpython3.11.so.1.0`.
        folder: made when there is none; it has the whole library afterwards, or is left as it was.
        interpreter: whose package gives the version to ask for.

    Raises:
        UserError: the package cannot be had; the message names it.
    """
    package = name.partition(".so")[0]
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder) as temporary:
        deb = _download(package, _package_version(interpreter), Path(temporary))
        if deb is not None and _succeeds(["dpkg-deb", "-x", deb.name, "unpacked"], deb.parent):
            for library in deb.parent.glob(f"unpacked/usr/lib/*/{name}"):
                library.replace(folder / name)
                print(f"{name} is not on this system: taken from {deb.name}", file=sys.stderr, flush=True)
                return
    raise UserError(f"the pip-installed server needs {name}; on Debian and Ubuntu: apt-get install {package}")


def _download(package: str, version: str | None, folder: Path) -> Path | None:
    """Download the package into `folder`, of that version where there is one."""
    if version is None or shutil.which("apt-get") is None:
        return None
    # Ubuntu renamed it when its time_t became 64 bits wide. The lists may only have a later Debian revision.
    wanted = [f"{name}{pin}" for pin in (f"={version}", "") for name in (package, f"{package}t64")]
    get = ["apt-get", "--quiet", "-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=30"]
    for attempt in ("lists as they are", "updated lists"):
        # Fresh images come without package lists; only root can fetch them.
        if attempt == "updated lists" and (os.geteuid() != 0 or not _succeeds([*get, "update"], folder)):
            return None
        for name in wanted:
            if _succeeds([*get, "download", name], folder):
                return next(folder.glob("*.deb"), None)
    return None


def _package_version(interpreter: str | Path) -> str | None:
    """Version of the Debian package that the interpreter is from; None where it is from none."""
    try:
        owner = subprocess.run(
            ["dpkg-query", "--search", str(Path(interpreter).resolve())],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.partition(": ")[0]
        shown = subprocess.run(
            ["dpkg-query", "--show", "--showformat=${Version}", owner],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return shown.stdout.strip() or None


def _succeeds(command: list[str], folder: Path) -> bool:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
