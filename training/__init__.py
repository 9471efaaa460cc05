"""Training of re-identification models: data sets, losses, ranks, the loop, evaluation."""

import lazy_loader

import vehicle_reid  # noqa: F401 - says so where a folder hides one of our packages

# Before any torch: the package settles whether torch may look for device back ends by itself.
import zoo  # noqa: F401

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
