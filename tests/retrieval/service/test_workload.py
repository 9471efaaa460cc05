"""A service with more to do than it can: who waits, who is sent away, and what is never held up."""

import io
import json
import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from PIL import Image
from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from retrieval.app import build_app
from retrieval.galleries import open_gallery
from retrieval.gallery.entries import GalleryModel
from retrieval.keys import KeyRing, add_key, remove_key
from retrieval.query.occlusion import ENCODINGS
from retrieval.query.searcher import Searcher
from retrieval.service import access, downloads, workload
from retrieval.service.audit import Audit
from retrieval.service.rates import Rates
from serving.encoders import image as image_module
from serving.encoders.deadline import deadline, seconds_left
from serving.encoders.encoder import Encoder
from serving.encoders.image import InputImage
from serving.encoders.predictions import Predictions
from tests.retrieval.service.serving_thread import served
from zoo.errors import UserError

KEY = "0003_c001_00003250_0.jpg"


class StuckEncoder:
    """Answers when it is told to, and notes how long each of its callers would wait."""

    def __init__(self, encoder: Encoder) -> None:
        self.card, self.model_hash, self._encoder = encoder.card, encoder.model_hash, encoder
        self.released = threading.Event()
        self.entered: list[float | None] = []
        self.arrived = threading.Semaphore(0)

    def encode(self, images: Sequence[bytes | InputImage]) -> Predictions:
        self.entered.append(seconds_left())
        self.arrived.release()
        assert self.released.wait(60)
        return self._encoder.encode(images)

    def arrivals(self, count: int) -> None:
        for _ in range(count):
            assert self.arrived.acquire(timeout=30)


class SmallOnly:
    """Encodes one image in the place of all: how large ones are decoded is tested elsewhere."""

    def __init__(self, encoder: Encoder, image: bytes) -> None:
        self._encoder, self._image = encoder, image

    def encode(self, images: Sequence[bytes | InputImage]) -> Predictions:
        return self._encoder.encode([self._image] * len(images))


@contextmanager
def stuck_service(
    gallery_folder: Path, encoder: Encoder, keys: Path, rate: float | None = None
) -> Iterator[tuple[httpx.Client, StuckEncoder]]:
    secret = add_key(keys, "reader", "read")
    stuck = StuckEncoder(encoder)
    with open_gallery(str(gallery_folder), model=GalleryModel(encoder.card, encoder.model_hash)) as gallery:
        rates = None if rate is None else Rates(rate)
        app = build_app(Searcher(gallery, stuck), [], KeyRing(keys), rates, Audit(None))  # type: ignore[arg-type]
        with (
            served(app) as url,
            httpx.Client(
                base_url=url,
                timeout=60,
                trust_env=False,
                headers={"authorization": f"Bearer {secret}"},
                limits=httpx.Limits(max_connections=200),
            ) as client,
        ):
            try:
                yield client, stuck
            finally:
                stuck.released.set()


def test_health_and_keys_never_wait_for_work(
    gallery_folder: Path, encoder: Encoder, query: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workload.Workload.__init__, "__defaults__", (5, 30.0))

    def search(_: int) -> httpx.Response:
        return client.post("/api/search", files={"image": query})

    def compare(_: int) -> httpx.Response:
        return client.post(f"/api/compare/{KEY}", data={"with_key": KEY})

    with (
        stuck_service(gallery_folder, encoder, tmp_path / "keys.json") as (client, stuck),
        ThreadPoolExecutor(100) as pool,
    ):
        asked = [pool.submit(search, n) for n in range(45)] + [pool.submit(compare, n) for n in range(40)]
        stuck.arrivals(workload.WORKING + workload.COMPARING)
        # 5 of each kind wait; the others are sent away at once.
        for _, future in zip(range(85 - 19), as_completed(asked), strict=False):
            assert future.result().status_code == 503
        assert client.get("/health").json() == {"status": "ok"}
        assert client.get("/api/cameras", headers={"authorization": "Bearer x"}).status_code == 401
        assert client.get("/api/cameras").status_code == 200
        assert client.get(f"/api/images/{KEY}").status_code == 200
        assert len(stuck.entered) == workload.WORKING + workload.COMPARING
        stuck.released.set()
        answers = [future.result() for future in asked]
    counts = Counter(answer.status_code for answer in answers)
    assert counts == {200: workload.WORKING + workload.COMPARING + 10, 503: 85 - 19}
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.headers["retry-after"] == str(workload.RETRY_AFTER)
    assert "more to do than it can" in refused.json()["detail"]
    assert all(left is not None and 0 < left <= workload.REQUEST_SECONDS for left in stuck.entered)


def test_who_waits_too_long_is_sent_away(
    gallery_folder: Path, encoder: Encoder, query: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workload.Workload.__init__, "__defaults__", (20, 0.2))
    with (
        stuck_service(gallery_folder, encoder, tmp_path / "keys.json") as (client, stuck),
        ThreadPoolExecutor(20) as pool,
    ):
        working = [
            pool.submit(client.post, "/api/search", files={"image": query}) for _ in range(workload.WORKING)
        ]
        stuck.arrivals(workload.WORKING)
        assert client.post("/api/search", files={"image": query}).status_code == 503
        stuck.released.set()
        assert {future.result().status_code for future in working} == {200}
        assert client.post("/api/search", files={"image": query}).status_code == 200


@pytest.mark.parametrize(
    ("sides", "places"), [((2600, 2600), workload.WITH_LARGE), ((5200, 5200), workload.WITH_HUGE)]
)
def test_large_images_hold_up_no_other(
    gallery_folder: Path,
    encoder: Encoder,
    query: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sides: tuple[int, int],
    places: int,
) -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", sides).save(buffer, "WEBP", lossless=True, method=0, quality=0)
    # Only what the header announces counts here.
    monkeypatch.setattr(InputImage, "apart", lambda image, *_: image)
    with (
        stuck_service(gallery_folder, encoder, tmp_path / "keys.json") as (client, stuck),
        ThreadPoolExecutor(20) as pool,
    ):
        large = [
            pool.submit(client.post, "/api/search", files={"image": buffer.getvalue()})
            for _ in range(places + 2)
        ]
        stuck.arrivals(places)
        # All places of the others are free.
        small = [
            pool.submit(client.post, "/api/search", files={"image": query}) for _ in range(workload.WORKING)
        ]
        stuck.arrivals(workload.WORKING)
        assert len(stuck.entered) == places + workload.WORKING
        monkeypatch.setattr(stuck, "_encoder", SmallOnly(encoder, query))
        stuck.released.set()
        assert {future.result().status_code for future in small + large} == {200}


def test_what_is_dear_counts_as_often_as_it_encodes(
    gallery_folder: Path, encoder: Encoder, query: bytes, tmp_path: Path
) -> None:
    with stuck_service(gallery_folder, encoder, tmp_path / "keys.json", rate=1e-3) as (client, stuck):
        stuck.released.set()
        assert client.post(f"/api/compare/{KEY}", data={"with_key": KEY}).status_code == 200
        refused = client.post("/api/search", files={"image": query})
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > (ENCODINGS - 1) * 1000


def test_nothing_is_decoded_beyond_the_deadline(
    gallery_folder: Path, encoder: Encoder, query: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request of many images may take minutes of decoding."""
    model = GalleryModel(encoder.card, encoder.model_hash)
    folder = shutil.copytree(gallery_folder, tmp_path / "gallery")
    decoded: list[str] = []
    monkeypatch.setattr(image_module, "decode", lambda data, name, *box: decoded.append(name))
    with open_gallery(str(folder), model=model, writable=True) as gallery:
        app = build_app(Searcher(gallery, encoder), [], None, None, Audit(None))
        with served(app) as url, httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            many = {
                "files": [("image", query)] * 3,
                "data": {"entries": json.dumps([{"key": f"new{number}"} for number in range(3)])},
            }
            monkeypatch.setattr(workload, "REQUEST_SECONDS", 0.0)
            for refused in (
                client.put("/api/entries", **many),
                client.put("/api/entries/new", files={"image": query}),
                client.post("/api/search", files={"image": query}),
            ):
                assert refused.status_code == 503, refused.text
                assert "no answer in time" in refused.json()["detail"]
            assert decoded == []
            monkeypatch.undo()
            assert client.put("/api/entries", **many).json()["changed"] == 3
        with deadline(0.0), pytest.raises(UserError, match="no answer in time"):
            encoder.submit([query]).result()


def test_an_open_stream_ends_with_its_key(
    gallery_folder: Path, encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "CHECKED_AGAIN", 0.05)
    keys = tmp_path / "keys.json"
    with stuck_service(gallery_folder, encoder, keys) as (client, _):
        other = {"authorization": f"Bearer {add_key(keys, 'other', 'read')}"}
        with (
            client.stream("GET", "/gradio_api/heartbeat/a") as revoked,
            client.stream("GET", "/gradio_api/heartbeat/b", headers=other) as kept,
        ):
            first = revoked.iter_raw()
            assert next(first)
            remove_key(keys, "reader")
            for _ in first:
                pass
            assert revoked.status_code == 200
            assert next(kept.iter_raw())
        assert client.get("/api/cameras").status_code == 401
        assert client.get("/api/cameras", headers=other).status_code == 200


@pytest.mark.parametrize("path", ["/api/export", "/api/entries"])
def test_a_download_ends_with_its_key(
    gallery_folder: Path, encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Of a slow reader, who is left with what shows that it is not whole."""
    monkeypatch.setattr(access, "CHECKED_AGAIN", 0.05)
    large = bytes(2**25)
    monkeypatch.setattr(downloads, "make_download", lambda *_: large)
    monkeypatch.setattr("retrieval.gallery.entries.Result.as_json", lambda *_: {"key": "x" * 2**21})
    keys = tmp_path / "keys.json"
    identify, refused = access._identify, threading.Event()

    def noted(ring: KeyRing, headers: Headers) -> object:
        found = identify(ring, headers)
        if headers.get("x-request-id") == "slow" and isinstance(found, JSONResponse):
            refused.set()
        return found

    monkeypatch.setattr(access, "_identify", noted)
    with stuck_service(gallery_folder, encoder, keys) as (client, _):
        client.headers["x-request-id"] = "slow"
        fields = {"data": {"format": "zip"}} if path == "/api/export" else {}
        with client.stream("POST" if fields else "GET", path, **fields) as answer:
            assert answer.status_code == 200
            pieces = answer.iter_raw()
            came = len(next(pieces))
            remove_key(keys, "reader")
            assert refused.wait(30)
            with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
                for piece in pieces:
                    came += len(piece)
        assert came < int(answer.headers["content-length"])
