"""The names of a gallery's images in memory, packed: as Python strings, ten million of them take 700 MB."""

from collections.abc import Collection, Sequence

import numpy as np

_CHUNK = 2**20
_WEIGHTS = np.random.default_rng(0).integers(1, 2**32, 4096, np.uint32) | np.uint32(1)


class Keys:
    """Names by position.

    An object never changes: adding makes another one, which shares the arrays. Only the newest may be added
    to, by one thread at a time.
    """

    def __init__(self, packed: np.ndarray, ends: np.ndarray, count: int | None = None) -> None:
        """Take names over.

        Args:
            packed: their UTF-8 bytes one after the other, uint8, and room.
            ends: where each ends, int64, and room.
            count: how many there are; all that `ends` holds where None is given.
        """
        self._packed, self._ends = packed, ends
        self._count = len(ends) if count is None else count
        # Of the first names; those of others are made when they are wanted.
        self._hashes = np.zeros(0, np.uint32)

    @classmethod
    def of(cls, keys: Sequence[str] = ()) -> "Keys":
        """These names."""
        return cls(np.zeros(0, np.uint8), np.zeros(0, np.int64)).with_keys(keys)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, position: int) -> str:
        start = int(self._ends[position - 1]) if position else 0
        return bytes(self._packed[start : int(self._ends[position])].data).decode()

    @property
    def packed(self) -> np.ndarray:
        """The bytes of all names, uint8, without a copy."""
        return self._packed[: int(self._ends[self._count - 1]) if self._count else 0]

    @property
    def lengths(self) -> np.ndarray:
        """The number of bytes of each name, int32 [N]."""
        return np.diff(self._ends[: self._count], prepend=0).astype(np.int32)

    def with_keys(self, keys: Sequence[str]) -> "Keys":
        """These names and more, at the end."""
        encoded = [key.encode() for key in keys]
        count, start = self._count + len(keys), len(self.packed)
        ends = start + np.cumsum([len(key) for key in encoded], dtype=np.int64)
        grown = Keys(
            with_room(self._packed, start, int(ends[-1]) if keys else start),
            with_room(self._ends, self._count, count),
            count,
        )
        grown._packed[start : start + sum(map(len, encoded))] = np.frombuffer(b"".join(encoded), np.uint8)
        grown._ends[self._count : count] = ends
        grown._hashes = self._hashes
        return grown

    def among(self, keys: Collection[str]) -> np.ndarray:
        """The positions that have one of these names, int64, ascending."""
        named = set(keys)
        wanted = Keys.of(list(named))._hashed()
        if len(self._hashes) < len(self):
            self._hashes = np.append(self._hashes, self._hashed(len(self._hashes)))
        # A table of their last bits leaves few to compare; to sort all would take longer.
        marked = np.zeros(2**16, np.bool_)
        marked[wanted.astype(np.uint16)] = True
        likely = np.flatnonzero(marked[self._hashes.astype(np.uint16)])
        likely = likely[np.isin(self._hashes[likely], wanted)]
        return np.array([place for place in likely.tolist() if self[place] in named], np.int64)

    def _hashed(self, first: int = 0) -> np.ndarray:
        """A number made of each name from position `first` on, uint32."""
        found = np.zeros(len(self) - first, np.uint32)
        for start in range(first, len(self), _CHUNK):
            ends = self._ends[start : min(start + _CHUNK, len(self))]
            before = int(self._ends[start - 1]) if start else 0
            lengths = np.diff(ends, prepend=before)
            begins = ends - before - lengths
            octets = self._packed[before : int(ends[-1])].astype(np.uint32)
            octets *= _WEIGHTS[(np.arange(len(octets)) - np.repeat(begins, lengths)) % len(_WEIGHTS)]
            filled = np.flatnonzero(lengths)
            if len(filled):
                found[start - first + filled] = np.add.reduceat(octets, begins[filled])
        return found


def with_room(array: np.ndarray, used: int, needed: int) -> np.ndarray:
    """An array that has `needed` places, with the first `used` values; the same one where it has."""
    if needed <= len(array):
        return array
    # Doubling, because a gallery that is filled grows by a batch many thousand times.
    roomy = np.empty(max(needed, 2 * used, 1024), array.dtype)
    roomy[:used] = array[:used]
    return roomy
