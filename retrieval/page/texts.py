"""What the page says, in English and Chinese."""

# Chinese has punctuation of its own width.
# ruff: noqa: RUF001

from dataclasses import dataclass

LANGUAGES = {"en": "English", "zh": "中文"}

_TEXTS: dict[str, tuple[str, str]] = {
    "title": ("Find this vehicle", "按图找车"),
    "holds": ("{images} images · {cameras} cameras · model", "{images} 张图像 · {cameras} 个摄像头 · 模型"),
    "language": ("Language", "语言"),
    "keys": ("Keyboard shortcuts (?)", "快捷键 (?)"),
    "keys.words": ("search by words", "用文字查找"),
    "keys.move": ("move between results", "在结果间移动"),
    "keys.yes": ("this one / not that one", "是这辆 / 不是这辆"),
    "keys.compare": ("compare with the query", "与查询图像对比"),
    "keys.similar": ("search with this result", "以此结果为查询"),
    "keys.paste": ("paste a picture", "粘贴图片"),
    "keys.close": ("close", "关闭"),
    "vehicle": ("Vehicle", "车辆图像"),
    "drop": (
        "Drop or paste a picture, or click to choose",
        "拖入或粘贴图片，或点击选择",
    ),
    "scene": (
        "Drag around one vehicle to choose it. Keyboard: arrows move the box, Shift with arrows resizes it, "
        "Escape takes it away.",
        "拖动框选一辆车。键盘：方向键移动，Shift+方向键缩放，Esc 取消。",
    ),
    "scene.hint": (
        "Several vehicles? Drag a box around the one you mean.",
        "画面中有多辆车？拖动框选要找的那辆。",
    ),
    "scene.box": ("Box {box}", "选框 {box}"),
    "scene.whole": ("Whole picture", "整张图"),
    "scene.other": ("Another picture", "换一张"),
    "scene.key": ("Picture of the gallery", "图库中的图像"),
    "color": ("Colour", "颜色"),
    "type": ("Type", "车型"),
    "camera": ("Camera", "摄像头"),
    "after": ("From", "起始时间"),
    "before": ("To", "结束时间"),
    "near": ("Place: latitude, longitude, metres", "位置：纬度，经度，米"),
    "vehicles": ("Vehicle ids", "车辆编号"),
    "color_confidence": ("Colour at least this sure", "颜色置信度不低于"),
    "type_confidence": ("Type at least this sure", "车型置信度不低于"),
    "k": ("Results", "结果数"),
    "group": ("Show", "显示"),
    "group.none": ("every image", "全部图像"),
    "group.track": ("one a track", "每条轨迹一张"),
    "group.vehicle": ("one a vehicle", "每辆车一张"),
    "rerank": ("Re-rank by mutual neighbours", "按互为近邻重排"),
    "filters": ("Filters", "筛选"),
    "more": ("More filters and order", "更多筛选与排序"),
    "examples": ("Examples", "示例"),
    "words": ("In plain words", "用文字描述"),
    "words.example": ("white SUV, camera 3, after 8:00", "白色 SUV 3号摄像头 8:00 之后"),
    "words.apply": ("Apply", "应用"),
    "words.clear": ("Clear all filters", "清除筛选"),
    "words.understood": ("Understood", "已理解"),
    "words.unknown": ("Not understood", "未理解"),
    "condition.time": ("time", "时间"),
    "condition.near": ("within", "范围"),
    "condition.vehicle": ("vehicle", "车辆"),
    "condition.confidence": ("sure", "置信度"),
    "predicted": ("Click a row to filter by it", "点击某行即可按其筛选"),
    "calibrated": ("probabilities are calibrated", "概率已校准"),
    "tab.pictures": ("Pictures", "图像"),
    "tab.track": ("Map and times", "地图与时间"),
    "nothing": ("No image yet", "尚无图像"),
    "nothing.text": (
        "Drop, paste or choose a picture of one vehicle, or try an example; or say what you look for. "
        "What the gallery has that fits shows up here.",
        "拖入、粘贴或选择一张车辆图片，或点击示例，也可以用文字描述要找的车。匹配的图像会显示在这里。",
    ),
    "none": ("Nothing meets these filters", "没有符合筛选条件的图像"),
    "none.text": (
        "No image of the gallery meets all of them together. Take one of them away.",
        "图库中没有同时满足全部条件的图像，请去掉其中一项。",
    ),
    "bad.image": ("This image cannot be searched for", "无法用此图像查找"),
    "bad.filters": ("These filters cannot be used", "筛选条件有误"),
    "nearest": ("{count} images, nearest first", "{count} 张图像，最相似的在前"),
    "nearest.filtered": (
        "{count} images that meet the filters, nearest first",
        "{count} 张符合筛选的图像，最相似的在前",
    ),
    "newest": ("{count} images that meet the filters, newest first", "{count} 张符合筛选的图像，最新的在前"),
    "yes": ("This one", "是这辆"),
    "no": ("Not that one", "不是这辆"),
    "forget": ("Take the mark away", "取消标记"),
    "forget.all": ("Forget all marks", "清除所有标记"),
    "marked.yes": ("this vehicle", "是这辆"),
    "marked.no": ("not it", "不是"),
    "compare": ("Compare", "对比"),
    "similar": ("Search with it", "以图搜图"),
    "result": ("Result {rank}", "结果 {rank}"),
    "vehicle.id": ("vehicle {id}", "车辆 {id}"),
    "camera.id": ("camera {id}", "摄像头 {id}"),
    "export": ("Export", "导出"),
    "export.html": ("Print page", "打印页"),
    "query": ("Query", "查询图像"),
    "alike": ("makes them alike", "使两者相似的区域"),
    "apart": ("sets them apart", "使两者不同的区域"),
    "regions": ("Regions", "显示区域"),
    "regions.wait": ("Looking for the regions that match …", "正在查找匹配区域…"),
    "regions.how": (
        "Each part was covered in turn, and the model asked again; what moves the two apart made them alike.",
        "依次遮挡各部分并重新计算：遮挡后两者变远的区域，就是使其相似的区域。",
    ),
    "previous": ("Previous", "上一个"),
    "next": ("Next", "下一个"),
    "close": ("Close", "关闭"),
    "way": (
        "The line joins the images that you marked, in order of time; with fewer than two marks, those that "
        "reach 85% of the best score. It is a guess, not a proof.",
        "连线按时间顺序连接您标记的图像；标记少于两张时，连接得分达到最高分 85% 的图像。仅供参考，并非证据。",
    ),
    "no.places": ("No camera of these results has a known place.", "这些结果的摄像头没有位置信息。"),
    "no.times": ("No time or no camera of these results is known.", "这些结果没有时间或摄像头信息。"),
    "map": ("Map of the cameras", "摄像头地图"),
    "chart": ("Cameras and times", "摄像头与时间"),
}

_CLASSES = {
    **{"yellow": "黄色", "orange": "橙色", "green": "绿色", "gray": "灰色", "red": "红色", "blue": "蓝色"},
    **{"white": "白色", "golden": "金色", "brown": "棕色", "black": "黑色"},
    **{"sedan": "轿车", "suv": "SUV", "van": "面包车", "hatchback": "两厢车", "mpv": "MPV", "pickup": "皮卡"},
    **{"bus": "客车", "truck": "货车", "estate": "旅行车"},
}
_SHORT_FORMS = {"suv": "SUV", "mpv": "MPV"}


@dataclass(frozen=True)
class Say:
    """Says things in one language; another language than those of `LANGUAGES` is English."""

    language: str = "en"

    def __call__(self, name: str, **values: object) -> str:
        """The text of a name, with its values filled in."""
        return _TEXTS[name][self.language == "zh"].format(**values)

    def label(self, name: str) -> str:
        """A class name as people read it."""
        if self.language == "zh":
            return _CLASSES.get(name, name)
        return _SHORT_FORMS.get(name, name)

    def percent(self, chance: float) -> str:
        """A probability; what is not nothing is not shown as nothing."""
        return "< 1%" if chance < 0.01 else f"{chance:.0%}"
