"""Plain words become filters, and what does not is told."""

import re
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.gallery.entries import Camera
from retrieval.gallery.filters import Filters
from retrieval.gallery.geography import Near
from retrieval.query import grammar, words
from retrieval.query.words import read_words
from zoo.card import Card
from zoo.labels import COLORS, TYPES

CARD = Card("tiny.one", (32, 32), {"embedding": 4, "color_probs": 10, "type_probs": 9})
CAMERAS = (
    Camera(1, "North gate", 48.2, 11.5),
    Camera(2, "桥 <b>"),
    Camera(3, "camera 3", 48.1, 11.4),
    Camera(4, "c004", 48.0, 11.6),
    Camera(12, "White Lane"),
)
H = 3600.0
MAY_1 = 1714521600.0


def test_classes_of_the_model_go_by_their_own_names() -> None:
    card = Card(
        "own.one",
        (32, 32),
        {"embedding": 4, "color_probs": 3, "type_probs": 4},
        colors=("silver", "gray", "RAL 5002"),
        types=("motorcycle", "light_truck", "Tuk-Tuk", "三轮车"),
    )
    for text, expected in (
        ("silver motorcycles", Filters(("silver",), ("motorcycle",))),
        ("grey or ral 5002 light truck", Filters(("gray", "RAL 5002"), ("light_truck",))),
        ("light_truck or tuk-tuk", Filters((), ("light_truck", "Tuk-Tuk"))),
        ("tuk tuk, not silver", Filters(("gray", "RAL 5002"), ("Tuk-Tuk",))),
        ("灰色三轮车", Filters(("gray",), ("三轮车",))),
    ):
        found = read_words(text, card, ())
        assert (found.filters, found.unknown) == (expected, ()), text
    assert read_words("white truck", card, ()).unknown == ("white", "truck")


def read(text: str, last_known: float | None = None):
    return read_words(text, CARD, CAMERAS, last_known)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("white suv camera 3 after 8:00", Filters(("white",), ("suv",), (3,), after=8 * H)),
        ("白色 SUV 3号摄像头 8:00 之后", Filters(("white",), ("suv",), (3,), after=8 * H)),
        ("白色越野车,三号摄像头,八点以后", Filters(("white",), ("suv",), (3,), after=8 * H)),
        ("8:00 之后 经过 3号摄像头 的 白色 SUV", Filters(("white",), ("suv",), (3,), after=8 * H)),
        (
            "a white SUV, between eight and nine, north side",
            Filters(("white",), ("suv",), (1,), 8 * H, 9 * H),
        ),
        ("show me a grey or Silver pickup truck", Filters(("gray",), ("pickup",))),
        ("red, blue and green vans", Filters(("red", "blue", "green"), ("van",))),
        ("红色或蓝色的货车", Filters(("red", "blue"), ("truck",))),
        ("银灰色面包车", Filters(("gray",), ("van",))),
        ("cameras 3 and 4", Filters(cameras=(3, 4))),
        ("cameras 1-4", Filters(cameras=(1, 2, 3, 4))),
        ("cam 3, 8:00 to 9:30", Filters(cameras=(3,), after=8 * H, before=9.5 * H)),
        ("c004 before 9", Filters(cameras=(4,), before=9 * H)),
        ("摄像头3和4", Filters(cameras=(3, 4))),
        ("1、4号摄像头", Filters(cameras=(1, 4))),
        ("North gate or 桥 <b>", Filters(cameras=(1, 2))),
        ("white lane, black bus", Filters(("black",), ("bus",), (12,))),
        ("not camera 3", Filters(cameras=(1, 2, 4, 12))),
        ("between 8 and 9 pm", Filters(after=20 * H, before=21 * H)),
        ("11 to 1 pm", Filters(after=11 * H, before=13 * H)),
        ("from 22:00 to 2:00", Filters(after=22 * H, before=26 * H)),
        ("下午3点半到5点", Filters(after=15.5 * H, before=17 * H)),
        ("8点一刻之前", Filters(before=8.25 * H)),
        ("晚上十点二十分后", Filters(after=22 * H + 1200)),
        ("after 8 before 9:15", Filters(after=8 * H, before=9.25 * H)),
        ("around 0:05", Filters(after=0, before=1200)),
        ("around 8:00", Filters(after=8 * H - 900, before=8 * H + 900)),
        ("12:30左右", Filters(after=12.5 * H - 900, before=12.5 * H + 900)),
        ("after noon", Filters(after=12 * H)),
        ("8:00:30 onwards", Filters(after=8 * H + 30)),
        ("on 2024-05-01", Filters(after=MAY_1, before=MAY_1 + 24 * H - 1)),
        ("2024年5月1日 8:00之后", Filters(after=MAY_1 + 8 * H)),
        ("after 2024-05-01t08:00", Filters(after=MAY_1 + 8 * H)),
        ("2024-05-01 8:00 to 9:00", Filters(after=MAY_1 + 8 * H, before=MAY_1 + 9 * H)),
        ("near North gate", Filters(near=Near(48.2, 11.5, 500))),
        ("within 2 km of camera 3", Filters(near=Near(48.1, 11.4, 2000))),
        ("300m around 48.1,11.5", Filters(near=Near(48.1, 11.5, 300))),
        ("north gate附近800米", Filters(near=Near(48.2, 11.5, 800))),
        ("3号摄像头周围 白车", Filters(("white",), near=Near(48.1, 11.4, 500))),
        ("距north gate 1公里以内", Filters(near=Near(48.2, 11.5, 1000))),
        ("vehicle 12", Filters(vehicles=(12,))),
        ("white at least 80% sure", Filters(("white",), color_confidence=0.8, type_confidence=0.8)),
        ("colour over 70%", Filters(color_confidence=0.7)),
        ("车型置信度60%以上", Filters(type_confidence=0.6)),
        ("南侧", Filters(cameras=(4,))),
        ("", Filters()),
    ],
)
def test_understood(text: str, expected: Filters) -> None:
    found = read(text)
    assert (found.filters, found.unknown) == (expected, ())
    expected.check(CARD)


def test_not_is_never_taken_for_its_opposite() -> None:
    assert read("not red").filters.colors == tuple(name for name in COLORS if name != "red")
    assert read("不是白色或黑色的轿车").filters == Filters(
        tuple(name for name in COLORS if name not in ("white", "black")), ("sedan",)
    )
    assert read("it isn't a bus").filters.types == tuple(name for name in TYPES if name != "bus")


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("shiny white suv", ("shiny",)),
        ("camera 9", ("9",)),
        ("near 桥 <b>", ("near",)),
        ("after 8:75", ("after", "8:75")),
        ("破旧的红色轿车", ("破旧",)),
        ("150% sure", ("150%", "sure")),
        ("within 0 m of North gate", ("0", "m")),
        (f"within {'9' * 400} km of 48.1,11.5", ("km",)),
        ("near 95,11.5", ("near", "95", "11", "5")),
    ],
)
def test_what_is_not_understood_is_told(text: str, unknown: tuple[str, ...]) -> None:
    assert set(unknown) <= {*read(text).unknown, "after", "near"}
    assert read(text).unknown


def test_phrases_say_what_was_made_of_which_piece() -> None:
    found = read("white suv camera 3 after 8:00")
    assert [(phrase.text, phrase.condition, phrase.meaning) for phrase in found.phrases] == [
        ("white", "color", "white"),
        ("suv", "type", "suv"),
        ("camera 3", "camera", "camera 3"),
        ("after 8:00", "time", "8:00:00 \u2013"),
    ]


def test_a_time_without_a_date_is_one_of_the_last_day() -> None:
    found = read("after 8:00", last_known=MAY_1 + 20 * H)
    assert found.filters == Filters(after=MAY_1 + 8 * H)
    assert found.phrases[0].meaning == "2024-05-01 08:00:00 \u2013"


def test_parameters_are_those_of_the_rest_interface() -> None:
    filters = read("white or red suv near camera 3 vehicle 5 after 8 color 50%").filters
    assert filters.parameters() == {
        "color": ["white", "red"],
        "type": ["suv"],
        "vehicle": [5],
        "after": 8 * H,
        "near": "48.1,11.4,500",
        "color_confidence": 0.5,
    }
    assert Filters().parameters() == {}


_VOCABULARY = """
white suv not camera 3 8 8:00 after before to between near % north gate 白色 号摄像头 点 半 下午 附近 500 m km
, - . : ~ vehicle 2024-05-01 noon pm 2024-13-45 99 不是 桥 <b> 到 之后
"""
_WORDS = st.sampled_from(_VOCABULARY.split())


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.lists(_WORDS, max_size=14).map(" ".join), st.lists(_WORDS, max_size=14).map("".join), st.text()
    )
)
def test_whatever_is_typed_gives_filters_that_make_sense(text: str) -> None:
    """Or a range that ends before it begins, which the search tells in its own words."""
    found = read(text, last_known=MAY_1)
    filters = found.filters
    if filters.after is not None and filters.before is not None and filters.after > filters.before:
        return
    filters.check(CARD)
    assert set(filters.cameras) <= {camera.id for camera in CAMERAS}


def test_long_texts_are_read_quickly_and_told() -> None:
    assert read("white " * 20_000).filters == Filters(("white",))
    assert read("white " * 20_000).unknown
    read(" " * 500 + "1" * 500)
    read("1 , " * 125)
    read("white or " * 60 + "x")


def test_patterns_are_of_the_cameras_that_are_spoken_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 3,000 cameras: to make patterns of them all takes seconds."""
    made: list[list[str]] = []

    def few_rules(card: Card, names: Iterable[str]) -> list[tuple[str, re.Pattern[str]]]:
        made.append(sorted(names))
        return grammar.rules(card, names)

    monkeypatch.setattr(words, "rules", few_rules)
    cameras = [Camera(number, f"Gate {number}") for number in range(3000)]
    found = read_words("white car at Gate 117", CARD, cameras)
    assert found.filters.cameras == (117,)
    assert made == [["gate 1", "gate 11", "gate 117"]]
