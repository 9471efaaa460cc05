"""The patterns of plain words, in the order in which they are tried."""

import re
from collections.abc import Iterable
from typing import Any

from retrieval.query.spoken_time import CLOCK, DATE, TIME
from retrieval.query.vocabulary import color_words, type_words
from zoo.card import Card

NUMBER = r"(?:\d{1,6}|[一二三四五六七八九十])"
DEGREES = r"[-+]?\d{1,3}(?:\.\d+)?"
SIDES = {
    "north": (0, 1),
    "northern": (0, 1),
    "south": (0, -1),
    "southern": (0, -1),
    "east": (1, 1),
    "eastern": (1, 1),
    "west": (1, -1),
    "western": (1, -1),
    "北": (0, 1),
    "南": (0, -1),
    "东": (1, 1),
    "西": (1, -1),
}
"""Direction -> (0 for latitude or 1 for longitude, sign)."""

_NOT = (
    r"(?:(?P<not>\bnot\b|\bno\b|\bexcept\b|\bwithout\b|\bnor\b|n't\b|不是|不要|除了|非)\s*"
    r"(?:\b(?:a|an|the)\b\s*)?)?"
)
_JOIN = r"\s*(?:,\s*(?:or|and)\b|,|/|\bor\b|\band\b|或者|或|和|、)\s*"
_TO = r"\s*(?:[-\u2013\u2014~]|\b(?:and|to|until|till)\b|至|到)\s*"
_METRES = r"(?P<size>\d+(?:\.\d+)?)\s*(?P<unit>kilomet(?:er|re)s?|km|met(?:er|re)s?|m|公里|千米|米)(?![a-z])"
_WITHIN = r"(?:\s*(?:以内|之内|范围内|内))"
_CAMERA = r"(?:\bcam(?:era)?s?\b\.?\s*(?:no\.?|number|#)?\s*|\bc(?=\d)|摄像头|相机|镜头|机位|卡口)"
_CAMERA_AFTER = r"\s*号?\s*(?:摄像头|相机|镜头|机位|卡口)"
_SURE = r"\bsure\b|\bcertain\b|\bconfiden(?:t|ce)\b"


def rules(card: Card, camera_names: Iterable[str]) -> list[tuple[str, re.Pattern[str]]]:
    """What is looked for: a name of each rule, and its pattern with named groups."""
    camera = any_of(camera_names)
    spot = rf"(?P<spot>{DEGREES}\s*,\s*{DEGREES}|{camera}|{_CAMERA}\s*{NUMBER}|{NUMBER}{_CAMERA_AFTER})"
    # A number beside `camera 3, ` may begin a time.
    one = rf"{NUMBER}(?![\d:.]|\s*(?:[ap]\.?m\b|o'?clock|[点时年月日]))"
    several = rf"{one}(?:(?:{_JOIN}|\s*(?:-|to\b|至|到)\s*)(?:\bcam(?:era)?s?\b\s*)?{one})*"
    first, second = rf"(?P<first>{TIME})", rf"(?P<second>{TIME})"
    sides = "|".join(side for side in SIDES if side.isascii())
    patterns = [
        ("near", rf"(?:\b(?:within|in|less\s+than)\b\s*)?{_METRES}\s*\b(?:of|from|around|near)\b\s*{spot}"),
        (
            "near",
            rf"\b(?:near|around|close\s+to|next\s+to)\b\s*{spot}(?:\s*,?\s*(?:\bwithin\b\s*)?{_METRES})?",
        ),
        ("near", rf"距离?\s*{spot}\s*{_METRES}{_WITHIN}?"),
        ("near", rf"{spot}\s*(?:附近|周围|周边|方圆)\s*(?:{_METRES}{_WITHIN}?)?"),
        ("near", rf"{spot}\s*{_METRES}{_WITHIN}"),
        ("camera_names", rf"{_NOT}(?P<names>{camera}(?:{_JOIN}{camera})*)"),
        ("cameras", rf"{_NOT}{_CAMERA}\s*(?P<ids>{several})"),
        ("cameras", rf"{_NOT}(?P<ids>{NUMBER}(?:{_JOIN}{NUMBER})*){_CAMERA_AFTER}"),
        ("between", rf"(?:\b(?:between|from)\b|从|自)?\s*{first}{_TO}{second}(?:\s*(?:之间|期间))?"),
        ("after", rf"{first}\s*(?:之后|以后|后|起|以来|开始|\bonwards?\b|\bor\s+later\b)"),
        ("before", rf"{first}\s*(?:之前|以前|前|\bor\s+earlier\b)"),
        ("after", rf"(?:\b(?:after|since|from|later\s+than|past)\b|>=?|自|从)\s*{first}"),
        ("before", rf"(?:\b(?:before|until|till|by|earlier\s+than|up\s+to)\b|<=?)\s*{first}"),
        (
            "around",
            r"(?:\b(?:around|about|at|circa)\b|~|大约|大概)?\s*"
            rf"(?P<first>{CLOCK})(?:\s*(?:左右|前后))?",
        ),
        ("day", rf"(?:\bon\b)?\s*(?P<first>{DATE})"),
        (
            "confidence",
            rf"(?P<what>\bcolou?r\b|\btype\b|颜色|车型|类型)?\s*(?:置信度|把握|确信|{_SURE})?\s*"
            r"(?:\bat\s+least\b|\bover\b|\babove\b|>=?|至少|超过|大于)?\s*"
            rf"(?P<percent>\d{{1,3}}(?:\.\d+)?)\s*%\s*(?:以上|{_SURE}|的?把握)?",
        ),
        (
            "vehicle",
            r"(?:\bvehicles?\b(?:\s*(?:id|no\.?|number|#))?|车辆(?:编号)?|编号)\s*(?P<ids>\d{1,18})\b",
        ),
        ("type", _list(type_words(card))),
        ("color", _list(color_words(card))),
        (
            "side",
            rf"(?:\b(?:the|on|in)\b\s*)*(?P<side>{sides})\s*\b(?:side|part|end|half)\b"
            r"|(?P<chinese>[东南西北])(?:侧|边|部|面)",
        ),
    ]
    return [(name, re.compile(pattern, re.ASCII)) for name, pattern in patterns]


def any_of(words: Iterable[str]) -> str:
    """A pattern of any of the words, the longest first; words of Latin letters match whole."""
    alternatives = [
        (r"\b" if word[0].isascii() and word[0].isalnum() else "")
        + re.escape(word)
        + (r"\b" if word[-1].isascii() and word[-1].isalnum() else "")
        for word in sorted(words, key=len, reverse=True)
        if word
    ]
    return f"(?:{'|'.join(alternatives)})" if alternatives else r"(?!)"


def _list(words: dict[str, Any]) -> str:
    one = any_of(words)
    return rf"{_NOT}(?P<names>{one}(?:{_JOIN}{one})*)"
