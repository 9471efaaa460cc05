"""Serving: export, the Triton repository, a real server for it, and the encoders that ask model or server."""

import lazy_loader

import vehicle_reid  # noqa: F401 - says so where a folder hides one of our packages

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
