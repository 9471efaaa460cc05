"""The REST interface: what is added and removed, by whom, and that bad input changes nothing."""

import io
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image

from retrieval.galleries import open_gallery
from tests.retrieval.conftest import draw_vehicle, name
from tests.retrieval.service.writing_service import Service, jpegs, keys
from zoo.errors import UserError


def test_added_is_found_by_others_and_removed_is_gone(writable: Service, tmp_path: Path) -> None:
    draw_vehicle(2, 3).save(tmp_path / "x.png")
    image = {"image": (tmp_path / "x.png").read_bytes()}
    form = {"vehicle_id": "2", "camera": "9", "time": "0:10:00", "latitude": "1", "longitude": "2"}
    path = "/api/entries/yard/新 1.png"
    first = writable.writer.put(path, files=image, data=form)
    assert (first.status_code, first.json()["changed"]) == (200, True)
    assert writable.writer.put(path, files=image, data=form).json()["changed"] is False
    assert writable.reader.get(path).json() == first.json()["entry"]
    assert first.json()["entry"]["color"] == "blue"
    with open_gallery(writable.gallery) as other:
        entry = other.get("yard/新 1.png")
        assert entry is not None
        assert (entry.camera, entry.time, entry.latitude) == (9, 600.0, 1.0)
    found = writable.reader.post("/api/search", files=image, data={"k": "1"})
    assert keys(found) == ["yard/新 1.png"]
    assert writable.reader.get("/api/images/yard/新 1.png").headers["content-type"] == "image/jpeg"
    assert writable.writer.delete(path).json() == {"removed": True}
    assert writable.writer.delete(path).json() == {"removed": False}
    assert writable.reader.get(path).status_code == 404
    text = writable.reader.get("/metrics").text
    assert "vehicle_search_images_added_total 1.0" in text
    assert "vehicle_search_images_removed_total 1.0" in text
    assert "vehicle_search_images 24.0" in text


def test_box_is_cut_out_before_it_is_encoded(writable: Service) -> None:
    scene, alone, whole = io.BytesIO(), io.BytesIO(), Image.new("RGB", (300, 120), "gray")
    whole.paste(draw_vehicle(1, 1), (10, 12))
    whole.save(scene, "PNG")
    draw_vehicle(1, 1).save(alone, "PNG")
    form = {"box": "10,12,106,108", "vehicle_id": "1"}
    added = writable.writer.put("/api/entries/part", files={"image": scene.getvalue()}, data=form)
    assert (added.status_code, added.json()["entry"]["box"]) == (200, [10, 12, 106, 108])
    found = writable.reader.post("/api/search", files={"image": alone.getvalue()}, data={"k": "2"}).json()
    assert (found["results"][0]["key"], found["results"][0]["distance"]) == ("part", 0)
    picture = writable.reader.get("/api/images/part").content
    assert Image.open(io.BytesIO(picture)).size == (96, 96)
    for box, status in (("1,2,3", 422), ("5,5,1,1", 422), ("900,0,910,10", 400)):
        answer = writable.writer.put("/api/entries/x", files={"image": scene.getvalue()}, data={"box": box})
        assert (answer.status_code, "box" in answer.text) == (status, True)
    assert writable.writer.delete("/api/entries/part").json() == {"removed": True}


def test_many_at_once(writable: Service) -> None:
    """Each image with its own facts; a bad one is told and the others are added, in one commit."""
    images = jpegs(9)
    images[4] = b"no image"
    files = [("image", (f"{n}.jpg", data)) for n, data in enumerate(images)]
    facts = [{"key": f"many/{n}", "camera": 70 + n, "time": n * 1.5} for n in range(9)]
    facts[2] |= {"time": "0:01:00", "latitude": 1, "longitude": 2, "box": "0,0,48,96", "vehicle_id": 5}
    form = {"entries": json.dumps(facts)}
    answer = writable.writer.put("/api/entries", files=files, data=form)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["changed"], list(answer.json()["errors"])) == (8, ["many/4"])
    assert [item["key"] for item in answer.json()["entries"]] == [f"many/{n}" for n in range(9) if n != 4]
    second = writable.reader.get("/api/entries/many/2").json()
    assert (second["time"], second["box"], second["vehicle_id"]) == (60, [0, 0, 48, 96], 5)
    assert writable.writer.put("/api/entries", files=files, data=form).json()["changed"] == 0
    alone = writable.writer.put(
        "/api/entries/many/1", files={"image": images[1]}, data={"camera": 71, "time": 1.5}
    )
    assert alone.json()["changed"] is False, "one by one or many: the same entry"
    for n in range(9):
        writable.writer.delete(f"/api/entries/many/{n}")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("[", "entries"),
        ('[{"key": "a"}]', "one of each is needed"),
        ('[{"key": "a"}, {"key": "a"}]', "a key comes twice"),
        ('[{"key": "a"}, {"key": "b\\u0007"}]', "printable"),
        ('[{"key": "a"}, {"camera": 1}]', "key"),
        ('[{"key": "a"}, {"key": "b", "colour": "red"}]', "colour"),
        ('[{"key": "a"}, {"key": "b", "camera": 1e300}]', "camera"),
        ('[{"key": "a"}, {"key": "b", "latitude": 1}]', "b: a place has"),
        ('[{"key": "a"}, {"key": "b", "time": "noon"}]', "b: 'noon' is not a time"),
        ('[{"key": "a"}, {"key": "b", "time": NaN}]', "time"),
    ],
)
def test_bad_lists_change_nothing(writable: Service, entries: str, message: str) -> None:
    files = [("image", ("a.jpg", data)) for data in jpegs(2)]
    answer = writable.writer.put("/api/entries", files=files, data={"entries": entries})
    assert (answer.status_code, message in answer.text) == (422, True), answer.text
    assert writable.reader.get("/api/entries/a").status_code == 404


def test_writing_needs_the_scope(writable: Service) -> None:
    image = {"image": b"x"}
    for answer in (
        writable.reader.put("/api/entries/x", files=image),
        writable.reader.put("/api/entries", files=image, data={"entries": '[{"key": "x"}]'}),
        writable.reader.delete(f"/api/entries/{name(1, 1)}"),
    ):
        assert (answer.status_code, "scope `write`" in answer.text) == (403, True)
    assert writable.reader.get(f"/api/entries/{name(1, 1)}").status_code == 200


def test_one_process_writes(writable: Service) -> None:
    with pytest.raises(UserError, match="writ"):
        open_gallery(writable.gallery, writable=True)


@pytest.mark.parametrize(
    ("key", "data", "form", "status"),
    [
        ("k", b"not an image", {}, 400),
        ("k", b"", {}, 400),
        ("k", None, {}, 422),
        ("k" * 513, b"good", {}, 422),
        ("", b"good", {}, 422),
        ("a\tb", b"good", {}, 422),
        ("k", b"good", {"camera": str(2**63)}, 422),
        ("k", b"good", {"vehicle_id": "x"}, 422),
        ("k", b"good", {"latitude": "1"}, 422),
        ("k", b"good", {"latitude": "nan", "longitude": "1"}, 422),
        ("k", b"good", {"time": "1e300"}, 422),
    ],
)
def test_bad_additions_change_nothing(
    writable: Service, images: Path, key: str, data: bytes | None, form: dict, status: int
) -> None:
    good = (images / "image_test" / name(1, 1)).read_bytes()
    files = None if data is None else {"image": good if data == b"good" else data}
    answer = writable.writer.put(f"/api/entries/{quote(key)}", files=files, data=form)
    assert answer.status_code == status, answer.text
    assert "Traceback" not in answer.text
    assert len(keys(writable.reader.get("/api/entries"))) == 24
