"""A gallery in Milvus Lite answers what a folder answers, to the last bit."""

import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from retrieval.app import main as app
from retrieval.galleries import open_gallery
from retrieval.gallery.base import Gallery
from retrieval.gallery.crops import PassCrop
from retrieval.gallery.entries import Camera, Entry, GalleryModel
from retrieval.gallery.filters import Filters
from retrieval.gallery.geography import Near
from retrieval.ingest import main as ingest
from retrieval.journeys.store import LinkStore
from retrieval.milvus.connection import Connection, parse_address
from retrieval.milvus.filters import expression_of
from retrieval.milvus.rows import UNKNOWN, schema_of
from retrieval.search import main as search
from retrieval.transfer import main as transfer
from zoo.card import Card
from zoo.errors import UserError

DIMENSION = 16
ROWS = 300
OUTPUTS = {"embedding": DIMENSION, "color_probs": 10, "type_probs": 9}


def model(metric: str) -> GalleryModel:
    return GalleryModel(Card("tiny.one", (32, 32), OUTPUTS, metric=metric), "hash", "build/bundle")


def make_entries() -> list[Entry]:
    """Every value known of some and unknown of others; a key that nothing can quote; equal embeddings."""
    rng = np.random.default_rng(0)
    entries = []
    for n in range(ROWS):
        has_place, has_box = n % 6 == 0, n % 5 == 0
        entries.append(
            Entry(
                f'{n:03} "it\'s" \\ 车 {{x}} %.jpg',
                rng.integers(-2, 3, DIMENSION).astype(np.float32) + np.float32(0.1) * (n % 3),
                rng.dirichlet(np.ones(10)).astype(np.float32) if n % 9 else np.zeros(0, np.float32),
                rng.dirichlet(np.ones(9)).astype(np.float32) if n % 8 else np.zeros(0, np.float32),
                bytes(rng.integers(0, 256, 90_000 if n == 0 else 50, dtype=np.uint8)),
                f"folder/{n}",
                f"digest {n}",
                vehicle_id=None if n % 7 == 0 else n // 3,
                track_id=None if n % 4 else -n,
                camera=None if n % 11 == 0 else n % 5 - 1,
                time=None if n % 10 == 0 else float(rng.integers(0, 50)) + 0.1,
                latitude=48 + 0.001 * n if has_place else None,
                longitude=(179.9 if n % 12 else -179.9) if has_place else None,
                box=(1.5, 2.0, 3.25, 4.0) if has_box else None,
                crops=make_crops(n) if n % 13 == 0 or n in {7, 9} else (),
            )
        )
    return entries


def make_crops(number: int) -> tuple[PassCrop, ...]:
    """The images of a pass; of one vehicle they are many, and longer than a text of Milvus may be."""
    rng = np.random.default_rng(number)
    return tuple(
        PassCrop(
            bytes(rng.integers(0, 256, 9_000 if number == 0 else 30, dtype=np.uint8)),
            *(float(rng.random()), None if place else 100.3, (0.5, 1.0, 30.0, 40.25)),
            rng.normal(size=DIMENSION).astype(np.float32),
        )
        for place in range(60 if number == 0 else 2)
    )


def told(crops: tuple[PassCrop, ...]) -> list[tuple[object, ...]]:
    """All that is known of a pass's images, to the last digit."""
    return [(each.picture, each.quality, each.time, each.box, each.embedding.tolist()) for each in crops]


@pytest.fixture(scope="module", params=["euclidean", "cosine"])
def pair(request, tmp_path_factory) -> Iterator[tuple[Gallery, Gallery]]:
    """The same images in a folder and in Milvus, some of them replaced and some removed."""
    root = tmp_path_factory.mktemp("pair")
    galleries = [
        open_gallery(name, model=model(request.param), writable=True)
        for name in (root / "folder", f"milvus:{root / 'lite.db'}")
    ]
    entries = make_entries()
    for gallery in galleries:
        gallery.set_cameras([Camera(1, 'North "gate" 门', 48.01, 179.95), Camera(8, "yard")])
        assert gallery.add(entries[:200]) == 200
        assert gallery.add(entries[100:]) == ROWS - 200
        assert gallery.add(entries[:3]) == 0
        assert gallery.remove([entries[7].key, entries[7].key, "none"]) == 1
        other = Entry(entries[9].key, entries[10].embedding, camera=4)
        assert gallery.add([other, other]) == 1
    yield galleries[0], galleries[1]
    for gallery in galleries:
        gallery.close()


def test_more_lists_are_looked_at_where_a_filter_leaves_few_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a server, 64 of an inverted index's 1,024 lists had 7 of the 10 nearest of 1% of the rows."""
    rng = np.random.default_rng(5)
    entries = [
        Entry(f"{n:03}", rng.normal(size=DIMENSION).astype(np.float32), camera=n % 10) for n in range(100)
    ]
    asked: list[int] = []
    call = Connection.call

    def noted(self: Connection, name: str, *arguments: Any, **options: Any) -> Any:
        if name == "search":
            asked.append(options["search_params"]["params"]["nprobe"])
        return call(self, name, *arguments, **options)

    monkeypatch.setattr(Connection, "call", noted)
    spec = f"milvus:{tmp_path / 'lite.db'}"
    with open_gallery(spec, model=model("euclidean"), writable=True, index="IVF_FLAT") as gallery:
        gallery.add(entries)
        for cameras in ((), (0, 1, 2, 3, 4), (3,), (3, 99)):
            assert gallery.search(entries[3].embedding, 1, Filters(cameras=cameras))[0].key == "003"
        assert asked == [64, 128, 640, 640]


FILTERS = [
    Filters(),
    Filters(colors=("white", "red"), types=("suv", "sedan", "bus")),
    Filters(cameras=(-1, 2, 99)),
    Filters(vehicles=(3, 4)),
    Filters(after=10.1, before=30.1),
    Filters(color_confidence=0.3, type_confidence=0.25),
    Filters(near=Near(48.1, 180, 20_000)),
    Filters(near=Near(48.01, 179.95, 500)),
    Filters(near=Near(89.9, 0, 5_000_000), before=20),
    Filters(cameras=(77,)),
]


@pytest.mark.parametrize("filters", FILTERS, ids=lambda filters: str(FILTERS.index(filters)))
def test_same_answers(pair: tuple[Gallery, Gallery], filters: Filters) -> None:
    folder, milvus = pair
    rng = np.random.default_rng(1)
    queries = [rng.normal(size=DIMENSION).astype(np.float32), make_entries()[20].embedding]
    for query in queries:
        for k in (0, 1, 10, 100):
            expected = folder.search(query, k, filters)
            assert milvus.search(query, k, filters) == expected
            assert milvus.rank(query, k, filters) == [hit.key for hit in expected]
    assert milvus.browse(filters, 20, 5) == folder.browse(filters, 20, 5)
    assert bool(expected) is (filters.cameras != (77,))


def test_filters_are_pushed_down() -> None:
    """Milvus is sent every condition; only the circle's last word is spoken here."""
    card = model("euclidean").card
    sent = expression_of(
        Filters(("white",), ("suv",), (3,), 1.5, 2, (4,), Near(48, 11, 100), 0.5, 0.25),
        card,
        [Camera(6, "gate", 48, 11), Camera(7, "yard", 49, 11)],
    )
    for part in ("color in [6]", "type in [", "camera in [3]", "vehicle_id in [4]", "time >= 1.5"):
        assert part in sent
    for part in ("time <= 2.0", "color_confidence >= 0.5", "type_confidence >= 0.25", "camera in [6]"):
        assert part in sent
    assert "latitude >= 47.999" in sent
    assert expression_of(Filters(), card, []) == ""


def test_same_content(pair: tuple[Gallery, Gallery]) -> None:
    folder, milvus = pair
    assert len(milvus) == len(folder) == ROWS - 1
    assert milvus.cameras() == folder.cameras()
    assert milvus.time_range() == folder.time_range()
    assert len(milvus.sample_keys(8)) == 8
    kept = {entry.key: entry for batch in folder.entries() for entry in batch}
    found = {entry.key: entry for batch in milvus.entries() for entry in batch}
    assert kept.keys() == found.keys()
    for key, entry in kept.items():
        for name, value in vars(entry).items():
            if name == "crops":
                assert told(found[key].crops) == told(value), key
            else:
                assert np.array_equal(getattr(found[key], name), value), (key, name)
    some = list(kept)[::7]
    assert milvus.origins([*some, "none"]) == folder.origins(some)
    assert np.array_equal(milvus.embeddings(some), folder.embeddings(some))
    assert milvus.picture(some[0]) == kept[some[0]].picture
    assert milvus.holds_passes()
    assert {key: told(crops) for key, crops in milvus.crops(list(kept)).items()} == {
        key: told(crops) for key, crops in folder.crops(list(kept)).items()
    }
    # One pass was removed, and one replaced by an image.
    gone = [entry.key for entry in make_entries() if entry.crops and not kept.get(entry.key, entry).crops]
    assert len(gone) == 1
    assert milvus.crops(gone) == {}
    assert milvus.get("none") is milvus.picture("none") is None
    with pytest.raises(UserError, match="no image of this key"):
        milvus.embeddings(["none"])
    for k, filters in ((-1, Filters()), (1, Filters(colors=("pink",)))):
        with pytest.raises(UserError):
            milvus.search(np.ones(DIMENSION, np.float32), k, filters)


def test_an_earlier_gallery_opens_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its fields may lack a value; what is added now has a number there that stands for the unknown."""

    def nullable(dimension: int) -> Any:
        schema = schema_of(dimension)
        for field in schema.fields:
            field.nullable = field.name in UNKNOWN
        return schema

    entries, name = make_entries(), f"milvus:{tmp_path / 'lite.db'}"
    with monkeypatch.context() as earlier:
        earlier.setattr("retrieval.milvus.about.schema_of", nullable)
        earlier.setattr("retrieval.milvus.rows.UNKNOWN", dict.fromkeys(UNKNOWN))
        with closing(open_gallery(name, model=model("cosine"), writable=True)) as gallery:
            gallery.add(entries[:200])
    pair = [
        open_gallery(where, model=model("cosine"), writable=True, camera_centring=True)
        for where in (tmp_path / "folder", name)
    ]
    for gallery in pair:
        gallery.set_cameras([Camera(1, "gate", 48.01, 179.95)])
        gallery.add(entries)
    for filters in FILTERS:
        expected, found = (gallery.search(entries[20].embedding, 30, filters) for gallery in pair)
        assert found == expected
    folder, milvus = pair
    assert milvus.time_range() == folder.time_range()
    assert {e.key: e.camera for batch in milvus.entries() for e in batch} == {
        e.key: e.camera for e in entries
    }
    for gallery in pair:
        gallery.close()


def test_float32_ties_are_ordered_in_float64(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    vectors = (rng.normal(size=DIMENSION) + 1e-6 * rng.normal(size=(800, DIMENSION))).astype(np.float32)
    entries = [Entry(f"{n:04}", vector) for n, vector in enumerate(vectors)]
    names = (tmp_path / "folder", f"milvus:{tmp_path / 'lite.db'}")
    found = []
    for name in names:
        with open_gallery(name, model=model("euclidean"), writable=True) as gallery:
            gallery.add(entries)
            found.append(gallery.rank(vectors[7], 25))
    assert found[0] == found[1]


def test_road_through_the_commands(
    tmp_path: Path,
    images: Path,
    bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ingest, transfer, search and another index, as a user does them."""
    folder, lite = tmp_path / "folder", f"milvus:{tmp_path / 'lite.db'}"
    pictures = ["--images", str(images / "image_test"), "--encoder", str(bundle)]
    assert ingest([*pictures, "--gallery", str(folder)]) == 0
    # From here on, the file is read as another process has left it.
    command = [sys.executable, "-m", "retrieval.transfer", "--from", str(folder), "--to", lite]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("24 of 24 images were new"), done.stderr
    assert "Traceback" not in done.stderr
    LinkStore(folder).mark("a", "b", "cut")
    # Where a gallery in Milvus has its reports by default is not its own.
    monkeypatch.chdir(folder)
    capsys.readouterr()
    assert transfer(["--from", str(folder), "--to", lite, "--index", "hnsw", "--json"]) == 0
    said, told = capsys.readouterr().out.splitlines()[-2:]
    assert "1 cases and marks of links stayed behind" in said
    assert (json.loads(told)["changed"], json.loads(told)["left"]) == (0, 1)
    report = ["--report", str(tmp_path / "report.json"), "--json"]
    assert ingest(["--images", pictures[1], "--gallery", lite, *report]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["known"] == 24
    query = str(next((images / "image_query").iterdir()))
    answers = []
    for gallery in (str(folder), lite):
        assert search(["--gallery", gallery, "--query", query, "--camera", "2", "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
    assert answers[0] == answers[1]
    assert len(answers[0]["results"]) == 6
    with open_gallery(lite) as gallery, pytest.raises(UserError, match="was opened for searching"):
        gallery.remove(["a"])


@contextmanager
def milvus_server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server of its own process."""
    command = [sys.executable, "-m", "milvus_lite", "server", "--data-dir", str(folder)]
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(200):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield server
    finally:
        server.kill()
        server.wait()


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        return int(free.getsockname()[1])


def test_server(tmp_path: Path) -> None:
    """A server that several of our processes may use at once."""
    port = free_port()
    name = f"milvus://127.0.0.1:{port}/cars"
    with pytest.raises(UserError, match="no Milvus answers there"):
        open_gallery(name)
    folder = open_gallery(tmp_path / "folder", model=model("euclidean"), writable=True)
    folder.add(make_entries())
    with closing(folder), milvus_server(tmp_path, port) as server:
        with pytest.raises(UserError, match="no gallery there"):
            open_gallery(name)
        assert transfer(["--from", folder.name, "--to", name]) == 0
        with open_gallery(name, writable=True) as writer, open_gallery(name) as reader:
            query = make_entries()[20].embedding
            assert reader.search(query, 50, FILTERS[2]) == folder.search(query, 50, FILTERS[2])
            nearest = reader.rank(query, 1)
            assert writer.remove(nearest) == 1
            assert nearest[0] not in reader.rank(query)
            server.kill()
            server.wait()
            with pytest.raises(UserError, match="Milvus fails"):
                reader.search(query)


class Door(grpc.GenericRpcHandler):
    """What stands before a Milvus that has users: passes a call on if it brings the right token."""

    def __init__(self, server: grpc.Channel, token: str) -> None:
        self._server = server
        self._token = base64.b64encode(token.encode()).decode()

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        passed_on = self._server.unary_unary(call.method)
        right = ("authorization", self._token) in [(key, value) for key, value in call.invocation_metadata]

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            if not right:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "auth check failure")
            try:
                return bytes(passed_on(request))
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())

        return grpc.unary_unary_rpc_method_handler(answer)


def test_tls_and_token(tmp_path: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "certificate.pem")]
    subprocess.run(
        [*command, *files, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True
    )
    certificate = (tmp_path / "certificate.pem").read_bytes()
    port, inner = free_port(), free_port()
    name = f"milvus+tls://127.0.0.1:{port}/cars"
    with milvus_server(tmp_path, inner), grpc.insecure_channel(f"127.0.0.1:{inner}") as channel:
        door = grpc.server(ThreadPoolExecutor(4), handlers=[Door(channel, "root:Milvus")])
        pair = [((tmp_path / "key.pem").read_bytes(), certificate)]
        door.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials(pair))
        door.start()
        with open_gallery(tmp_path / "folder", model=model("euclidean"), writable=True) as folder:
            folder.add(make_entries()[:20])

        def transferred(token: str | None, authority: Path | None) -> subprocess.CompletedProcess[str]:
            given = {"MILVUS_TOKEN": token, "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": authority}
            return subprocess.run(
                [sys.executable, "-m", "retrieval.transfer", "--from", str(folder.name), "--to", name],
                env={**os.environ, **{key: str(value) for key, value in given.items() if value}},
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )

        try:
            authority = tmp_path / "certificate.pem"
            for wrong in (("root:Milvus", None), (None, authority), ("root:wrong", authority)):
                refused = transferred(*wrong)
                assert refused.returncode == 2
                assert "mend the address or MILVUS_TOKEN" in refused.stderr
                assert "Traceback" not in refused.stderr
            done = transferred("root:Milvus", authority)
            assert done.returncode == 0, done.stderr
            assert "20 of 20 images were new" in done.stdout
        finally:
            door.stop(0)


def test_user_faults(tmp_path: Path, capsys) -> None:
    lite = f"milvus:{tmp_path / 'lite.db'}"
    with pytest.raises(UserError, match="no gallery there"):
        open_gallery(lite)
    assert not (tmp_path / "lite.db").exists()
    for name in (
        "milvus:x",
        "milvus://host/name",
        "milvus://host:1/a-b",
        "milvus://host:1",
        "milvus+tls:x.db",
    ):
        with pytest.raises(UserError, match=r"the form is milvus://HOST:PORT/NAME"):
            parse_address(name)
    assert parse_address("milvus://10.0.0.1:19530/cars").uri == "http://10.0.0.1:19530"
    assert parse_address("milvus+tls://milvus.example:443/cars").uri == "https://milvus.example:443"
    with pytest.raises(UserError, match=r"--index IVF4096,SQ8: not one of Milvus'"):
        open_gallery(lite, index="IVF4096,SQ8")
    with open_gallery(lite, model=model("euclidean"), writable=True):
        with pytest.raises(UserError, match=r"holds embeddings of tiny\.one"):
            open_gallery(lite, model=GalleryModel(model("euclidean").card, "other"))
        code = "import sys; from retrieval.galleries import open_gallery; open_gallery(sys.argv[1])"
        done = subprocess.run([sys.executable, "-c", code, lite], capture_output=True, text=True, check=False)
        assert "one process at a time; a Milvus server serves many" in done.stderr
    assert app(["--gallery", "milvus:nowhere", "--port", "0"]) == 2
    assert "the form is" in capsys.readouterr().err


def test_missing_extra_is_named(run_python, tmp_path: Path) -> None:
    result = run_python(
        "import sys; sys.modules['pymilvus'] = None; from retrieval.transfer import main; "
        f"sys.exit(main(['--from', 'milvus://127.0.0.1:1/a', '--to', {str(tmp_path / 'x')!r}]))"
    )
    assert result.returncode == 2
    assert "the extra `milvus`: pip install -e '.[milvus]'" in result.stderr
