"""What the page does is there over REST: words, boxes, comparisons, exports."""

import csv
import io
import zipfile

import httpx
from PIL import Image

from tests.retrieval.conftest import draw_vehicle

KEY = "0003_c001_00003250_0.jpg"


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_words_become_what_a_search_takes(service: httpx.Client) -> None:
    text = "white, near North gate, 0:01 to 0:30, shiny"
    said = service.get("/api/words", params={"text": text}).json()
    assert said["filters"] == {"color": ["white"], "near": "48.1,11.5,500", "after": 60, "before": 1800}
    assert said["not_understood"] == ["shiny"]
    assert said["understood"][0] == {"text": "white", "condition": "color", "meaning": "white"}
    found = service.get("/api/entries", params=said["filters"]).json()["entries"]
    assert [entry["key"] for entry in found] == [KEY]
    assert service.get("/api/words", params={"text": "x" * 501}).status_code == 422


def test_box_chooses_a_vehicle_in_a_scene(service: httpx.Client) -> None:
    """The same numbers as for the vehicle alone."""
    scene = Image.new("RGB", (400, 300), "gray")
    scene.paste(draw_vehicle(1, 1), (20, 40))
    scene.paste(draw_vehicle(2, 1), (250, 100))
    for vehicle, box in ((1, "20,40,116,136"), (2, "250,100,346,196")):
        found = service.post("/api/search", files={"image": png(scene)}, data={"box": box, "k": "3"}).json()
        alone = service.post("/api/search", files={"image": png(draw_vehicle(vehicle, 1))}, data={"k": "3"})
        assert found == alone.json()
        assert found["results"][0]["vehicle_id"] == vehicle
    for box, status in (("1,2,3", 422), ("500,0,600,9", 400)):
        answer = service.post("/api/search", files={"image": png(scene)}, data={"box": box})
        assert (answer.status_code, "box" in answer.text) == (status, True)
    both = [("image", png(scene)), ("image", png(scene))]
    assert service.post("/api/search", files=both, data={"box": "0,0,50,50"}).status_code == 422


def test_comparison_tells_regions(service: httpx.Client, query: bytes) -> None:
    answer = service.post(f"/api/compare/{KEY}", files={"image": query})
    assert answer.status_code == 200
    found = answer.json()
    assert found["score"] > 0.99
    assert {len(row) for side in ("query_regions", "result_regions") for row in found[side]} == {7}
    other = service.post("/api/compare/0002_c001_00002250_0.jpg", data={"with_key": KEY}).json()
    assert other["score"] < found["score"]
    assert service.post(f"/api/compare/{KEY}").status_code == 422
    assert service.post("/api/compare/none", files={"image": query}).status_code == 404
    assert service.post(f"/api/compare/{KEY}", data={"with_key": "none"}).status_code == 404
    assert service.post(f"/api/compare/{KEY}", files={"image": b"x"}).status_code == 400


def test_scenes_are_shown_only_where_somebody_says_so(service: httpx.Client) -> None:
    answer = service.get(f"/api/scenes/{KEY}")
    assert (answer.status_code, "is not there" in answer.json()["detail"]) == (404, True)


def test_export_is_the_search_as_a_file(service: httpx.Client, query: bytes) -> None:
    form = {"k": "5", "color": ["white", "red"], "unlike": KEY}
    found = service.post("/api/search", files={"image": query}, data=form).json()["results"]
    answer = service.post("/api/export", files={"image": query}, data={**form, "format": "csv"})
    assert answer.headers["content-disposition"] == 'attachment; filename="results.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [row["key"] for row in rows] == [result["key"] for result in found]
    assert [float(row["score"]) for row in rows] == [result["score"] for result in found]
    answer = service.post("/api/export", files={"image": query}, data={**form, "format": "zip"})
    assert len(zipfile.ZipFile(io.BytesIO(answer.content)).namelist()) == 7
    answer = service.post("/api/export", data={"camera": "2", "format": "html"})
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.text.count("data:image/jpeg") == 6
    assert "桥 &lt;b&gt;" in answer.text
    assert service.post("/api/export", data={"format": "exe"}).status_code == 422
    assert service.post("/api/export", data={"format": "csv", "like": KEY}).status_code == 422
