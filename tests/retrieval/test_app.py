"""The service: REST answers, what it refuses, and how it starts and stops."""

import http.client
import io
import json
import socket
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image

from retrieval.app import choose_examples, main
from retrieval.galleries import open_gallery
from retrieval.search import main as search
from retrieval.service.limits import MAX_BODY
from tests.retrieval.conftest import draw_vehicle
from tests.retrieval.running_app import running_app
from zoo.errors import UserError


def test_health_and_readiness(service: httpx.Client) -> None:
    assert service.get("/health").json() == {"status": "ok"}
    assert service.get("/ready").json() == {"status": "ready", "images": 24, "model": "grid.test"}


def test_search_answers_as_the_command_does(
    service: httpx.Client, query: bytes, gallery_folder: Path, images: Path, capsys
) -> None:
    form = {"k": "5", "color": ["white", "red"], "camera": ["2", "3", "4"], "after": "0:01:00"}
    answer = service.post("/api/search", files={"image": ("车.jpg", query)}, data=form)
    assert answer.status_code == 200
    path = images / "image_query" / "0003_c001_00003250_0.jpg"
    arguments = ["--gallery", str(gallery_folder), "--query", str(path), "-k", "5", "--json", "--after", "60"]
    for option, value in (
        ("color", "white"),
        ("color", "red"),
        ("camera", "2"),
        ("camera", "3"),
        ("camera", "4"),
    ):
        arguments += [f"--{option}", value]
    capsys.readouterr()
    assert search(arguments) == 0
    expected = json.loads(capsys.readouterr().out)
    assert answer.json() == expected
    assert [result["camera"] for result in expected["results"]] == [2, 3, 4, 4, 3][: len(expected["results"])]


def test_pictures_come_from_the_gallery_only(service: httpx.Client, gallery_folder: Path) -> None:
    answer = service.get("/api/images/0003_c001_00003250_0.jpg")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert Image.open(io.BytesIO(answer.content)).size == (96, 96)
    for key in (
        "none.jpg",
        "../gallery.sqlite",
        "/etc/passwd",
        str(gallery_folder / "gallery.sqlite"),
        "\0",
        "%",
    ):
        assert service.get(f"/api/images/{quote(key, safe='')}").status_code == 404


@pytest.mark.parametrize(
    ("data", "form", "status", "message"),
    [
        (b"", {}, 400, "empty"),
        (b"not an image", {}, 400, "not a JPEG"),
        (None, {}, 422, "image"),
        (b"good", {"k": "0"}, 422, "greater than or equal to 1"),
        (b"good", {"k": "1001"}, 422, "less than or equal to 1000"),
        (b"good", {"k": "many"}, 422, "integer"),
        (b"good", {"color": "pink"}, 422, "no colour is named 'pink'"),
        (b"good", {"type": "tank"}, 422, "no type is named 'tank'"),
        (b"good", {"camera": str(2**70)}, 422, "not a camera id"),
        (b"good", {"after": "noon"}, 422, "not a time"),
        (b"good", {"after": "9", "before": "8"}, 422, "before it begins"),
    ],
)
def test_bad_requests_get_a_sentence(
    service: httpx.Client, query: bytes, data, form, status, message
) -> None:
    files = None if data is None else {"image": ("x.jpg", query if data == b"good" else data)}
    answer = service.post("/api/search", files=files, data=form)
    assert answer.status_code == status, answer.text
    assert message in answer.text
    assert "Traceback" not in answer.text


def test_images_of_every_kind_are_taken(service: httpx.Client) -> None:
    """However an image is stored, it is the same vehicle."""
    image = draw_vehicle(1, 1)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = image.transpose(Image.Transpose.ROTATE_90)

    def found(kind: Image.Image, file_format: str = "PNG", **options: object) -> dict:
        buffer = io.BytesIO()
        kind.save(buffer, file_format, **options)
        answer = service.post("/api/search", files={"image": buffer.getvalue()}, data={"k": "4"})
        assert answer.status_code == 200
        return answer.json()

    for answer in (
        found(image.convert("CMYK"), "JPEG"),
        found(image.convert("P")),
        found(image.convert("RGBA")),
        found(turned, exif=exif),
    ):
        assert {result["vehicle_id"] for result in answer["results"]} == {1}
        assert answer["query"]["color"] == "red"
    gray = image.convert("L")
    sixteen_bits = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    assert found(sixteen_bits) == found(gray)


def test_truncated_and_enormous_images(service: httpx.Client, query: bytes) -> None:
    answer = service.post("/api/search", files={"image": query[:700]})
    assert (answer.status_code, "truncated" in answer.text) == (400, True)
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    answer = service.post("/api/search", files={"image": bomb.getvalue()})
    assert (answer.status_code, "exceeds the limit of" in answer.text) == (400, True)


def test_large_bodies_are_refused_with_and_without_a_length(service: httpx.Client) -> None:
    answer = service.post("/api/search", content=bytes(MAX_BODY + 1))
    assert answer.status_code == 413
    assert service.get("/health").status_code == 200
    address = urlsplit(str(service.base_url))
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    connection.putrequest("POST", "/api/search")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.putheader("Content-Type", "multipart/form-data; boundary=b")
    connection.endheaders()
    start = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    try:
        for part in (start, *[bytes(2**20)] * (MAX_BODY // 2**20 + 1)):
            connection.send(b"%x\r\n%s\r\n" % (len(part), part))
    except OSError:
        pass
    # The service answers before it has read everything, and may hang up on the rest.
    assert connection.getresponse().status == 413
    connection.close()


def test_closed_doors(service: httpx.Client) -> None:
    assert service.get("/health", headers={"host": "evil.example"}).status_code == 421
    assert service.get("/health", headers={"host": "localhost:1"}).status_code == 200
    for path in ("/gradio_api/proxy=http://127.0.0.1/", "/gradio_api/file=http://127.0.0.1/", "/monitoring"):
        assert service.get(path).status_code == 404
    assert service.get("/gradio_api/file=/etc/passwd").status_code in (403, 404)
    picture = "/api/images/0003_c001_00003250_0.jpg"
    for site in ("cross-site", "same-site"):
        elsewhere = {"sec-fetch-site": site, "sec-fetch-dest": "image"}
        assert service.get(picture, headers=elsewhere).status_code == 403
        assert service.get("/", headers={**elsewhere, "sec-fetch-dest": "document"}).status_code == 200
    assert service.get(picture, headers={"sec-fetch-site": "same-origin"}).status_code == 200
    page = service.get("/")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]


def run_event(service: httpx.Client, event: dict, session: str) -> dict:
    """Send an event as the page does; return its end."""
    joined = service.post("/gradio_api/queue/join", json={**event, "session_hash": session})
    assert joined.status_code == 200
    with service.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
        for line in stream.iter_lines():
            if "process_completed" in line:
                return json.loads(line.removeprefix("data:"))
    raise AssertionError("the event did not end")


@pytest.mark.parametrize(
    "path", ["SERVER_FILE", "http://127.0.0.1:1/x.jpg", "file:///etc/passwd", "../x", "\0"]
)
def test_page_takes_no_path_and_no_address(service: httpx.Client, images: Path, path: str) -> None:
    """Neither in the image field nor in another one, from where Gradio would copy it and serve it."""
    if path == "SERVER_FILE":
        path = str(next((images / "image_query").iterdir()))
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    config = service.get("/config").json()
    parts = {part["id"]: part["props"] for part in config["components"]}
    for number, (name, place) in enumerate((("encode", "query"), ("search", "after"))):
        event = next(item for item in config["dependencies"] if item["api_name"] == name)
        data = [
            file if parts[part].get("elem_id") == place else parts[part].get("value")
            for part in event["inputs"]
        ]
        assert file in data
        answer = run_event(service, {"data": data, "fn_index": event["id"]}, f"{path}{number}")
        assert answer["success"] is False
        assert "Only uploaded images" in json.dumps(answer)
        assert "Traceback" not in json.dumps(answer)


def test_port_in_use_and_foreign_hosts(gallery_folder: Path, capsys) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["--gallery", str(gallery_folder), "--port", str(port)]) == 2
        assert f"port {port} on 127.0.0.1: address already in use" in capsys.readouterr().err
    assert main(["--gallery", str(gallery_folder), "--host", "0.0.0.0"]) == 2
    assert "no access control" in capsys.readouterr().err
    assert main(["--gallery", str(gallery_folder), "--port", "99999"]) == 2
    assert "0 (any free port) to 65535" in capsys.readouterr().err


def test_no_gallery_is_told_in_one_line(tmp_path: Path, bundle: Path, capsys) -> None:
    assert main(["--gallery", str(tmp_path / "g"), "--encoder", str(bundle), "--port", "0"]) == 2
    error = capsys.readouterr().err
    assert "no such folder; mend the path" in error
    assert len(error.splitlines()) == 1


def test_examples(gallery_folder: Path, images: Path, tmp_path: Path) -> None:
    with open_gallery(gallery_folder) as gallery:
        own = choose_examples(None, gallery, tmp_path)
        assert len(own) == 8
        assert all(path.read_bytes()[:2] == b"\xff\xd8" for path in own)
        given = choose_examples(images / "image_query", gallery, tmp_path)
        assert [path.read_bytes() for path in given] == [
            path.read_bytes() for path in sorted((images / "image_query").iterdir())
        ]
        with pytest.raises(UserError, match="no such folder"):
            choose_examples(images / "none", gallery, tmp_path)


def test_service_sees_what_is_ingested_meanwhile(
    tmp_path: Path, images: Path, bundle: Path, query: bytes
) -> None:
    from retrieval.ingest import main as ingest

    folder = tmp_path / "new"
    folder.mkdir()
    arguments = ["--images", str(folder), "--gallery", str(tmp_path / "g"), "--encoder", str(bundle)]
    draw_vehicle(1, 1).save(folder / "one.png")
    assert ingest(arguments) == 0
    with running_app("--gallery", tmp_path / "g") as url:
        (folder / "white car.jpg").write_bytes(query)
        assert ingest(arguments) == 0
        results = httpx.post(f"{url}/api/search", files={"image": query}, trust_env=False, timeout=30).json()[
            "results"
        ]
        assert [result["key"] for result in results] == ["white car.jpg", "one.png"]
        assert httpx.get(f"{url}/api/images/white%20car.jpg", trust_env=False).status_code == 200


def test_metrics_tell_of_searches(service: httpx.Client, query: bytes) -> None:
    def count() -> float:
        answer = service.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
        return float(lines.get('vehicle_search_searches_total{source="image"}', 0))

    before = count()
    assert service.post("/api/search", files={"image": query}).status_code == 200
    assert service.post("/api/search", files={"image": b""}).status_code == 400
    assert count() == before + 1


def test_a_service_only_reads_unless_told_otherwise(service: httpx.Client, query: bytes) -> None:
    for answer in (
        service.put("/api/entries/x.jpg", files={"image": query}),
        service.delete("/api/entries/0003_c001_00003250_0.jpg"),
    ):
        assert (answer.status_code, "--writable" in answer.text) == (403, True)
    assert service.get("/ready").json()["images"] == 24
