"""The doctor on this machine, and ten faults of a machine, on simulated NPUs: each is named in one line."""

import json
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.simulated_npu import SITE, environment, packaged, release, wants_simulation

OPTIONS = ("--amp", "O0", "--patience", "300")


def doctor(*options: str, env: dict[str, str], prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    command = [*prefix, sys.executable, "-m", "training.doctor", *options]
    return subprocess.Popen(
        command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def said(process: subprocess.Popen[str], code: int) -> list[str]:
    """What a doctor says that is not ok, driver and CANN left out, which a simulated machine has not."""
    out, err = process.communicate(timeout=500)
    assert process.returncode == code, out + err
    usual = ("ok ", "warn  driver", "warn  CANN", "warn  HCCL_EXEC_TIMEOUT", "warn  memory", "warn  loader")
    return [line for line in out.splitlines() if not line.startswith(usual)]


def simulated(fault: str = "", **variables: str) -> dict[str, str]:
    """A machine with two simulated NPUs."""
    return environment(SITE, ROOT, SIMULATED_NPUS="2", SIMULATED_NPU_FAULT=fault, **variables)


def test_this_machine(tmp_path: Path) -> None:
    bundle = tmp_path / "doctor.zip"
    options = ("--cpus", "1", *OPTIONS, "--out", str(tmp_path / "runs"), "--bundle", str(bundle), "--json")
    process = doctor(*options, env=environment(ROOT))
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, out + err
    *lines, report = out.splitlines()
    assert {line.split()[0] for line in lines} <= {"ok", "warn"}
    checks = [line.split(":")[0].split(maxsplit=1)[1] for line in lines]
    assert [c for c in checks if c in ("disk", "cards", "step O0", "speed", "all-reduce")] == [
        "disk",
        "cards",
        "step O0",
        "speed",
        "all-reduce",
    ]
    assert json.loads(report)["fit"]
    assert not (tmp_path / "runs").exists()
    with zipfile.ZipFile(bundle) as archive:
        assert sorted(archive.namelist()) == ["cards.json", "packages.txt", "report.json"]
        assert json.loads(archive.read("report.json"))["facts"]["packages"]["torch"]


def test_wrong_pair(tmp_path: Path) -> None:
    packaged(tmp_path, "2.13.0", {"torch_npu/__init__.py": ""})
    shutil.copy(SITE / "sitecustomize.py", tmp_path)
    (line,) = said(doctor("--npus", "2", env=environment(tmp_path, ROOT)), 1)
    assert line.startswith("fail  devices: torch_npu 2.13.0 does not fit torch 2")
    assert "; install torch==2.13.0, its CPU build" in line


def test_missing_library(tmp_path: Path) -> None:
    error = "raise ImportError('libhccl.so: cannot open shared object file: No such file or directory')\n"
    packaged(tmp_path, release(), {"torch_npu/__init__.py": error})
    shutil.copy(SITE / "sitecustomize.py", tmp_path)
    (line,) = said(doctor("--npus", "2", env=environment(tmp_path, ROOT)), 1)
    assert line.startswith(
        "fail  devices: torch_npu does not find libhccl.so, a library of CANN; install CANN"
    )


@wants_simulation
def test_disk_full(tmp_path: Path) -> None:
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("no file system can be mounted here: unshare -rm fails")
    mount = f'mount -t tmpfs -o size=8m none {tmp_path} && exec "$@"'
    prefix = ("unshare", "-rm", "sh", "-c", mount, "sh")
    process = doctor("--npus", "9", "--out", str(tmp_path), env=simulated(), prefix=prefix)
    disk, devices = said(process, 1)
    assert disk == (
        f"fail  disk: {tmp_path}: No space left on device; free some space there, or choose another --out"
    )
    assert devices.startswith("fail  devices: --npus 9: only 2 of them can be seen here; give --npus 2")


@wants_simulation
def test_clock_skew_between_machines() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{probe.getsockname()[1]}"
    options = ("--npus", "2", *OPTIONS, "--nnodes", "2", "--rdzv-endpoint", place)
    both = [doctor(*options, env=simulated(SIMULATED_CLOCK_AHEAD=ahead)) for ahead in ("0", "120")]
    for process in both:
        (line,) = said(process, 1)
        assert line.startswith("fail  clocks: that of ")
        assert " is 120 s ahead of the others', and they would take each other for dead; set both" in line


@wants_simulation
@pytest.mark.parametrize(
    ("fault", "code", "start"),
    [
        ("format:1", 1, "fail  step O0: card 1: Current device only support aclnn operator, and current"),
        pytest.param("dead:1", 1, "fail  arithmetic: card 1: call aclnnMm failed", marks=pytest.mark.slow),
        pytest.param("saturation:0", 1, "fail  overflow: card 0: saturation", marks=pytest.mark.slow),
        pytest.param("slow:1", 0, "warn  speed: card 1 takes ", marks=pytest.mark.slow),
        pytest.param("killed:1", 1, "fail  ranks: rank 1 was killed by SIGKILL", marks=pytest.mark.slow),
        pytest.param("hang:1", 1, "fail  all-reduce: no answer from card", marks=pytest.mark.slow),
    ],
)
def test_a_fault_of_a_card(fault: str, code: int, start: str) -> None:
    patience = ("--patience", "20") if fault.startswith("hang") else ()
    (line,) = said(doctor("--npus", "2", *OPTIONS, *patience, env=simulated(fault)), code)
    assert line.startswith(start)
    assert "; " in line


def test_settings_that_cost_or_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    from training.diagnosis.machine import check_variables

    for name, value in {
        "HCCL_EXEC_TIMEOUT": "600",
        "HCCL_CONNECT_TIMEOUT": "60",
        "TASK_QUEUE_ENABLE": "0",
        "INF_NAN_MODE_ENABLE": "0",
        "OMP_NUM_THREADS": "999",
    }.items():
        monkeypatch.setenv(name, value)
    found = {finding.check: finding for finding in check_variables("npu", 8)}
    assert found["HCCL_EXEC_TIMEOUT"].line() == (
        "warn  HCCL_EXEC_TIMEOUT: = 600 s, and the group waits 3600 s, as while the first rank judges a "
        "large gallery; export HCCL_EXEC_TIMEOUT=3600"
    )
    assert found.keys() == {
        "HCCL_EXEC_TIMEOUT",
        "HCCL_CONNECT_TIMEOUT",
        "TASK_QUEUE_ENABLE",
        "INF_NAN_MODE_ENABLE",
        "OMP_NUM_THREADS",
        "variables",
    }
