"""libpython from Debian's package, with the real apt of the machine where it has one."""

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from serving.server.python_library import fetch_python_library, find_python_library
from zoo.errors import UserError

SYSTEM_PYTHON = Path("/usr/bin/python3")


def test_library_that_is_nowhere_is_not_found() -> None:
    assert find_python_library("libpython3.99.so.1.0") is None


def test_library_of_the_system_is_not_fetched() -> None:
    assert find_python_library("libc.so.6") is not None


def test_package_is_unpacked_into_the_folder_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which("apt-get") is None or not SYSTEM_PYTHON.exists():
        pytest.skip("no apt or no Python of a distribution here: there is no package to take")
    # As the function does: root fetches missing lists, another user has what the machine has.
    if os.geteuid() != 0 and not list(Path("/var/lib/apt/lists").glob("*Packages*")):
        pytest.skip("apt has no package lists, and only root can fetch them")
    name = f"lib{SYSTEM_PYTHON.resolve().name}.so.1.0"
    folder = tmp_path / "cache 缓存" / "libpython"
    fetch_python_library(name, folder, SYSTEM_PYTHON)
    assert [path.name for path in folder.iterdir()] == [name]
    version = ctypes.CDLL(str(folder / name)).Py_GetVersion
    version.restype = ctypes.c_char_p
    shown = subprocess.run([SYSTEM_PYTHON, "--version"], capture_output=True, text=True, check=True).stdout
    assert version().decode().split()[0] == shown.split()[1]
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("interpreter", [SYSTEM_PYTHON, Path("/opt/mine/bin/python3.99")])
def test_library_that_cannot_be_had_is_named(tmp_path: Path, interpreter: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # neither apt nor dpkg
    with pytest.raises(UserError, match=r"needs libpython3\.99\.so\.1\.0; .* install libpython3\.99$"):
        fetch_python_library("libpython3.99.so.1.0", tmp_path / "lib", interpreter)
    assert list((tmp_path / "lib").iterdir()) == []
