"""Retrieval: galleries of embeddings, searching them, and the services around that. Imports no torch."""

import lazy_loader

import vehicle_reid  # noqa: F401 - says so where a folder hides one of our packages

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
