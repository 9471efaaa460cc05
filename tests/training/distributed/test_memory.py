"""Freed memory that is kept: once a few steps have been made, one more asks the kernel for nothing."""

import platform
import subprocess
from collections.abc import Callable

import pytest

RunPython = Callable[[str], subprocess.CompletedProcess[str]]

FAULTS = """
import resource, torch
from training.distributed.devices import keep_freed_memory
kept = keep_freed_memory() if {keep} else None
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(20_000_000) for _ in range(4)]
    del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(kept, [faults() for _ in range(6)][-1])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_a_step_finds_the_memory_of_those_before(run_python: RunPython) -> None:
    answers = [run_python(FAULTS.format(keep=keep)) for keep in (True, False)]
    kept, default = (answer.stdout.split() for answer in answers)
    assert kept[0] == "True", answers[0].stderr
    # 320 MB are 78,125 pages of 4 KB.
    assert int(kept[1]) < 1000
    assert int(default[1]) > 50_000
