"""A case: a named, saved search with what it found, what was marked of it, and what somebody wrote."""

import base64
import re
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, cast

import numpy as np

from retrieval.gallery.entries import Box, Camera, Result
from retrieval.gallery.filters import Filters
from retrieval.query.feedback import Feedback
from retrieval.query.looks import Looks
from zoo.errors import UserError
from zoo.sameness import FALSE_MATCH_RATE, Verdict

MAX_NAME = 120
MAX_NOTES = 20_000
MAX_BYTES = 48 * 2**20
"""Of a case's pictures together."""

_ID = re.compile(r"[0-9a-f]{32}")


class UnfitCaseError(UserError):
    """A case that cannot be kept as it is."""


def new_id() -> str:
    """An id that no other case has."""
    return uuid.uuid4().hex


def is_id(text: str) -> bool:
    """Whether a text is of the form of an id; nothing else is ever made a file's name."""
    return _ID.fullmatch(text) is not None


@dataclass(frozen=True)
class CaseImage:
    """An image that a case searches with.

    Attributes:
        key: of the gallery's image; empty for a file.
        data: the file, whole; empty for the gallery's image.
        box: what of the file.
        picture: a small JPEG of what was searched with.
    """

    key: str = ""
    data: bytes = b""
    box: Box | None = None
    picture: bytes = b""


@dataclass(frozen=True)
class SavedSearch:
    """How a case searches, besides its images.

    Attributes:
        words: that were typed; the filters hold what they mean.
        filters: the conditions.
        feedback: the marks.
        k: how many results.
        group: `track`, `vehicle` or `none`.
        rerank: whether the results are ordered by mutual neighbours.
        query_camera: that the images come from.
        looks: colours and types that order the first results; None where those do not count.
    """

    words: str = ""
    filters: Filters = field(default_factory=Filters)
    feedback: Feedback = field(default_factory=Feedback)
    k: int = 0
    group: str = "none"
    rerank: bool = False
    query_camera: int | None = None
    looks: Looks | None = None


@dataclass(frozen=True)
class Findings:
    """What a case's search found when it was saved.

    Attributes:
        results: in order.
        verdict: on the search; None where nothing can be told.
        false_match_rate: promised of it.
        images: that the gallery had.
        searched: how many of them met the filters.
        model, model_hash: whose embeddings were compared.
    """

    results: tuple[Result, ...] = ()
    verdict: Verdict | None = None
    false_match_rate: float = FALSE_MATCH_RATE
    images: int = 0
    searched: int = 0
    model: str = ""
    model_hash: str = ""


@dataclass(frozen=True, eq=False)
class Case:
    """A case as its file holds it.

    Attributes:
        id: 32 hexadecimal digits.
        name: what people call it.
        images: that it searches with; none for a search by attributes.
        embedding: float32 [D], what was compared: the images' fused, moved by the marks; empty without any.
        search: how it searches.
        findings: what it found.
        notes: what somebody wrote.
        is_closed: whether nobody works on it any more.
        alarms_per_day: false alarms that its watch may raise a day; 0 where it is not watched.
        created, changed: seconds since 1970.
        created_by, changed_by: the names of the keys; None without keys.
    """

    id: str
    name: str
    images: tuple[CaseImage, ...] = ()
    embedding: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    search: SavedSearch = field(default_factory=SavedSearch)
    findings: Findings = field(default_factory=Findings)
    notes: str = ""
    is_closed: bool = False
    alarms_per_day: float = 0.0
    created: float = 0.0
    created_by: str | None = None
    changed: float = 0.0
    changed_by: str | None = None

    @property
    def is_watched(self) -> bool:
        """Whether new entries of the gallery are held against it."""
        return self.alarms_per_day > 0 and not self.is_closed and self.embedding.size > 0

    def checked(self) -> "Case":
        """The case with its name trimmed.

        Raises:
            UnfitCaseError: a name, notes, pictures or a number of false alarms that cannot be kept.
        """
        name = " ".join(self.name.split())
        if not name or len(name) > MAX_NAME or not name.isprintable():
            raise UnfitCaseError(
                f"{self.name[:40]!r}: a case's name has 1 to {MAX_NAME} printable characters"
            )
        if len(self.notes) > MAX_NOTES:
            raise UnfitCaseError(
                f"the notes have {len(self.notes)} characters, more than {MAX_NOTES}; shorten them"
            )
        held = sum(len(image.data) for image in self.images)
        if held > MAX_BYTES:
            raise UnfitCaseError(
                f"the pictures have {held} bytes, more than the {MAX_BYTES} of a case; use smaller ones"
            )
        if not 0 <= self.alarms_per_day <= 1000:
            raise UnfitCaseError(
                f"{self.alarms_per_day:g} false alarms a day: a number from 0 (no watch) to 1000 is expected"
            )
        return replace(self, name=name)

    def without_files(self) -> "Case":
        """The same without the whole files, for lists that are kept in memory."""
        return replace(self, images=tuple(replace(image, data=b"") for image in self.images))

    def as_json(self) -> dict[str, Any]:
        """What the file holds."""
        search, findings = self.search, self.findings
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        return plain | {
            "images": [
                asdict(image) | {"data": _text(image.data), "picture": _text(image.picture)}
                for image in self.images
            ],
            "embedding": _text(self.embedding.astype("<f4").tobytes()),
            "search": asdict(search) | {"filters": search.filters.parameters()},
            "findings": asdict(findings) | {"results": list(map(_plain, findings.results))},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Case":
        """Read what `as_json` has written.

        Raises:
            KeyError, TypeError, ValueError, UserError: it is something else.
        """
        search, findings = dict(content["search"]), dict(content["findings"])
        search["filters"] = Filters.read(search["filters"])
        # Cases of before have none.
        if (looks := search.get("looks")) is not None:
            search["looks"] = Looks(tuple(looks["colors"]), tuple(looks["types"]))
        marks = search["feedback"]
        search["feedback"] = Feedback(tuple(marks["positive"]), tuple(marks["negative"]))
        findings["results"] = tuple(map(_result, findings["results"]))
        images = tuple(
            CaseImage(
                image["key"],
                base64.b64decode(image["data"]),
                _box(image["box"]),
                base64.b64decode(image["picture"]),
            )
            for image in content["images"]
        )
        embedding = np.frombuffer(base64.b64decode(content["embedding"]), "<f4").astype(np.float32)
        return cls(
            **{
                **content,
                "images": images,
                "embedding": embedding,
                "search": SavedSearch(**search),
                "findings": Findings(**findings),
            }
        )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _box(sides: list[float] | None) -> Box | None:
    return None if sides is None else cast(Box, tuple(map(float, sides)))


def _plain(result: Result) -> dict[str, Any]:
    """A result without the zone of whoever looks at it."""
    return {name: value for name, value in asdict(result).items() if name != "zone"}


def _result(content: Mapping[str, Any]) -> Result:
    seen_by = content["seen_by"]
    return Result(
        **{
            **content,
            "box": _box(content["box"]),
            "seen_by": None if seen_by is None else Camera(**seen_by),
        }
    )
