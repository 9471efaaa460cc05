"""The page in a real Chromium: nothing from outside, every picture decoded, no overflow on a phone."""

import ctypes
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from playwright.sync_api import sync_playwright

from training.datasets import read_split
from training.datasets.records import NO_CLASSES, Record
from training.evaluate import main as evaluate
from training.evaluation.extract import Extracted
from training.evaluation.protocol import Embedded, evaluate_embedded
from training.report.markup import text
from training.report.page import Subject, write_report
from zoo.card import Card
from zoo.registry import create_model, make_card
from zoo.weights import save_weights

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
REPLACED = "\N{REPLACEMENT CHARACTER}"
SECTIONS = ("figures", "ranking", "groups", "cameras", "attributes", "sameness", "strips")


def can_browse() -> bool:
    try:
        ctypes.CDLL("libatomic.so.1")
    except OSError:
        return False
    return CHROMIUM is not None


@pytest.fixture(scope="module")
def report(veri_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    torch.manual_seed(0)
    model = create_model("densenet121", embedding_dim=16, attribute_dim=16).eval()
    save_weights(model, make_card(model, "densenet121.tiny", (64, 64)), folder / "w.safetensors")
    argv = ["--data-root", str(veri_root), "--weights", str(folder / "w.safetensors"), "--cpus", "1"]
    assert evaluate([*argv, "--report", str(folder / "r <1>.html")]) == 0
    return folder / "r <1>.html"


@pytest.mark.skipif(not can_browse(), reason="no Chromium, or no libatomic1")
def test_in_a_browser(report: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        for width, scheme in ((1280, "light"), (390, "dark")):
            context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
            page = context.new_page()
            asked: list[str] = []
            faults: list[str] = []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.on("console", lambda message, faults=faults: faults.append(message.text))
            page.on("pageerror", lambda error, faults=faults: faults.append(str(error)))
            page.goto(report.as_uri())
            assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
            assert faults == []
            assert [page.locator(f"section#{name}").count() for name in SECTIONS] == [1] * len(SECTIONS)
            images = page.locator("img")
            assert images.count() > 20
            assert images.evaluate_all("all => all.every(i => i.complete && i.naturalWidth > 0 && i.alt)")
            assert page.locator("svg[aria-label]").count() == page.locator("svg").count() == 5
            assert page.locator(".strip .right").count() > 0
            assert page.locator(".strip .wrong").count() > 0
            assert (
                page.locator(".heat img").count() == 2 * page.locator(".strip .right, .strip .wrong").count()
            )
            assert page.evaluate(
                "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
            )
            context.close()
        browser.close()


def test_nothing_points_outside(report: Path) -> None:
    page = report.read_text(encoding="utf-8")
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page


def bare(records: list[Record]) -> list[Record]:
    return [Record(r.path, r.vehicle_id, r.camera_id) for r in records]


@pytest.mark.parametrize("matches", [True, False])
def test_no_attributes_no_regions_no_matches(veri_root: Path, tmp_path: Path, matches: bool) -> None:
    query = bare(read_split(veri_root, "query"))
    gallery = bare(read_split(veri_root, "test" if matches else "train"))
    rng = np.random.default_rng(0)
    embedded = (Extracted(rng.normal(size=(len(part), 8)).astype(np.float32)) for part in (query, gallery))
    found = Embedded(*embedded, query, gallery, "euclidean", NO_CLASSES)
    card = Card("plain.test", (32, 32), {"embedding": 8})
    path = tmp_path / "r.html"
    write_report(path, found, evaluate_embedded(found), None, Subject("<b>data</b>", card, "CPU", "x"))
    page = path.read_text(encoding="utf-8")
    assert "The model tells neither colour nor type" in page
    assert ("No query has a match in the gallery" in page) != matches
    assert "&lt;b&gt;data&lt;/b&gt;" in page
    assert "<b>data" not in page


def test_hostile_names_are_only_text() -> None:
    assert text("<img src=x onerror=alert(1)>'\"&") == "&lt;img src=x onerror=alert(1)&gt;&#x27;&quot;&amp;"
    assert text("a\udcff\x00\u202eb.jpg") == f"a{3 * REPLACED}b.jpg"


def test_rankings_have_no_report(veri_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--data-root", str(veri_root), "--rankings", "x.jsonl", "--report", str(tmp_path / "r.html")]
    assert evaluate(argv) == 2
    assert "--report" in capsys.readouterr().err
