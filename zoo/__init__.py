"""Vehicle re-identification models: registry, cards, weights, label names and the one image preprocessing."""

import os

import lazy_loader

import vehicle_reid  # noqa: F401 - says so where a folder hides one of our packages

# A torch_npu that lacks its CANN libraries would break `import torch` itself. `training.distributed.npu`
# imports it by name when an NPU is wanted. Every command imports from this package before it imports torch.
os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
