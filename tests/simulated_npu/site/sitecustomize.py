"""Python runs this at start in the simulation alone: the torch of this machine passes for the CPU build.

torch_npu aborts the process beside a GPU build, so the product refuses that; the machine that runs the tests
may well have one. What tells it is the constant `torch.version.cuda`. A clock that is wrong can be had, too.
"""

import importlib.machinery
import os
import sys
import time
from types import ModuleType


class CpuBuild(importlib.machinery.PathFinder):
    """Finds `torch.version` where it is, and clears two constants after it has run."""

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        if fullname != "torch.version":
            return None
        spec = super().find_spec(fullname, path, target)
        run = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            run(module)
            module.cuda = module.hip = None

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, CpuBuild)

if ahead := float(os.environ.get("SIMULATED_CLOCK_AHEAD", "0")):
    right = time.time
    time.time = lambda: right() + ahead
