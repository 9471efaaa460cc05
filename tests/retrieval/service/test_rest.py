"""The REST interface beyond a search by one image: keys, attributes, what is refused, what is described."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from retrieval.galleries import open_gallery
from retrieval.query.feedback import Feedback
from retrieval.query.searcher import Searcher
from serving.encoders.encoder import Encoder
from tests.retrieval.conftest import draw_vehicle, name
from tests.retrieval.service.writing_service import Service, jpegs, keys


def test_search_by_key_finds_the_others(writable: Service) -> None:
    found = writable.reader.get(f"/api/similar/{name(3, 1)}", params={"k": 3})
    assert set(keys(found)) == {name(3, camera) for camera in (2, 3, 4)}
    assert found.json()["query"]["color"] == "white"
    filtered = writable.reader.get(f"/api/similar/{name(3, 1)}", params={"camera": [2, 3], "vehicle": 3})
    assert set(keys(filtered)) == {name(3, 2), name(3, 3)}
    grouped = writable.reader.get(f"/api/similar/{name(3, 1)}", params={"group": "vehicle"})
    assert sorted(item["vehicle_id"] for item in grouped.json()["results"]) == [1, 2, 3, 4, 5, 6]
    assert writable.reader.get("/api/similar/none").status_code == 404


def test_several_images_and_feedback_answer_as_the_searcher_does(
    writable: Service, encoder: Encoder, images: Path
) -> None:
    data = [(images / "image_test" / name(3, camera)).read_bytes() for camera in (1, 4)]
    form = {"k": "6", "like": [name(3, 2)], "unlike": [name(5, 1)], "rerank": "true"}
    answer = writable.reader.post(
        "/api/search", files=[("image", (f"{n}.jpg", each)) for n, each in enumerate(data)], data=form
    )
    with open_gallery(writable.gallery) as gallery:
        searcher = Searcher(gallery, encoder)
        hits = searcher.search(
            [searcher.encode(each) for each in data],
            6,
            feedback=Feedback((name(3, 2),), (name(5, 1),)),
            rerank=True,
        )
    assert keys(answer) == [hit.key for hit in hits]
    assert name(5, 1) not in keys(answer)


def test_search_by_attributes_alone(writable: Service) -> None:
    white = writable.reader.get("/api/entries", params={"color": "white", "after": "0:02:00"})
    # Newest first; c001 at 3250 / 25 = 130 s is the earliest of this vehicle.
    assert keys(white) == [name(3, camera) for camera in (4, 3, 2, 1)]
    page = writable.reader.get("/api/entries", params={"vehicle": 3, "limit": 2, "offset": 1})
    assert keys(page) == [name(3, 3), name(3, 2)]
    near = writable.reader.get("/api/entries", params={"near": "48.1,11.5,100"})
    assert set(keys(near)) == {name(vehicle, 1) for vehicle in range(1, 7)}
    sure = writable.reader.get("/api/entries", params={"color_confidence": 1})
    assert all(item["color_confidence"] == 1 for item in sure.json()["entries"])


def test_get_shows_what_is_known_and_no_source(writable: Service) -> None:
    entry = writable.reader.get(f"/api/entries/{name(3, 1)}").json()
    assert {**entry, "color_confidence": 0, "type_confidence": 0, "type": ""} == {
        "key": name(3, 1),
        "vehicle_id": 3,
        "track_id": None,
        "camera": 1,
        "time": 130.0,
        "latitude": None,
        "longitude": None,
        "box": None,
        "color": "white",
        "color_confidence": 0,
        "type": "",
        "type_confidence": 0,
    }
    assert writable.reader.get("/api/entries/none").status_code == 404
    assert writable.reader.get("/api/cameras").json()["cameras"][0]["name"] == "North gate"


@pytest.mark.parametrize(
    "params",
    [
        {"limit": 0},
        {"limit": 1001},
        {"offset": -1},
        {"color": "pink"},
        {"vehicle": 2**70},
        {"near": "1,2"},
        {"near": "nan,0,1"},
        {"color_confidence": "nan"},
        {"color_confidence": 2},
        {"after": "1e300", "before": "1e299"},
        {"after": "9", "before": "8"},
    ],
)
def test_bad_filters_get_a_sentence(writable: Service, params: dict) -> None:
    answer = writable.reader.get("/api/entries", params=params)
    assert answer.status_code == 422, answer.text


def test_unknown_fields_are_refused_by_name_on_every_route(writable: Service) -> None:
    """In the address, in a form and in JSON; a name that is nearly right is offered the right one."""
    described = writable.reader.get("/api/openapi.json").json()
    asked = 0
    for path, methods in described["paths"].items():
        for method, route in methods.items():
            address = path.replace("{key}", name(1, 1))
            fields = {each["name"] for each in route.get("parameters", ()) if each["in"] == "query"}
            for content in route.get("requestBody", {}).get("content", {}).values():
                schema = described["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
                fields |= set(schema["properties"])
            for how in ("params", "data", "json"):
                answer = writable.writer.request(method, address, **{how: {"colour": "white"}})
                told = (path, method, how, answer.text)
                assert (answer.status_code, "'colour'" in answer.text) == (422, True), told
                assert "color" not in fields or "did you mean 'color'?" in answer.text, told
                asked += 1
    assert asked > 30
    assert len(keys(writable.reader.get("/api/entries"))) == 24


def test_fields_go_where_they_belong(writable: Service) -> None:
    image = {"image": jpegs(1)[0]}
    answer = writable.reader.post("/api/search", files=image, params={"color": "white"})
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        "the field 'color' belongs into the form, not into the address",
    )
    many = {"entries": '[{"key": "a", "camra": 1}]'}
    answer = writable.writer.put("/api/entries", files=image, data=many)
    assert (answer.status_code, "did you mean 'camera'?" in answer.text) == (422, True)


def test_feedback_on_what_is_not_there_gets_a_sentence(writable: Service) -> None:
    answer = writable.reader.post("/api/search", files={"image": jpegs(1)[0]}, data={"like": "none"})
    assert (answer.status_code, "'none'" in answer.text) == (422, True)


def test_numbers_that_only_python_reads(writable: Service) -> None:
    """`1_0` is a slip of the hand, not ten: in every number of every address and form."""
    described = writable.writer.get("/api/openapi.json").json()

    def numbers(fields: Iterable[tuple[str, object]]) -> list[str]:
        return [field for field, kind in fields if re.search(r'"type": "(integer|number)"', json.dumps(kind))]

    tried = 0
    for path, routes in described["paths"].items():
        for method, route in routes.items():
            given = [(each["name"], each["schema"]) for each in route.get("parameters", ())]
            asked = [(field, {"params": {field: "1_0"}}) for field in numbers(given)]
            body = route.get("requestBody", {}).get("content", {}).get("multipart/form-data")
            if body:
                form = described["components"]["schemas"][body["schema"]["$ref"].rsplit("/", 1)[1]]
                fields = numbers(form["properties"].items())
                asked += [(field, {"files": {field: (None, "1_0")}}) for field in fields]
            for field, value in asked:
                answer = writable.writer.request(method, re.sub(r"\{.*?\}", "x", path), **value)
                assert answer.status_code == 422, (path, field)
                assert f'"{field}"' in answer.text, (path, answer.text)
                tried += 1
    assert tried > 30


def test_openapi_describes_it_all(writable: Service) -> None:
    paths = writable.reader.get("/api/openapi.json").json()["paths"]
    assert {(path, method) for path, methods in paths.items() for method in methods} == {
        ("/health", "get"),
        ("/ready", "get"),
        ("/metrics", "get"),
        ("/api/search", "post"),
        ("/api/detect", "post"),
        ("/api/similar/{key}", "get"),
        ("/api/cameras", "get"),
        ("/api/entries", "get"),
        ("/api/entries", "put"),
        ("/api/entries/{key}", "get"),
        ("/api/entries/{key}", "put"),
        ("/api/entries/{key}", "delete"),
        ("/api/cases", "get"),
        ("/api/cases/{id}", "get"),
        ("/api/cases/{id}", "put"),
        ("/api/cases/{id}", "patch"),
        ("/api/cases/{id}", "delete"),
        ("/api/cases/{id}/export", "get"),
        ("/api/case-pictures/{id}", "get"),
        ("/api/case-news", "get"),
        ("/api/images/{key}", "get"),
        ("/api/scenes/{key}", "get"),
        ("/api/words", "get"),
        ("/api/compare/{key}", "post"),
        ("/api/export", "post"),
        ("/api/journey/{key}", "get"),
        ("/api/links", "put"),
    }
    for methods in paths.values():
        for described in methods.values():
            assert described["description"]
    for path, methods in paths.items():
        for described in methods.values():
            assert ("security" in described) is path.startswith("/api/")
    names = {parameter["name"] for parameter in paths["/api/entries"]["get"]["parameters"]}
    assert {"color", "near", "vehicle", "limit", "type_confidence"} <= names


def test_searches_are_logged_and_not_answered_otherwise(writable: Service, images: Path) -> None:
    image = {"image": (images / "image_test" / name(4, 1)).read_bytes()}
    before = len(writable.audit.read_text().splitlines())
    form = {"k": "2", "camera": "3", "like": name(4, 2)}
    first = keys(writable.reader.post("/api/search", files=image, data=form))
    second = keys(writable.writer.get(f"/api/similar/{name(4, 1)}"))
    third = keys(writable.writer.get("/api/entries", params={"vehicle": 4}))
    assert writable.reader.get("/api/similar/none").status_code == 404
    logged = [json.loads(line) for line in writable.audit.read_text().splitlines()[before:]]
    assert [(line["key_name"], line["endpoint"], line["results"]) for line in logged] == [
        ("reader", "search", first),
        ("writer", "similar", second),
        ("writer", "entries", third),
    ]
    assert (logged[0]["filters"], logged[0]["images"], logged[0]["like"]) == (
        {"cameras": [3]},
        1,
        [name(4, 2)],
    )
    # A folder in the log's place: nothing can be written down.
    writable.audit.rename(writable.audit.with_suffix(".old"))
    writable.audit.mkdir()
    try:
        answer = writable.reader.post("/api/search", files=image)
        assert (answer.status_code, "results" in answer.json()) == (503, False)
    finally:
        writable.audit.rmdir()
    assert writable.reader.post("/api/search", files=image).status_code == 200


def test_damaged_images_are_searched_for_or_refused(writable: Service) -> None:
    """Bytes flipped, cut out, doubled: an answer or a sentence, and the service goes on."""
    random = np.random.default_rng(7)
    originals = []
    for file_format in ("JPEG", "PNG", "WEBP", "BMP"):
        buffer = io.BytesIO()
        draw_vehicle(1, 1).save(buffer, file_format)
        originals.append(buffer.getvalue())
    seen = set()
    for number in range(60):
        data = bytearray(originals[number % 4])
        # Headers are short, and most of what can go wrong is in them.
        reach = len(data) if number % 3 else 64
        for place in random.integers(0, min(reach, len(data)), random.integers(1, 8)):
            data[place] = random.integers(0, 256)
        start, end = sorted(random.integers(0, len(data), 2))
        if number % 5 == 0:
            del data[start:end]
        elif number % 5 == 1:
            data[start:start] = data[start:end]
        answer = writable.reader.post("/api/search", files={"image": bytes(data)}, data={"k": "1"})
        assert answer.status_code in (200, 400), answer.text
        assert "Traceback" not in answer.text
        seen.add(answer.status_code)
    assert seen == {200, 400}
    assert writable.reader.get("/ready").status_code == 200


@pytest.mark.parametrize(
    ("phases", "examples"),
    [
        ("fuzzing", 3),
        pytest.param("examples,coverage,fuzzing,stateful", 100, marks=pytest.mark.slow),
    ],
)
def test_description_is_kept(writable: Service, tmp_path: Path, phases: str, examples: int) -> None:
    """Schemathesis asks what it can think of; last of this file, because it changes the gallery."""
    (tmp_path / "openapi.json").write_text(writable.reader.get("/api/openapi.json").text)
    checks = ("not_a_server_error", "content_type_conformance", "response_schema_conformance")
    options = {
        "--url": writable.writer.base_url,
        "--header": f"Authorization: {writable.writer.headers['Authorization']}",
        "--phases": phases,
        "--max-examples": examples,
        "--seed": 1,
        "--checks": ",".join((*checks, "status_code_conformance")),
        "--suppress-health-check": "all",
        "--generation-database": "none",
    }
    command = [sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", "--no-color"]
    command += [str(part) for option in options.items() for part in option]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert writable.reader.get("/ready").status_code == 200
