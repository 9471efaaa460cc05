"""Which index a gallery of some size gets."""

from dataclasses import dataclass

from zoo.errors import UserError

AUTO, EXACT = "auto", "exact"


@dataclass(frozen=True)
class IndexPolicy:
    """When a gallery stops being searched exactly, and when what is in memory is written down.

    Attributes:
        index: `auto`, `exact`, or the factory string of a FAISS index, such as `IVF4096,SQ8` or `HNSW32,SQ8`.
        exact_up_to: rows; below, `auto` scans everything, which takes milliseconds.
        index_from: rows from which an index of a factory string is made; fewer cannot train most of them.
        snapshot_rows: rows that are in memory alone before a snapshot is written; of a large gallery, a
            twentieth of it.
        most_unsaved: rows at which one is written however large the gallery is: their vectors take memory.
        grown: the index is built anew when the gallery has become this many times as large.
    """

    index: str = AUTO
    exact_up_to: int = 30_000
    index_from: int = 4096
    snapshot_rows: int = 10_000
    most_unsaved: int = 250_000
    grown: float = 4.0

    def factory(self, rows: int) -> str | None:
        """The FAISS factory string for a gallery of `rows`; None for an exact scan."""
        if self.index == EXACT or rows < (self.exact_up_to if self.index == AUTO else self.index_from):
            return None
        if self.index != AUTO:
            return self.index
        # RaBitQ's codes are scanned nearly ten times as fast as the vectors themselves, so that few lists
        # are enough, and the clustering that makes them stays a matter of seconds.
        lists = 256
        while lists < 2048 and lists * 256 < rows:
            lists *= 2
        return f"IVF{lists},RaBitQ"

    def is_snapshot_due(self, rows: int, unsaved: int) -> bool:
        """Whether so much is in memory alone that it should be written down."""
        return unsaved >= max(self.snapshot_rows, min(rows // 20, self.most_unsaved))


def check_index(spec: str) -> str:
    """Return `spec` where an index can be made of it.

    Raises:
        UserError: neither `auto` nor `exact` nor a factory string that FAISS takes.
    """
    if spec in (AUTO, EXACT):
        return spec
    import faiss

    try:
        faiss.index_factory(64, spec)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"--index {spec}: not an index that FAISS makes; give auto, exact, or a factory string such as "
            "IVF1024,RaBitQ"
        ) from error
    return spec
