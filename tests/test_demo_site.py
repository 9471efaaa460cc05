"""The demo's site: whose boxes it takes, and that galleries of different boxes are never mixed."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from retrieval.galleries import open_gallery
from retrieval.sources.detector import find_detector
from tests.retrieval.sources.detectors import CELLS, write_constant_detector
from zoo.hub.cache import object_path
from zoo.hub.remote import REMOTE, find_remote

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 4


@pytest.fixture
def demo_site(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "deploy")
    import demo_site

    return demo_site


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's folder, with a smaller site than its own, drawn before."""
    build = tmp_path_factory.mktemp("demo")
    site = build / f"site-{SECONDS}"
    command = ["training.synthesize", "--videos", "--cameras", "2", "--vehicles", "6", "--rate", "5"]
    command += ["--seconds", str(SECONDS), "--out", str(site), "--seed", "11"]
    subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=True, capture_output=True)
    return build


def test_each_detector_has_a_gallery_and_none_is_made_twice(
    demo_site: ModuleType, build: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = np.zeros((1, 6, CELLS))
    output[0, :, 0] = [80, 80, 96, 96, 0, 0.9]
    detector = str(write_constant_detector(tmp_path / "one.onnx", output))
    by_truth, of_truth = demo_site.site_gallery(build, SECONDS, None)
    by_detector, of_detector = demo_site.site_gallery(build, SECONDS, detector)
    assert (of_truth["boxes"], of_detector["boxes"]) == ("the drawn truth", "one.onnx")
    # It finds one vehicle at each camera, which stays.
    assert of_detector["passes"] == 2
    for folder, found in ((by_truth, of_truth), (by_detector, of_detector)):
        with open_gallery(folder) as gallery:
            assert len(gallery) == found["passes"] > 0
        assert list(Path(f"{folder}-queries").iterdir())
    # A whole scene to choose a vehicle in, where there is a detector for that.
    scenes = [list(Path(f"{folder}-queries").glob("*scene*")) for folder in (by_truth, by_detector)]
    assert list(map(len, scenes)) == [0, 1]
    assert Image.open(scenes[1][0]).size == (640, 360)
    capfd.readouterr()
    assert demo_site.site_gallery(build, SECONDS, detector) == (by_detector, of_detector)
    assert demo_site.site_gallery(build, SECONDS, None) == (by_truth, of_truth)
    assert capfd.readouterr().err == ""


def test_without_network_and_detector_the_truth_is_taken_and_that_is_told(
    demo_site: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VEHICLE_REID_CACHE", str(tmp_path))
    monkeypatch.setattr("zoo.hub.remote.Repository.url", lambda *_: "http://127.0.0.1:9/none")
    assert demo_site.usual_detector() is None
    told = capsys.readouterr().err.splitlines()[-1]
    assert "the drawn truth's" in told
    assert "python -m zoo fetch detector.yolox-nano" in told


def test_a_detector_that_is_here_is_taken_without_asking_a_network(
    demo_site: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = find_remote("detector.yolox-nano")
    held = write_constant_detector(tmp_path / "x.onnx", np.zeros((1, 6, CELLS)))
    digest = known.digest.of(held)
    entries = REMOTE.read_text(encoding="utf-8").replace(known.digest.value, digest.value)
    monkeypatch.setenv("VEHICLE_REID_CACHE", str(tmp_path))
    monkeypatch.setattr("zoo.hub.remote.REMOTE", tmp_path / "remote.toml")
    (tmp_path / "remote.toml").write_text(entries, encoding="utf-8")
    (tmp_path / "objects").mkdir()
    held.rename(object_path(digest))
    monkeypatch.setattr("zoo.fetch.download", lambda *_: pytest.fail("asked the network"))
    assert demo_site.usual_detector() == "yolox-nano"
    assert find_detector("yolox-nano") == object_path(digest)
