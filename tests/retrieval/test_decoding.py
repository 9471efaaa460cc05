"""Whichever way an image takes to the encoder, it is decoded once; and a box may be nearly all of a photo."""

import hashlib
import io
import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from retrieval.app import build_app
from retrieval.galleries import open_gallery
from retrieval.gallery.entries import GalleryModel
from retrieval.ingest import main as ingest
from retrieval.page.audited_searcher import AuditedSearcher
from retrieval.page.events.page import PageEvents
from retrieval.page.filter_fields import EMPTY
from retrieval.page.state import QueryState, Shown
from retrieval.page.texts import Say
from retrieval.page.uploads import Uploads
from retrieval.query.feedback import Feedback
from retrieval.query.searcher import Searcher
from retrieval.search import main as search
from retrieval.service.access import LOCAL
from retrieval.service.audit import Audit
from retrieval.service.prometheus import Metrics
from serving.bundle import Bundle
from serving.encoders.encoder import Encoder, open_encoder
from serving.encoders.image import InputImage
from serving.server.server import TritonServer
from serving.triton.repository import write_repository
from tests.retrieval.conftest import draw_vehicle
from zoo import preprocess

KEY = "0003_c001_00003250_0.jpg"
BOX = (100.0, 50.0, 500.0, 350.0)
BOX_TEXT = "100,50,500,350"

Times = Counter[str]
"""How often an image was decoded, by the digest of its file."""


def encoded(image: Image.Image, image_format: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format)
    return buffer.getvalue()


def scene(vehicle: int, size: tuple[int, int] = (640, 480)) -> bytes:
    return encoded(draw_vehicle(vehicle, 1, 320).resize(size))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def once(*files: bytes) -> Times:
    return Counter(digest(data) for data in files)


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Times:
    """Counts what the one decoder is given, wherever it has been imported to."""
    counted: Times = Counter()
    original = preprocess.decode

    def decode(data: bytes, *how: Any) -> preprocess.Decoded:
        counted[digest(data)] += 1
        return original(data, *how)

    for module in list(sys.modules.values()):
        if vars(module).get("decode") is original:
            monkeypatch.setattr(module, "decode", decode)
    return counted


@contextmanager
def running_service(folder: Path, encoder: Encoder) -> Iterator[tuple[TestClient, Searcher]]:
    """The service and its searcher, in this process."""
    model = GalleryModel(encoder.card, encoder.model_hash)
    with open_gallery(str(folder), model=model, writable=True) as gallery:
        searcher = Searcher(gallery, encoder)
        app = build_app(searcher, [], None, None, Audit(None))
        yield TestClient(app, base_url="http://127.0.0.1"), searcher


@pytest.fixture
def own_gallery(tmp_path: Path, gallery_folder: Path) -> Path:
    return Path(shutil.copytree(gallery_folder, tmp_path / "own-gallery"))


def test_over_rest(own_gallery: Path, encoder: Encoder, times: Times) -> None:
    one, other = scene(1), scene(2)
    boxed = {"data": {"box": BOX_TEXT}}
    both = {"files": [("image", one), ("image", other)]}
    entries = {"entries": json.dumps([{"key": "a", "box": BOX_TEXT}, {"key": "b"}])}
    with running_service(own_gallery, encoder) as (client, searcher):
        result = searcher.gallery.picture(KEY) or b""
        requests: list[tuple[str, str, dict[str, Any], Times]] = [
            ("POST", "search", {}, once(one)),
            ("POST", "search", boxed, once(one)),
            ("POST", "search", both, once(one, other)),
            ("POST", "export", {"data": {"format": "csv"}}, once(one)),
            ("POST", "export", {"data": {"format": "html", "box": BOX_TEXT}}, once(one)),
            ("POST", f"compare/{KEY}", {}, once(one, result)),
            ("POST", f"compare/{KEY}", boxed, once(one, result)),
            ("PUT", "entries/new", {}, once(one)),
            ("PUT", "entries/new", boxed, once(one)),
            ("PUT", "entries", {**both, "data": entries}, once(one, other)),
        ]
        for method, path, options, expected in requests:
            times.clear()
            answer = client.request(method, f"/api/{path}", **{"files": {"image": one}, **options})
            assert (answer.status_code, times) == (200, expected), (method, path, answer.text[:200])


def test_on_the_page(own_gallery: Path, encoder: Encoder, times: Times, tmp_path: Path) -> None:
    file = scene(3)

    def upload() -> InputImage:
        return InputImage(file, "a.jpg")

    def event(**data: Any) -> gr.EventData:
        return gr.EventData(None, data)

    def answer(expected: Times, handler: Callable[..., Any], *values: Any) -> Any:
        times.clear()
        found = handler(*values)
        assert times == expected, handler
        return found

    with running_service(own_gallery, encoder) as (_, searcher):
        events = PageEvents(
            AuditedSearcher(searcher, Metrics(searcher.gallery), Audit(None)), [], Uploads(tmp_path)
        )
        whole = answer(once(file), events.queries.encode, upload(), QueryState(), Say("en"))["state"]
        shares = [BOX[0] / 640, BOX[1] / 480, BOX[2] / 640, BOX[3] / 480]
        part = answer(once(file), events.queries.draw, event(box=shares), whole, Say("en"))["state"]
        assert (whole.box, part.box) == (None, BOX)
        for state in (whole, part):
            visit = (state, Feedback(), Shown(), "", LOCAL, Say("en"))
            asked = (*visit, "", 10, "none", False, None, None, EMPTY)
            shown = answer(once(), events.searches.search, *asked)["shown"]
            page = (state, shown, Feedback())
            key = shown.results[0].key
            compared = answer(once(), events.results.compare, event(key=key), *page, Say("en"))
            assert "data:image/jpeg" in compared["comparison"]
            result = searcher.gallery.picture(key) or b""
            regions = answer(once(file, result), events.results.regions, key, *page, LOCAL, Say("en"))
            assert "vr-heat" in regions["comparison"]
        assert "vr-box" in answer(once(file), events.queries.scene, part, Say("zh"))["scene"]


@pytest.mark.parametrize("size", [(96, 96), (640, 480)], ids=["shown as it is", "made small"])
def test_from_a_folder(tmp_path: Path, bundle: Path, times: Times, size: tuple[int, int]) -> None:
    (tmp_path / "images").mkdir()
    files = [scene(vehicle, size) for vehicle in (1, 2, 3)]
    for number, data in enumerate(files):
        (tmp_path / "images" / f"{number}.jpg").write_bytes(data)
    arguments = ["--images", str(tmp_path / "images"), "--encoder", str(bundle)]
    assert ingest([*arguments, "--gallery", str(tmp_path / "gallery")]) == 0
    assert times == once(*files)
    times.clear()
    assert ingest([*arguments, "--gallery", str(tmp_path / "gallery")]) == 0
    assert not times, "what the gallery has is not decoded again"


def test_from_a_table_with_boxes(tmp_path: Path, bundle: Path, times: Times) -> None:
    (tmp_path / "a.jpg").write_bytes(scene(1))
    (tmp_path / "b.jpg").write_bytes(scene(2))
    (tmp_path / "table.csv").write_text(f"image,left,top,right,bottom\na.jpg,{BOX_TEXT}\nb.jpg,,,,\n")
    arguments = ["--manifest", str(tmp_path / "table.csv"), "--encoder", str(bundle)]
    assert ingest([*arguments, "--gallery", str(tmp_path / "gallery")]) == 0
    assert times == once(scene(1), scene(2))


def test_from_the_command(tmp_path: Path, gallery_folder: Path, times: Times) -> None:
    (tmp_path / "queries").mkdir()
    files = [scene(vehicle) for vehicle in (1, 2)]
    paths = [tmp_path / "queries" / f"{number}.jpg" for number in range(2)]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    asked = ["--gallery", str(gallery_folder)]
    assert search([*asked, "--query", str(paths[0]), "--query", str(paths[1])]) == 0
    assert times == once(*files)
    times.clear()
    rankings = ["--query", str(tmp_path / "queries"), "--rankings", str(tmp_path / "rankings.jsonl")]
    assert search([*asked, *rankings]) == 0
    assert times == once(*files)


@pytest.fixture(params=["in process", "triton"])
def any_encoder(request: pytest.FixtureRequest, bundle: Path, tmp_path: Path) -> Iterator[Encoder]:
    if request.param == "in process":
        yield request.getfixturevalue("encoder")
        return
    served = Bundle.open(shutil.copytree(bundle, tmp_path / "bundle"))
    write_repository(served.repository, served.card, served.onnx_file, served.model_hash)
    with TritonServer(served, log=tmp_path / "server.log") as server:
        opened = open_encoder(f"triton:grpc://{server.grpc}")
        yield opened
        opened.close()


def test_a_box_may_be_nearly_all_of_a_photo(
    own_gallery: Path, encoder: Encoder, any_encoder: Encoder
) -> None:
    """11.9 megapixels are 35.7 MB of pixels, which is more than a file may have."""
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise).resize((4000, 3000)))
    part = preprocess.decode_image(data)[5:2995, 10:3990]
    assert part.nbytes > preprocess.MAX_BYTES
    small = preprocess.resize(part, encoder.card.input_size)
    expected = encoder.encode([encoded(Image.fromarray(small), "PNG")]).embedding[0]
    with running_service(own_gallery, any_encoder) as (client, searcher):
        form = {"box": "10,5,3990,2995"}
        answer = client.put("/api/entries/large", files={"image": data}, data=form)
        assert answer.status_code == 200, answer.text
        entry = searcher.gallery.get("large")
        assert entry is not None
        np.testing.assert_allclose(entry.embedding, expected, rtol=0, atol=1e-6)
        found = client.post("/api/search", files={"image": data}, data={**form, "k": "1"}).json()
        assert found["results"][0]["key"] == "large"
        assert found["results"][0]["distance"] == pytest.approx(0, abs=1e-6)
