"""What every room's tests share."""

import contextlib
import gc
import os
import random
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from zoo.errors import built_for_good

ROOT = Path(__file__).resolve().parents[1]

# Every run asks the same of the properties, so that it says something of a change and not of chance;
# HYPOTHESIS_PROFILE=default looks for new examples. The environments for cards have no hypothesis.
with contextlib.suppress(ImportError):
    from hypothesis import settings

    settings.register_profile("same", derandomize=True)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of `tests/adversary`."""
    group = parser.getgroup("adversary", "fault injection")
    group.addoption(
        "--adversary-seed", type=int, default=random.randrange(10**9), help="brings the same faults again"
    )
    group.addoption("--adversary-minutes", type=float, default=60, help="of the slow run; default: 60")


def pytest_report_header(config: pytest.Config) -> str:
    """The seed of this run's faults."""
    return f"adversary seed: {config.getoption('--adversary-seed')}"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """A worker imports everything; what is garbage then goes, and the rest stays."""
    with built_for_good():
        try:
            return (yield)
        finally:
            gc.collect()


@pytest.fixture(scope="session")
def run_python() -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run a piece of Python in an interpreter of its own, from the project's root."""

    def run(code: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
        )

    return run
