"""Fault injection: every run draws new faults and prints its seed, which brings the same ones again.

`make test` draws a few of each kind. `make test-slow` draws for an hour, or as long as
`--adversary-minutes` says; `--adversary-seed` repeats a run.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from retrieval.ingest import main as ingest
from tests.retrieval.small_model import write_bundle

Trials = Callable[[int], Iterator[random.Random]]


@pytest.fixture(params=["few", pytest.param("many", marks=[pytest.mark.slow, pytest.mark.timeout(0)])])
def trials(request: pytest.FixtureRequest) -> Trials:
    """Sources of chance, one a trial: so many as asked for, or in the slow run as many as time allows."""
    seed = request.config.getoption("--adversary-seed")
    minutes = request.config.getoption("--adversary-minutes")
    drawing = [
        item
        for item in request.session.items
        if getattr(item, "callspec", None) and item.callspec.params.get("trials") == "many"
    ]

    def drawn(few: int) -> Iterator[random.Random]:
        end = time.monotonic() + 60 * minutes / max(1, len(drawing))
        number = 0
        while number < few or (request.param == "many" and time.monotonic() < end):
            # What pytest shows of a test that fails.
            print(f"--adversary-seed {seed}, trial {number}")
            yield random.Random(f"{seed}/{request.node.originalname}/{number}")
            number += 1

    return drawn


@dataclass(frozen=True)
class Home:
    """What commands are tried on: a folder of small pictures, a bundle, and a gallery of them."""

    images: Path
    bundle: Path
    gallery: Path

    @property
    def names(self) -> list[str]:
        """Of the pictures, which are the gallery's keys."""
        return sorted(path.name for path in self.images.iterdir())


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Only to be read."""
    folder = tmp_path_factory.mktemp("home")
    home = Home(folder / "images", folder / "bundle", folder / "gallery")
    home.images.mkdir()
    for number in range(1, 9):
        Image.new("RGB", (48, 48), (20 * number, 90, 200)).save(home.images / f"{number}.jpg")
    write_bundle(home.bundle)
    assert (
        ingest(["--images", f"{home.images}", "--gallery", f"{home.gallery}", "--encoder", f"{home.bundle}"])
        == 0
    )
    return home
