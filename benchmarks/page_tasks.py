"""`python -m benchmarks.page_tasks --gallery G --image I --scene S`: what a person's tasks on the page take.

A real service and a real Chromium, desktop and phone in turns. Of each task: the clicks, drags and keys that
it takes, the seconds from the last of them until the answer is seen (medians), and where the first result is.
"""

import argparse
import json
import signal
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import Page, sync_playwright
from tqdm import tqdm

from benchmarks.browser import BROWSER_ARGUMENTS, TIMEOUT, find_chromium, missing_packages, visit
from benchmarks.retrieval_load import Service
from zoo.command_line import CommandParser
from zoo.errors import UserError, exit_on_user_error

SCREENS = {
    "desktop": {"viewport": {"width": 1440, "height": 900}},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
}

FIRST = ".vr-card .vr-picture"
FOLD = "first result ends at"

_SHOWN = "() => [...document.querySelectorAll('.vr-card')].map((card) => card.innerText).join()"
_OTHERS = f"(before) => {{ const shown = ({_SHOWN})(); return shown && shown !== before; }}"


class Taken(NamedTuple):
    """What a task took.

    Attributes:
        gestures: clicks, drags and keys.
        seconds: from the last of them until the answer is seen.
    """

    gestures: int
    seconds: float


class Tasks:
    """The tasks on one opened page."""

    def __init__(self, page: Page, image: Path, scene: Path | None) -> None:
        self._page, self._image, self._scene = page, image, scene

    def all(self) -> dict[str, Callable[[], Taken]]:
        """The tasks by what they are called, in the order in which they are done."""
        tasks = {
            "a click on an example, to the first result": self.example,
            "a picture of one's own, to the first result": partial(self.picture, self._image),
            "keys from the picture to the first result": self.keys,
            "a result beside the query, compared": self.compare,
        }
        if self._scene is not None:
            tasks |= {
                "a scene, to its vehicles or results": partial(self.picture, self._scene),
                "a box in the scene, to its results": self.box,
            }
        return tasks

    def example(self) -> Taken:
        """Click on an example."""
        return self._answered(1, lambda: self._page.get_by_role("button", name="Example 1").click())

    def picture(self, file: Path) -> Taken:
        """Choose a file; the dialog of the system is one click, and the file in it another."""
        field = self._page.locator("#query input[type=file]")
        return self._answered(2, lambda: field.set_input_files(file))

    def keys(self) -> Taken:
        """Go from the picture to the first result by Tab."""
        self._page.locator(".vr-frame").focus()
        began, keys = time.perf_counter(), 0
        while not self._page.evaluate("document.activeElement.classList.contains('vr-card')"):
            self._page.keyboard.press("Tab")
            keys += 1
        return Taken(keys, time.perf_counter() - began)

    def compare(self) -> Taken:
        """Open the comparison of the second result, with the regions that speak for it."""
        self._page.locator(".vr-card .vr-compare").nth(1).click()
        began = time.perf_counter()
        self._page.locator("dialog[open] .vr-heat").nth(1).wait_for()
        taken = Taken(1, time.perf_counter() - began)
        self._page.keyboard.press("Escape")
        return taken

    def box(self) -> Taken:
        """Draw a box around the middle of the scene."""
        frame = self._page.locator(".vr-frame").bounding_box()
        assert frame is not None
        mouse = self._page.mouse

        def drag() -> None:
            mouse.move(frame["x"] + 0.3 * frame["width"], frame["y"] + 0.3 * frame["height"])
            mouse.down()
            mouse.move(frame["x"] + 0.7 * frame["width"], frame["y"] + 0.7 * frame["height"])
            mouse.up()

        return self._answered(1, drag)

    def first_result(self) -> float:
        """Where the first result ends, as a part of the screen's height; below 1 it is seen at once."""
        area, screen = self._page.locator(FIRST).first.bounding_box(), self._page.viewport_size
        assert area is not None
        assert screen is not None
        return (area["y"] + area["height"]) / screen["height"]

    def _answered(self, gestures: int, ask: Callable[[], None]) -> Taken:
        """Ask, and wait for other results than were there."""
        before = self._page.evaluate(_SHOWN)
        ask()
        began = time.perf_counter()
        self._page.wait_for_function(_OTHERS, arg=before)
        return Taken(gestures, time.perf_counter() - began)


def measure(url: str, image: Path, scene: Path | None, repeats: int) -> dict[str, dict[str, Any]]:
    """Do all tasks on all screens in turns; by screen and task, gestures and the median of the seconds."""
    seconds: dict[tuple[str, str], list[float]] = {}
    found: dict[str, dict[str, Any]] = {screen: {} for screen in SCREENS}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(BROWSER_ARGUMENTS))
        for _ in tqdm(range(repeats), unit="turn", file=sys.stderr):
            for screen, options in SCREENS.items():
                context = browser.new_context(locale="en-GB", **options)  # type: ignore[arg-type]
                page = context.new_page()
                page.set_default_timeout(TIMEOUT)
                began = time.perf_counter()
                visit(page, url)
                tasks = Tasks(page, image, scene)
                taken = {"the page's address, to a page that listens": Taken(1, time.perf_counter() - began)}
                for name, task in tasks.all().items():
                    taken[name] = task()
                    if name.startswith("a picture"):
                        found[screen][FOLD] = round(tasks.first_result(), 2)
                for name, (gestures, spent) in taken.items():
                    seconds.setdefault((screen, name), []).append(spent)
                    found[screen][name] = {"gestures": gestures}
                context.close()
        browser.close()
    for (screen, name), spent in seconds.items():
        found[screen][name]["seconds"] = round(statistics.median(spent), 2)
    return found


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        module="benchmarks.page_tasks",
        examples=["--gallery build/gallery --image car.jpg --scene street.jpg"],
        description="Do a person's tasks on the search page with Chromium, and tell what they take.",
    )
    parser.add_argument("--gallery", type=Path, required=True, help="with images to search among")
    parser.add_argument("--image", type=Path, required=True, help="of one vehicle, to search with")
    parser.add_argument("--scene", type=Path, help="of several, to draw a box in")
    parser.add_argument("--detector", help="as for retrieval.app")
    parser.add_argument("--repeats", type=int, default=5, help="[%(default)s]")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON line at the end")
    return parser


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = build_parser().parse_args(argv)
    for path in (args.image, args.scene):
        if path is not None and not path.is_file():
            raise UserError(f"{path}: no such file; name a picture")
    if args.repeats < 1:
        raise UserError(f"--repeats {args.repeats}: at least 1")
    if packages := missing_packages():
        raise UserError(f"a browser is needed; install it with: apt-get install {' '.join(packages)}")
    detector = [] if args.detector is None else ["--detector", args.detector]
    service = Service(args.gallery, *detector)
    try:
        found = measure(service.url, args.image, args.scene, args.repeats)
    finally:
        service.end(signal.SIGTERM)
    for screen, tasks in found.items():
        print(f"{screen}: the {FOLD} {tasks.pop(FOLD)} of the screen's height")
        for name, row in tasks.items():
            print(f"  {name:48}{row['gestures']:4} gestures {row['seconds']:6.2f} s")
    if args.json:
        print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
