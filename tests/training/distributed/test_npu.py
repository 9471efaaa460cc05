"""What is said of a torch_npu that cannot be used. Each is a package of that name in a process of its own."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from tests.simulated_npu import SITE, environment, packaged, release, wants_simulation
from training.distributed import npu
from zoo.errors import UserError

ASK = (
    "from training.distributed.devices import choose_devices\n"
    "from zoo.errors import UserError\n"
    "try:\n    devices = choose_devices({})\n    print(devices.count, devices.kind.type)\n"
    "except UserError as error:\n    print(error)\n"
)
# This file stands for the build of torch that torch_npu takes, without the device.
CPU_BUILD = {"sitecustomize.py": (SITE / "sitecustomize.py").read_text()}
MISSING_LIBRARY = (
    "raise ImportError('libhccl.so: cannot open shared object file: No such file or directory')\n"
)
ABORTS = "import os\nos.abort()\n"
# What the real package registers, and not one device to go with it.
NO_DEVICE = (
    "from torch.utils import backend_registration\n"
    "class Npu(backend_registration._DummyBackendModule):\n"
    "    def is_available(self):\n        return False\n"
    "    def device_count(self):\n        return 0\n"
    "backend_registration._setup_privateuseone_for_python_backend('npu', Npu())\n"
)


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., tuple[str, str]]:
    """Choose devices in a process that has a certain torch_npu; what it prints on stdout and stderr."""

    def run(wish: str, module: str, version: str = release(), cpu_build: bool = True) -> tuple[str, str]:
        files = {"torch_npu/__init__.py": module, **(CPU_BUILD if cpu_build else {})}
        packaged(tmp_path, version, files)
        result = subprocess.run(
            [sys.executable, "-c", ASK.format(wish)],
            cwd=ROOT,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        return result.stdout.strip(), result.stderr

    return run


def test_a_library_of_cann_is_missing(ask) -> None:
    said, _ = ask("npus=1", MISSING_LIBRARY)
    assert "\n" not in said
    assert "libhccl.so, a library of CANN" in said
    assert "set_env.sh" in said


def test_a_broken_one_is_passed_over_where_no_npu_is_asked_for(ask) -> None:
    # torch itself would fail to be imported, had it looked for back ends.
    said, warned = ask("", MISSING_LIBRARY)
    assert said.split()[1] in ("cpu", "cuda")
    assert "warning: no NPU is used: torch_npu does not find libhccl.so" in warned


def test_it_is_not_touched_where_another_device_is_asked_for(ask) -> None:
    assert ask("cpus=2", MISSING_LIBRARY) == ("2 cpu", "")


@pytest.mark.skipif(torch.version.cuda is None, reason="this torch is a CPU build")
def test_beside_a_gpu_build_it_is_not_imported(ask) -> None:
    # An import would be the end of the process, as it is of the real one.
    said, _ = ask("npus=1", ABORTS, cpu_build=False)
    assert "is a GPU build, beside which torch_npu aborts" in said
    assert ", its CPU build (docs/npu.md" in said


def test_it_is_of_another_release(ask) -> None:
    said, _ = ask("npus=1", ABORTS, version="2.13.0.post1")
    assert said.startswith("torch_npu 2.13.0 does not fit torch 2.")
    assert "install torch==2.13.0, its CPU build" in said


@pytest.mark.parametrize("version", ["2.2.0", "2.1.0.post17"])
def test_it_is_too_old_whatever_torch_is_beside_it(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(npu, "is_installed", lambda: True)
    monkeypatch.setattr(npu.importlib.metadata, "version", lambda _: version)
    monkeypatch.setattr(torch, "__version__", version.partition(".post")[0])
    with pytest.raises(UserError, match=r"is older than this project runs with; install torch_npu 2\.3\.0"):
        npu.load()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ImportError("torch_npu/lib.so: undefined symbol: _ZN3c10"), "was built for another torch"),
        (ImportError("libtorch_cpu.so: cannot open shared object file"), "was built for another torch"),
        (RuntimeError("aclInit: 507033\nsecond line"), "cannot be used (aclInit: 507033 second line)"),
        (AssertionError(), "cannot be used (AssertionError)"),
    ],
)
def test_it_fails_otherwise(monkeypatch: pytest.MonkeyPatch, error: Exception, message: str) -> None:
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(npu, "is_installed", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(npu.importlib, "import_module", fail)
    with pytest.raises(UserError) as raised:
        npu.load()
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@wants_simulation
def test_no_card_can_be_seen(ask) -> None:
    said, _ = ask("npus=1", NO_DEVICE)
    assert "no usable npu device here" in said
    assert "npu-smi info" in said
    assert "ASCEND_RT_VISIBLE_DEVICES" in said


def simulated(wish: str, cards: int) -> str:
    result = subprocess.run(
        [sys.executable, "-c", ASK.format(wish)],
        cwd=ROOT,
        env=environment(SITE, SIMULATED_NPUS=str(cards)),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return result.stdout.strip()


@wants_simulation
def test_fewer_cards_than_asked_for() -> None:
    assert "--npus 8: only 2 of them can be seen here; give --npus 2" in simulated("npus=8", 2)


@wants_simulation
def test_all_cards_without_a_wish() -> None:
    assert simulated("", 8) == "8 npu"
