"""Every stored embedding in float32: those of the last snapshot in a file, newer ones in memory."""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

BLOCK_BYTES = 16 * 2**20


class Vectors:
    """Embeddings by position, float32 [N, D].

    The file holds the first of them and is only ever appended to, so that several processes can share it.
    Single rows are read with `pread`, which leaves the process's memory alone; only a scan of everything maps
    the file, and afterwards gives the pages back.

    Args:
        dimension: D.
        path: of a vector file; None where no snapshot exists.
        rows: how many the file holds; what lies behind them is a write that was cut short.
    """

    def __init__(self, dimension: int, path: Path | None = None, rows: int = 0) -> None:
        self.dimension = dimension
        self.path: Path | None = None
        self.saved = 0
        self._file: int | None = None
        self._mapped: mmap.mmap | None = None
        self._tail = np.zeros((0, dimension), np.float32)
        self._tail_rows = 0
        if path is not None and rows:
            self._open(path, rows)

    def __len__(self) -> int:
        return self.saved + self._tail_rows

    @property
    def tail(self) -> np.ndarray:
        """The vectors that are not in the file, float32 [M, D]; valid until the next `append`."""
        return self._tail[: self._tail_rows]

    def append(self, vectors: np.ndarray) -> None:
        """Add vectors, float32 [M, D], at the end."""
        count = self._tail_rows + len(vectors)
        if count > len(self._tail):
            room = max(count, int(1.5 * self._tail_rows), 256)
            grown = np.empty((room, self.dimension), np.float32)
            grown[: self._tail_rows] = self.tail
            self._tail = grown
        self._tail[self._tail_rows : count] = vectors
        self._tail_rows = count

    def rows(self, positions: np.ndarray) -> np.ndarray:
        """Some vectors, float32 [M, D], a copy."""
        result = np.empty((len(positions), self.dimension), np.float32)
        old = positions < self.saved
        result[~old] = self._tail[positions[~old] - self.saved]
        if self._file is not None and old.any():
            size = 4 * self.dimension
            view = result.view(np.uint8).reshape(-1).data
            for row in np.flatnonzero(old).tolist():
                start = row * size
                os.preadv(self._file, [view[start : start + size]], int(positions[row]) * size)
        return result

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """All vectors in large blocks without a copy, each with the position of its first."""
        step = max(1, BLOCK_BYTES // (4 * self.dimension))
        if self._mapped is not None:
            stored = np.frombuffer(self._mapped, "<f4").reshape(-1, self.dimension)
            for start in range(0, self.saved, step):
                yield start, stored[start : min(start + step, self.saved)]
        for start in range(0, self._tail_rows, step):
            yield self.saved + start, self._tail[start : min(start + step, self._tail_rows)]

    def release(self) -> None:
        """Give the pages of a scan back; the kernel still caches them as long as it has room."""
        if self._mapped is not None:
            self._mapped.madvise(mmap.MADV_DONTNEED)

    def write(self, path: Path) -> None:
        """Append what is only in memory to the file, on the disk when this returns, and read it from there.

        Args:
            path: of a new file, which vectors that have no file yet begin.
        """
        path = self.path or path
        with open(path, "r+b" if self.path else "w+b") as file:
            file.seek(self.saved * 4 * self.dimension)
            file.write(np.ascontiguousarray(self.tail, "<f4").data)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        self._open(path, len(self))

    def _open(self, path: Path, rows: int) -> None:
        file = os.open(path, os.O_RDONLY)
        self._mapped = mmap.mmap(file, rows * 4 * self.dimension, prot=mmap.PROT_READ)
        self._close_file()
        self._file, self.path, self.saved = file, path, rows
        self._tail, self._tail_rows = np.zeros((0, self.dimension), np.float32), 0

    def close(self) -> None:
        """Let the file go; a map that is still looked at goes with its last view."""
        self._mapped = None
        self._close_file()

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
