"""Camera centring as users ask for it: the commands, Python and REST."""

import json
import shutil
from pathlib import Path

import httpx
import numpy as np
import pytest

from retrieval.galleries import open_gallery
from retrieval.gallery.base import QueryCameraError
from retrieval.ingest import main as ingest
from retrieval.query.feedback import Feedback, refine
from retrieval.query.reranking import HEAD, reranked_distances
from retrieval.query.searcher import Searcher
from retrieval.search import main as search
from serving.encoders.encoder import Encoder
from tests.retrieval.conftest import draw_vehicle, name
from tests.retrieval.running_app import running_app

NAME = "0003_c001_00003250_0.jpg"


@pytest.fixture(scope="module")
def centred_folder(tmp_path_factory: pytest.TempPathFactory, images: Path, bundle: Path) -> Path:
    """A gallery that centres, as its ingest was told."""
    folder = tmp_path_factory.mktemp("centred") / "gallery"
    arguments = ["--images", str(images / "image_test"), "--gallery", str(folder), "--encoder", str(bundle)]
    assert ingest([*arguments, "--camera-centring", "on"]) == 0
    return folder


def ask(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, float]:
    capsys.readouterr()
    assert search([*map(str, arguments), "-k", "0", "--json"]) == 0
    results = json.loads(capsys.readouterr().out.splitlines()[-1])["results"]
    return {result["key"]: result["distance"] for result in results}


def test_the_command_centres_as_the_gallery_does(
    centred_folder: Path, gallery_folder: Path, images: Path, encoder: Encoder, capsys
) -> None:
    query = images / "image_query" / NAME
    with open_gallery(centred_folder) as gallery:
        vector = Searcher(gallery, encoder).encode(query).embedding
        expected = {
            camera: {hit.key: hit.distance for hit in gallery.search(vector, 0, camera=camera)}
            for camera in (None, 1, 2)
        }
    asked = ("--gallery", centred_folder, "--query", query)
    assert ask(capsys, *asked) == expected[None]
    assert ask(capsys, *asked, "--query-camera", 2) == expected[2]
    assert ask(capsys, *asked, "--query-camera", 1)[NAME] == pytest.approx(0, abs=1e-6)
    # The same picture as at no camera in particular is not quite that of camera 1.
    assert expected[None][NAME] > 1e-3
    plain = ask(capsys, "--gallery", gallery_folder, "--query", query)
    assert ask(capsys, *asked, "--camera-centring", "off") == plain
    other = ("--gallery", gallery_folder, "--query", query, "--camera-centring", "on")
    assert ask(capsys, *other, "--query-camera", 2) == expected[2]


def test_a_camera_without_centring_is_refused(gallery_folder: Path, images: Path, capsys) -> None:
    query = str(images / "image_query" / NAME)
    assert search(["--gallery", str(gallery_folder), "--query", query, "--query-camera", "2"]) == 2
    told = capsys.readouterr().err
    assert "--camera-centring on" in told
    assert len(told.strip().splitlines()) == 1


def test_rankings_take_the_camera_from_the_name(
    centred_folder: Path, images: Path, encoder: Encoder, tmp_path: Path
) -> None:
    out = tmp_path / "rankings.jsonl"
    folder = images / "image_query"
    arguments = ["--gallery", str(centred_folder), "--query", str(folder), "--rankings", str(out)]
    assert search([*arguments, "--query-camera", "4"]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    with open_gallery(centred_folder) as gallery:
        searcher = Searcher(gallery, encoder)
        for line in lines:
            vector = searcher.encode(folder / line["query"]).embedding
            assert line["results"] == gallery.rank(vector, camera=1)


def test_queries_of_several_cameras_marks_and_reranking(centred_folder: Path, encoder: Encoder) -> None:
    with open_gallery(centred_folder) as gallery:
        searcher = Searcher(gallery, encoder)
        keys = [name(v, c) for v, c in ((3, 1), (3, 4), (5, 2))]
        first, second = (searcher.recall(key) for key in keys[:2])
        assert first is not None
        assert second is not None
        assert (first.camera, second.camera) == (1, 4)
        vectors, cameras = gallery.embeddings(keys), [1, 4, 2]
        points = gallery.centred(vectors, cameras)
        assert np.array_equal(gallery.centred_embeddings(keys), points)
        middle = points[:2].astype(np.float64).mean(axis=0).astype(np.float32)
        target = refine(middle, points[:0], points[2:], gallery.model.card.metric)
        expected = gallery.search(target, 0, is_centred=True)
        found = searcher.search([first, second], 0, feedback=Feedback(negative=(keys[2],)))
        assert [hit.key for hit in found] == [hit.key for hit in expected if hit.key != keys[2]]
        # What the queries say of their cameras wins over what is said of them all.
        again = searcher.search([first, second], 0, feedback=Feedback(negative=(keys[2],)), camera=3)
        assert [hit.distance for hit in again] == [hit.distance for hit in found]
        plain = searcher.search(first, 0)
        head = gallery.centred_embeddings([hit.key for hit in plain[:HEAD]])
        order = np.argsort(reranked_distances(points[0], head), kind="stable")
        reranked = searcher.search(first, 0, rerank=True)
        assert [hit.key for hit in reranked] == [plain[place].key for place in order]
        alike = searcher.similar(keys[0], 3)
        assert alike is not None
        assert [hit.key for hit in alike[1]] == [hit.key for hit in plain if hit.key != keys[0]][:3]


def test_python_refuses_a_camera_that_nothing_is_done_with(gallery_folder: Path, encoder: Encoder) -> None:
    with open_gallery(gallery_folder) as gallery, pytest.raises(QueryCameraError, match="off for"):
        Searcher(gallery, encoder).search("no.jpg", camera=1)


def test_rest_takes_the_camera(
    centred_folder: Path, service: httpx.Client, query: bytes, encoder: Encoder
) -> None:
    with open_gallery(centred_folder) as gallery:
        vector = Searcher(gallery, encoder).encode(query).embedding
        expected = {
            camera: [hit.distance for hit in gallery.search(vector, camera=camera)] for camera in (None, 1)
        }
    with running_app("--gallery", centred_folder) as url:
        for camera, distances in expected.items():
            answer = httpx.post(
                f"{url}/api/search",
                files={"image": query},
                data={} if camera is None else {"query_camera": str(camera)},
                trust_env=False,
            )
            assert answer.status_code == 200, answer.text
            assert [hit["distance"] for hit in answer.json()["results"]] == distances
        data = {"format": "csv", "query_camera": "1"}
        exported = httpx.post(f"{url}/api/export", files={"image": query}, data=data, trust_env=False)
        assert exported.status_code == 200
        without = httpx.post(f"{url}/api/export", data=data, trust_env=False)
        assert without.status_code == 422
    refused = service.post("/api/search", files={"image": query}, data={"query_camera": "1"})
    assert refused.status_code == 422
    assert "camera centring" in refused.json()["detail"]


def test_cameras_of_different_traffic_are_told(
    centred_folder: Path, images: Path, bundle: Path, tmp_path: Path, capsys
) -> None:
    """A camera that sees red cars alone, thirty of them, beside cameras that see all colours."""
    assert search(["--gallery", str(centred_folder), "--query", str(images / "image_query" / NAME)]) == 0
    assert "traffic" not in capsys.readouterr().err
    shutil.copytree(images / "image_test", tmp_path / "lane")
    for number in range(30):
        draw_vehicle(1, 1).save(tmp_path / "lane" / f"0001_c009_{number:08}_0.jpg")
    folder = str(tmp_path / "gallery")
    arguments = ["--images", str(tmp_path / "lane"), "--gallery", folder, "--encoder", str(bundle), "--json"]
    assert ingest([*arguments, "--camera-centring", "on"]) == 0
    told = capsys.readouterr()
    assert "warning" in told.err
    assert "camera 9 by colour" in told.err
    assert "camera 9" in json.loads(told.out.splitlines()[-1])["warning"]
    assert search(["--gallery", folder, "--query", str(images / "image_query" / NAME)]) == 0
    assert "camera 9 by colour" in capsys.readouterr().err
    assert ingest([*arguments, "--camera-centring", "off"]) == 0
    assert "traffic" not in capsys.readouterr().err
