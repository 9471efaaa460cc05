"""What people have written about a gallery's images, which a copy of the gallery is to have too."""

from collections.abc import Sequence
from dataclasses import dataclass

from retrieval.cases.store import CaseStore
from retrieval.gallery.base import Gallery
from retrieval.journeys.store import LinkStore

_SHOWN = 5


@dataclass(frozen=True)
class Companions:
    """What came along from one gallery to another.

    Attributes:
        cases: how many.
        marks: of links, how many.
        damaged_cases: ids of those that stayed behind.
        left: cases and marks that stayed behind, because a gallery in Milvus keeps none.
    """

    cases: int = 0
    marks: int = 0
    damaged_cases: Sequence[str] = ()
    left: int = 0

    def __str__(self) -> str:
        """In words."""
        if self.left:
            return f"{self.left} cases and marks of links stayed behind, which Milvus cannot keep"
        damaged = f"; damaged cases stayed behind: {some(self.damaged_cases)}"
        said = f"{self.cases} cases and {self.marks} marks of links came along"
        return said + damaged if self.damaged_cases else said


def take_over(source: Gallery, target: Gallery) -> Companions:
    """Bring cases, and what people said of links, to another gallery, where it has nothing newer."""
    if not source.owns_folder:
        return Companions()
    cases, links = CaseStore(source.folder), LinkStore(source.folder)
    known, damaged = cases.list()
    if not target.owns_folder:
        marks = [*links.marked("confirmed"), *links.marked("cut")]
        return Companions(left=len(known) + len(damaged) + len(marks))
    return Companions(
        CaseStore(target.folder).take_over(cases), LinkStore(target.folder).take_over(links), damaged
    )


def some(keys: Sequence[str]) -> str:
    """The first of keys that may be many, for a message."""
    return ", ".join(keys[:_SHOWN]) + (", .." if len(keys) > _SHOWN else "")
