"""The address of a search: everything that it was asked with, as the page's query string."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

from retrieval.cases.case import SavedSearch
from retrieval.gallery.entries import Box
from retrieval.gallery.filters import FIELDS, Filters
from retrieval.query.feedback import Feedback
from retrieval.query.looks import Looks
from retrieval.sources.crop import parse_box
from zoo.errors import UserError

_MAX_LENGTH = 32_000
OF_GALLERY = "key:"
"""What the name of a further picture begins with that is one of the gallery's."""
MAX_OTHERS = 15
"""Further pictures; 16 are searched with together, as over REST."""
_GROUPS = ("track", "vehicle")


@dataclass(frozen=True)
class Address:
    """What a search was asked with; each part that is left out is as on a new page.

    Attributes:
        upload: the name that `Uploads` knows the query picture by.
        key: of the gallery's image that is searched with.
        box: what of the upload.
        others: names of further pictures of the same vehicle, each with its box.
        search: how is searched; 0 results where nobody has said how many.
        case: the id of the case that the search is of; alone, all that the case says.
    """

    upload: str = ""
    key: str = ""
    box: Box | None = None
    others: tuple[tuple[str, Box | None], ...] = ()
    search: SavedSearch = field(default_factory=SavedSearch)
    case: str = ""

    def write(self) -> str:
        """The query string with its question mark; empty for a new page."""
        search = self.search
        values: dict[str, Any] = {
            "case": self.case,
            "upload": self.upload,
            "key": self.key,
            "box": _sides(self.box),
            "also": [",".join(filter(None, (name, _sides(box)))) for name, box in self.others],
            "words": search.words.strip(),
            **search.filters.parameters(),
            "like": search.feedback.positive,
            "unlike": search.feedback.negative,
            "k": search.k or "",
            "group": "" if search.group == "none" else search.group,
            "rerank": "1" if search.rerank else "",
            "query_camera": "" if search.query_camera is None else search.query_camera,
            "soft": "" if search.looks is None else "1",
            "soft_color": () if search.looks is None else search.looks.colors,
            "soft_type": () if search.looks is None else search.looks.types,
        }
        said = {name: value for name, value in values.items() if value not in ("", (), [])}
        return f"?{urlencode(said, doseq=True, quote_via=quote)}" if said else ""

    @classmethod
    def read(cls, text: str) -> "Address":
        """Read a query string; what is not the page's own in it is passed over.

        Raises:
            UserError: a value that cannot be read.
        """
        if len(text) > _MAX_LENGTH:
            raise UserError(f"the address has {len(text)} characters, more than {_MAX_LENGTH}; copy it again")
        said = parse_qs(text.removeprefix("?"), errors="replace")

        def last(name: str) -> str:
            return said.get(name, [""])[-1]

        conditions = {
            each.name: said[each.name] if each.is_multiple else last(each.name)
            for each in FIELDS
            if each.name in said
        }
        looks = Looks(_unique(said.get("soft_color", ())), _unique(said.get("soft_type", ())))
        group = last("group")
        box = last("box")
        search = SavedSearch(
            last("words"),
            Filters.read(conditions),
            Feedback(_unique(said.get("like", ())), _unique(said.get("unlike", ()))),
            _number("k", last("k")) or 0,
            group if group in _GROUPS else "none",
            last("rerank") == "1",
            _number("query_camera", last("query_camera")),
            looks if last("soft") == "1" else None,
        )
        others = tuple(map(_other, _unique(said.get("also", ())[:MAX_OTHERS])))
        return cls(last("upload"), last("key"), parse_box(box) if box else None, others, search, last("case"))


def _sides(box: Box | None) -> str:
    return ",".join(f"{side:g}" for side in box or ())


def _other(text: str) -> tuple[str, Box | None]:
    if text.startswith(OF_GALLERY):
        return text, None
    name, _, box = text.partition(",")
    return name, parse_box(box) if box else None


def _unique(keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(keys))


def _number(name: str, text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise UserError(f"{name}={text} in the address is not a whole number; open the page without it")
    return int(text)
