"""The page's catalogues: every language says the same things, with the same values in them."""

from string import Formatter

from retrieval.gallery.filters import FIELDS
from retrieval.page.texts import _TEXTS, LANGUAGES, Say


def test_catalogues_have_the_same_names_and_values() -> None:
    def values(text: str) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(text) if name is not None}

    assert set(_TEXTS) == set(LANGUAGES)
    english = {name: values(text) for name, text in _TEXTS["en"].items()}
    for texts in _TEXTS.values():
        assert {name: values(text) for name, text in texts.items()} == english
        assert all(texts.values())
    assert {field.name for field in FIELDS} <= set(english)


def test_another_language_is_english() -> None:
    assert Say("fr")("title") == Say("en")("title") != Say("zh")("title")
    assert (Say("zh").label("suv"), Say("en").label("suv"), Say("zh").label("tram")) == ("SUV", "SUV", "tram")
