"""Every stored embedding in float32: those of the last snapshot in a file, newer ones in memory."""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from zlib import crc32

import numpy as np

from retrieval.local.checksums import DamagedError, of_vectors

BLOCK_BYTES = 16 * 2**20


class StoredVectors(Protocol):
    """Embeddings by position, float32 [N, D], that can be read and compared."""

    @property
    def dimension(self) -> int:
        """D."""

    def __len__(self) -> int: ...

    def rows(self, positions: np.ndarray) -> np.ndarray:
        """Some vectors, float32 [M, D], a copy."""

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """All vectors in blocks, each with the position of its first."""

    def release(self) -> None:
        """Give the memory of a scan back."""


class VectorFile:
    """The first rows of a vector file, float32 [N, D], open for as long as somebody looks at them.

    Single rows are read with `pread`, which leaves the process's memory alone; only a scan of everything maps
    the file, and afterwards gives the pages back. Nothing is handed out that is not what was written: a
    single row is checked whenever it is read, a block of a scan once, and again when the file was touched.

    Args:
        path: of the file.
        checksums: of its rows, uint32 [N].
        dimension: D.
    """

    def __init__(self, path: Path, checksums: np.ndarray, dimension: int) -> None:
        self.path = path
        self.checksums = checksums
        self.rows = rows = len(checksums)
        self._checked: set[int] = set()
        self._stamp = (0, 0)
        self._size = 4 * dimension
        self._dimension = dimension
        self._file = os.open(path, os.O_RDONLY)
        self._mapped = mmap.mmap(self._file, rows * self._size, prot=mmap.PROT_READ)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def read_into(self, result: np.ndarray, places: np.ndarray, positions: np.ndarray) -> None:
        """Read rows of the file into rows of `result`, float32 [M, D].

        Raises:
            DamagedError: one is not what was written.
        """
        view = result.view(np.uint8).reshape(-1).data
        wanted = self.checksums[positions].tolist()
        for place, position, checksum in zip(places.tolist(), positions.tolist(), wanted, strict=True):
            row = view[place * self._size : (place + 1) * self._size]
            try:
                os.preadv(self._file, [row], position * self._size)
            except OSError as error:
                raise DamagedError(self.path) from error
            if crc32(row) != checksum:
                raise DamagedError(self.path)

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """All rows in large blocks without a copy, each with the position of its first.

        Raises:
            DamagedError: one is not what was written.
        """
        step = max(1, BLOCK_BYTES // self._size)
        stored = np.frombuffer(self._mapped, "<f4").reshape(-1, self._dimension)
        for start in range(0, self.rows, step):
            status = os.fstat(self._file)
            if status.st_size < self.rows * self._size:
                # To touch pages that are no longer there would end the process.
                raise DamagedError(self.path)
            if self._stamp != (status.st_mtime_ns, status.st_size):
                self._stamp, self._checked = (status.st_mtime_ns, status.st_size), set()
            block = stored[start : start + step]
            checked = self._checked
            if start not in checked:
                if not np.array_equal(of_vectors(block), self.checksums[start : start + step]):
                    raise DamagedError(self.path)
                checked.add(start)
            yield start, block

    def release(self) -> None:
        """Give the pages of a scan back; the kernel still caches them as long as it has room."""
        self._mapped.madvise(mmap.MADV_DONTNEED)


class Vectors:
    """Embeddings by position, float32 [N, D].

    The file holds the first of them and is only ever appended to, so that several processes can share it.
    An object never changes: adding and writing make another one, which shares its arrays. Only the newest
    may be added to, by one thread at a time.

    Args:
        dimension: D.
        file: of the first vectors; None where no snapshot exists.
        tail: room for the vectors that are not in the file, float32 [room, D].
        tail_rows: how many of them there are.
    """

    def __init__(
        self,
        dimension: int,
        file: VectorFile | None = None,
        tail: np.ndarray | None = None,
        tail_rows: int = 0,
    ) -> None:
        self.dimension = dimension
        self._file = file
        self._tail = np.zeros((0, dimension), np.float32) if tail is None else tail
        self._tail_rows = tail_rows

    @classmethod
    def read(cls, dimension: int, path: Path, checksums: np.ndarray) -> "Vectors":
        """The rows of a file that have checksums; what lies behind them is a write that was cut short."""
        return cls(dimension, VectorFile(path, checksums, dimension) if len(checksums) else None)

    def __len__(self) -> int:
        return self.saved + self._tail_rows

    @property
    def path(self) -> Path | None:
        """The file, where there is one."""
        return None if self._file is None else self._file.path

    @property
    def saved(self) -> int:
        """How many vectors the file holds."""
        return 0 if self._file is None else self._file.rows

    @property
    def checksums(self) -> np.ndarray:
        """Of those in the file, uint32 [N]."""
        return np.zeros(0, np.uint32) if self._file is None else self._file.checksums

    @property
    def tail(self) -> np.ndarray:
        """The vectors that are not in the file, float32 [M, D]."""
        return self._tail[: self._tail_rows]

    def with_rows(self, vectors: np.ndarray) -> "Vectors":
        """These vectors and more, float32 [M, D], at the end."""
        count = self._tail_rows + len(vectors)
        tail = self._tail
        if count > len(tail):
            # Rows that nobody has written to take no memory yet, while each copy has all twice.
            room = max(count, 4 * self._tail_rows, 256)
            tail = np.empty((room, self.dimension), np.float32)
            tail[: self._tail_rows] = self.tail
        tail[self._tail_rows : count] = vectors
        return Vectors(self.dimension, self._file, tail, count)

    def rows(self, positions: np.ndarray) -> np.ndarray:
        """Some vectors, float32 [M, D], a copy."""
        result = np.empty((len(positions), self.dimension), np.float32)
        old = positions < self.saved
        result[~old] = self._tail[positions[~old] - self.saved]
        if self._file is not None and old.any():
            self._file.read_into(result, np.flatnonzero(old), positions[old])
        return result

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """All vectors in large blocks without a copy, each with the position of its first."""
        step = max(1, BLOCK_BYTES // (4 * self.dimension))
        if self._file is not None:
            yield from self._file.blocks()
        for start in range(0, self._tail_rows, step):
            yield self.saved + start, self._tail[start : min(start + step, self._tail_rows)]

    def release(self) -> None:
        """Give the pages of a scan back."""
        if self._file is not None:
            self._file.release()

    def written(self, path: Path) -> "Vectors":
        """Append what is only in memory to the file, on the disk when this returns, and read it from there.

        Args:
            path: of a new file, for vectors that have none yet, or whose file somebody has taken away.

        Raises:
            DamagedError: what is in the file is not what was written.
        """
        is_there = self.path is not None and self.path.exists()
        if self.path is not None and is_there:
            path = self.path
        with open(path, "r+b" if is_there else "w+b") as file:
            if is_there:
                file.seek(self.saved * 4 * self.dimension)
            elif self._file is not None:
                file.writelines(block.data for _, block in self._file.blocks())
            file.write(np.ascontiguousarray(self.tail, "<f4").data)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        return Vectors.read(self.dimension, path, np.append(self.checksums, of_vectors(self.tail)))
