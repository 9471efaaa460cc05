"""What people call colours and body types, in English and Chinese, and the words that say nothing."""

import re
import unicodedata
from collections.abc import Iterable, Mapping

from zoo.card import Card

_COLORS: dict[str, tuple[str, ...]] = {
    "yellow": ("yellow", "黄色", "黄"),
    "orange": ("orange", "橙色", "橘色", "橙", "橘"),
    "green": ("green", "绿色", "绿"),
    "gray": ("gray", "grey", "silver", "灰色", "银色", "银灰色", "灰", "银"),
    "red": ("red", "红色", "红"),
    "blue": ("blue", "蓝色", "蓝"),
    "white": ("white", "白色", "白"),
    "golden": ("golden", "gold", "金色", "香槟色", "金"),
    "brown": ("brown", "棕色", "褐色", "咖啡色", "棕", "褐"),
    "black": ("black", "黑色", "黑"),
}
_TYPES: dict[str, tuple[str, ...]] = {
    "sedan": ("sedan", "sedans", "saloon", "saloons", "轿车", "三厢车", "三厢"),
    "suv": ("suv", "suvs", "suv车", "越野车", "运动型多用途车"),
    "van": ("van", "vans", "minibus", "minivan", "面包车", "厢式车"),
    "hatchback": ("hatchback", "hatchbacks", "两厢车", "两厢", "掀背车"),
    "mpv": ("mpv", "mpvs", "people carrier", "商务车", "多用途车"),
    "pickup": ("pickup", "pickups", "pick-up", "pickup truck", "皮卡车", "皮卡"),
    "bus": ("bus", "buses", "coach", "公交车", "公交", "公共汽车", "大巴车", "大巴", "客车", "巴士"),
    "truck": ("truck", "trucks", "lorry", "lorries", "卡车", "货车"),
    "motorcycle": ("motorcycle", "motorcycles", "motorbike", "motorbikes", "摩托车", "摩托"),
    "estate": ("estate", "estates", "estate car", "station wagon", "wagon", "旅行车", "瓦罐车"),
}

# Left out without being reported as not understood.
_FILLERS = """
a an the this that those these of in at by on with and or but is was were are be been seen show find search
look looking for me my i we want need please car cars vehicle vehicles any all some which who it its there
here coming driving going passing passed colour color type camera cam time around from to then
"""
_FILLERS_CHINESE = """
的 车辆 汽车 车子 车 一辆 辆 在 和 或者 或 与 请 帮我 我 要 找到 找 查找 搜索 看
出现 经过 拍到 拍摄 一个 那个 这个 是 从 了 有 型 颜色 车型 类型 时间
"""
FILLERS = frozenset(_FILLERS.split())
FILLERS_CHINESE = tuple(_FILLERS_CHINESE.split())


def color_words(card: Card) -> dict[str, str]:
    """Every word for a colour that the model knows -> the model's name."""
    return _words(card.colors, _COLORS)


def type_words(card: Card) -> dict[str, str]:
    """Every word for a body type that the model knows -> the model's name."""
    return _words(card.types, _TYPES)


def _words(names: Iterable[str], synonyms: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    spoken = {word: name for name in names for word in synonyms.get(name, ())}
    # After them: a model that tells silver from gray means silver by it.
    return spoken | {word: name for name in names for word in _own_words(name)}


def _own_words(name: str) -> set[str]:
    """A class's name as it is, and as it is spoken: light_truck, light truck."""
    plain = " ".join(unicodedata.normalize("NFKC", name).lower().split())
    return {plain, " ".join(re.split(r"[\s_-]+", plain))} - {""}
