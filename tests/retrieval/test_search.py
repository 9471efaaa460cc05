"""The search command: its JSON, its filters, its rankings file, and what it says to bad input."""

import json
from pathlib import Path

import numpy as np
import pytest

from retrieval.search import main
from serving.encoders.encoder import Encoder
from tests.retrieval.conftest import CAMERAS, VEHICLES, draw_vehicle


@pytest.fixture
def query(images: Path) -> Path:
    return images / "image_query" / "0003_c001_00003250_0.jpg"


def ask(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_json_answer(gallery_folder: Path, query: Path, capsys) -> None:
    answer = ask(capsys, "--gallery", gallery_folder, "--query", query)
    assert answer["query"]["color"] == "white"
    assert sum(answer["query"]["type_probs"].values()) == pytest.approx(1)
    assert next(iter(answer["query"]["type_probs"])) == answer["query"]["type"]
    assert len(answer["results"]) == 10
    first = answer["results"][0]
    assert (first["key"], first["score"], first["camera"]) == (query.name, 1, 1)
    assert (first["camera_name"], first["time"], first["vehicle_id"]) == ("North gate", 130, 3)
    assert {result["vehicle_id"] for result in answer["results"][:CAMERAS]} == {3}


@pytest.mark.parametrize(
    ("filters", "vehicles", "cameras", "times"),
    [
        (["--color", "red", "--color", "blue"], {1, 2}, {1, 2, 3, 4}, (0, 999)),
        (["--camera", "2"], set(VEHICLES), {2}, (0, 999)),
        (["--after", "0:02:00", "--before", "160"], {2, 3}, {1, 2, 3, 4}, (120, 160)),
        (["--color", "white", "--camera", "1", "--camera", "4"], {3}, {1, 4}, (0, 999)),
    ],
)
def test_filters(gallery_folder: Path, query: Path, capsys, filters, vehicles, cameras, times) -> None:
    results = ask(capsys, "--gallery", gallery_folder, "--query", query, "-k", 0, *filters)["results"]
    expected = {
        (vehicle, camera)
        for vehicle in vehicles
        for camera in cameras
        if times[0] <= (vehicle * 1000 + camera * 250) / 25 <= times[1]
    }
    assert {(result["vehicle_id"], result["camera"]) for result in results} == expected
    assert len(results) == len(expected)


def test_text_answer(gallery_folder: Path, query: Path, capsys) -> None:
    assert main(["--gallery", str(gallery_folder), "--query", str(query), "-k", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("colour: white ")
    assert lines[2].split()[:3] == ["1", "1.000", query.name]
    assert lines[2].endswith("0:02:10  North gate")
    assert main(["--gallery", str(gallery_folder), "--query", str(query), "--color", "golden"]) == 0
    assert "meets the filters" in capsys.readouterr().out


def test_rankings_hold_every_image_for_every_query(
    gallery_folder: Path, images: Path, encoder: Encoder, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "served.jsonl"
    answer = ask(
        capsys, "--gallery", gallery_folder, "--query", images / "image_query", "--k", 0, "--rankings", out
    )
    assert answer == {"queries": len(VEHICLES), "rankings": str(out)}
    queries = sorted((images / "image_query").iterdir())
    gallery = sorted((images / "image_test").iterdir())
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [line["query"] for line in lines] == [path.name for path in queries]
    asked = encoder.encode([path.read_bytes() for path in queries])
    held = encoder.encode([path.read_bytes() for path in gallery]).embedding.astype(np.float64)
    for row, line in enumerate(lines):
        distances = np.linalg.norm(held - asked.embedding[row].astype(np.float64), axis=1)
        assert line["results"] == [gallery[index].name for index in np.argsort(distances, kind="stable")]
        assert line["color"] == VEHICLES[row + 1]


def test_rankings_are_whole_or_not_there(gallery_folder: Path, tmp_path: Path, capsys) -> None:
    queries = tmp_path / "queries"
    queries.mkdir()
    draw_vehicle(1, 1).save(queries / "good.jpg")
    (queries / "bad.jpg").write_bytes(b"nothing")
    (queries / "empty.jpg").write_bytes(b"")
    out = tmp_path / "served.jsonl"
    arguments = ["--gallery", str(gallery_folder), "--query", str(queries), "--rankings", str(out)]
    assert main(arguments) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "2 of 3 queries" in error
    assert "bad.jpg" in error
    assert "empty.jpg" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["queries"]


def test_user_faults(gallery_folder: Path, query: Path, images: Path, tmp_path: Path, capsys) -> None:
    def error(*arguments: object) -> str:
        capsys.readouterr()
        assert main([*map(str, arguments)]) == 2
        output = capsys.readouterr()
        assert output.out == ""
        assert len(output.err.splitlines()) == 1
        return output.err

    base = ("--gallery", gallery_folder, "--query")
    assert "none.jpg: cannot be read" in error(*base, tmp_path / "none.jpg")
    assert "needs --rankings" in error(*base, images / "image_query")
    assert "no folder of queries" in error(*base, query, "--rankings", tmp_path / "r.jsonl")
    (tmp_path / "bad.jpg").write_bytes(query.read_bytes()[:500])
    assert "bad.jpg: " in error(*base, tmp_path / "bad.jpg")
    assert "no colour is named 'pink'" in error(*base, query, "--color", "pink")
    assert "k is -1" in error(*base, query, "-k", "-1")
    assert "not a time" in error(*base, query, "--after", "noon")
    assert "no such folder; mend the path" in error("--gallery", tmp_path / "g", "--query", query)
