"""Python runs this at start on the fake driver: torch_npu gets CPU kernels once it is imported.

torchvision's wheel is built for CUDA and brings none of its operators beside the CPU build of torch; it still
imports where those that it describes for tracing are declared.
"""

import importlib.machinery
import os
import sys


def replace_kernels() -> None:
    import torch

    torch.ops.load_library(os.path.join(os.environ["FAKE_CANN"], "libkernels.so"))


def declare_operators() -> None:
    import torch

    declare_operators.library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        declare_operators.library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


class Hooks(importlib.machinery.PathFinder):
    """Does something before torchvision, and after torch_npu."""

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        if fullname not in ("torch_npu", "torchvision"):
            return None
        spec = super().find_spec(fullname, path, target)
        if spec is None:
            return None
        run = spec.loader.exec_module

        def exec_module(module):
            if fullname == "torchvision":
                declare_operators()
            run(module)
            if fullname == "torch_npu":
                replace_kernels()

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Hooks)
