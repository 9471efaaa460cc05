"""A search node has no torch; listing the zoo does not wait for it."""

import subprocess
from collections.abc import Callable

import pytest

BLOCKED = """
import sys
for name in ("torch", "torchvision", "safetensors"):
    sys.modules[name] = None  # importing it raises ImportError
"""


@pytest.mark.parametrize(
    "module",
    [
        "preprocess",
        "card",
        "labels",
        "errors",
        "files",
        "pose",
        "registry",
        "hub.cache",
        "hub.remote",
        "hub.download",
        "fetch",
        "folder",
        "__main__",
    ],
)
def test_imports_without_torch(
    run_python: Callable[[str], subprocess.CompletedProcess[str]], module: str
) -> None:
    ran = run_python(f"{BLOCKED}\nimport zoo.{module}")
    assert ran.returncode == 0, ran.stderr


def test_commands_work_without_torch(run_python: Callable[[str], subprocess.CompletedProcess[str]]) -> None:
    ran = run_python(f"{BLOCKED}\nfrom zoo.__main__ import main\nsys.exit(main(['list', '--json']))")
    assert ran.returncode == 0, ran.stderr
    assert '"models"' in ran.stdout
