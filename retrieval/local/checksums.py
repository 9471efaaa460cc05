"""Checksums: what is read again is what was written.

CRC-32 finds every change of up to 32 bits in a row, and all but one in four billion of any others; it is
against faults of disks and people, not against somebody who means harm.
"""

from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

_CHUNK = 2**24


class DamagedError(Exception):
    """A file that is derived from the database is not what was written; the database has it all."""


def of_file(path: Path) -> int:
    """The checksum of all its bytes."""
    checksum = 0
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            checksum = crc32(chunk, checksum)
    return checksum


def of_vectors(vectors: np.ndarray) -> np.ndarray:
    """The checksum of each row of float32 [M, D], uint32 [M]."""
    whole = np.ascontiguousarray(vectors, "<f4")
    return np.fromiter(map(crc32, whole), np.uint32, len(whole))


def of_values(*values: Any) -> int:
    """The checksum of plain values as a database gives them back: numbers, strings, bytes and None."""
    plain = repr([value for value in values if not isinstance(value, bytes)])
    checksum = crc32(plain.encode(errors="replace"))
    for value in values:
        if isinstance(value, bytes):
            checksum = crc32(value, checksum)
    return checksum
