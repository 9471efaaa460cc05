"""Vehicles of a scene over REST."""

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.retrieval.conftest import draw_vehicle
from tests.retrieval.running_app import running_app
from tests.retrieval.sources.detectors import write_detector


@pytest.fixture(scope="module")
def detecting(gallery_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    detector = write_detector(tmp_path_factory.mktemp("detector") / "d.onnx", {"names": "['cat', 'car']"})
    with (
        running_app("--gallery", gallery_folder, "--detector", detector) as address,
        httpx.Client(base_url=address, timeout=30, trust_env=False) as client,
    ):
        yield client


def scene() -> bytes:
    image, buffer = Image.new("RGB", (640, 320), "black"), io.BytesIO()
    image.paste(draw_vehicle(1, 1, size=192), (64, 64))
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_a_scene_shows_its_vehicles(detecting: httpx.Client) -> None:
    answer = detecting.post("/api/detect", files={"image": scene()})
    assert answer.status_code == 200, answer.text
    content = answer.json()
    (vehicle,) = content.pop("vehicles")
    assert content == {"width": 640, "height": 320}
    assert (vehicle["box"], vehicle["label"]) == ([64, 64, 256, 256], "car")
    assert detecting.post("/api/detect", files={"image": b"no image"}).status_code == 400


def test_a_vehicle_is_searched_by_its_number(detecting: httpx.Client) -> None:
    def search(**fields: object) -> httpx.Response:
        return detecting.post("/api/search", files={"image": scene()}, data={"k": 3, **fields})

    by_number, by_box = search(detected=1), search(box="64,64,256,256")
    assert by_number.status_code == 200, by_number.text
    assert by_number.json() == by_box.json()
    for fields, words in (
        ({"detected": 2}, "1 vehicles were found"),
        ({"detected": 0}, "greater than or equal to 1"),
        ({"detected": 1, "box": "0,0,9,9"}, "both say which"),
    ):
        refused = search(**fields)
        assert (refused.status_code, words in refused.text) == (422, True), refused.text


def test_without_a_detector(service: httpx.Client) -> None:
    for path, fields in (("/api/detect", {}), ("/api/search", {"detected": 1})):
        answer = service.post(path, files={"image": scene()}, data=fields)
        assert (answer.status_code, "started with --detector" in answer.text) == (422, True)
