"""Random streams by name, so that one part of the world never shifts another's draws."""

import zlib

import numpy as np


def seed_of(seed: int, *names: str | int) -> np.random.SeedSequence:
    """The seed of what `names` lead to, for instance `seed_of(0, "train", 12)`."""
    return np.random.SeedSequence(
        [seed, *(zlib.crc32(name.encode()) if isinstance(name, str) else name for name in names)]
    )


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """The generator of what `names` lead to."""
    return np.random.Generator(np.random.PCG64(seed_of(seed, *names)))
