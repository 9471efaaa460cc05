"""What the page says, in English and Chinese: a catalogue of texts by name for each language."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from pathlib import Path

from retrieval.gallery.clock import parse_zone
from retrieval.gallery.entries import Result, format_probability
from zoo.errors import UserError

LANGUAGES = {"en": "English", "zh": "中文"}

_TEXTS: dict[str, dict[str, str]] = {
    code: json.loads((Path(__file__).parent / "assets" / f"{code}.json").read_text(encoding="utf-8"))
    for code in LANGUAGES
}

_ERRORS = {
    "zh": [
        (re.compile(pattern, re.DOTALL), template)
        for pattern, template in json.loads(
            (Path(__file__).parent / "assets" / "zh_errors.json").read_text(encoding="utf-8")
        )
    ]
}
"""What users may be told by exceptions, as patterns with their groups, and how another language says it."""


@dataclass(frozen=True)
class Say:
    """Says things in a language and a time zone; another language than those of `LANGUAGES` is English."""

    language: str = "en"
    zone_name: str = "UTC"

    @property
    def zone(self) -> tzinfo:
        """In which times since 1970 are told and meant; UTC where nobody knows the one that is named."""
        try:
            return parse_zone(self.zone_name)
        except UserError:
            return UTC

    def localized(self, results: Sequence[Result]) -> list[Result]:
        """Results with their times told in the page's zone."""
        return [replace(result, zone=self.zone) for result in results]

    @property
    def _texts(self) -> dict[str, str]:
        return _TEXTS.get(self.language, _TEXTS["en"])

    def __call__(self, name: str, **values: object) -> str:
        """The text of a name, with its values filled in."""
        return self._texts[name].format(**values)

    def error(self, text: str) -> str:
        """A fault that the code words in English; one that nobody has translated stays as it is."""
        for pattern, template in _ERRORS.get(self.language, ()):
            if found := pattern.fullmatch(text):
                return str(template).format(*found.groups())
        return text

    def label(self, name: str) -> str:
        """A class name as people read it."""
        return self._texts.get(f"class.{name}", name)

    def percent(self, chance: float) -> str:
        """A probability."""
        return format_probability(chance)
