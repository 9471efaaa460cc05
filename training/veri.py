"""VeRi's splits; see `training.datasets`."""

from training.datasets import read_split

__all__ = ["read_split"]
