"""Classes are data: from the labels of one's own pictures to the filter of a search."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retrieval.ingest import main as ingest
from retrieval.search import main as search
from serving.export import main as export
from training.calibrate import main as calibrate
from training.evaluate import main as evaluate
from training.launch import main as launch
from zoo.card import Card

TYPES = ("motorcycle", "Light Truck", "sedan")


def draw(root: Path, labelled: float, vehicles: int = 9) -> Path:
    """Write pictures of vehicles in stripes, each at three cameras, and a table with types of a share."""
    rng = np.random.default_rng(0)
    rows = []
    for vehicle in range(vehicles):
        paint = rng.integers(0, 256, (2, 3))
        for camera in range(3):
            path = root / f"car {vehicle}" / f"cam{camera}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            stripes = paint[(np.arange(40) // (4 + vehicle)) % 2][None].repeat(32, 0)
            Image.fromarray((stripes * rng.uniform(0.8, 1.0)).astype(np.uint8)).save(path)
            kind = TYPES[vehicle % 3] if camera < 3 * labelled else ""
            rows.append(f"{path.relative_to(root)},{path.parent.name},{camera},{kind}")
    table = root / "cars.csv"
    table.write_text("\n".join(["path,vehicle_id,camera_id,type", *rows]))
    return table


def run(capsys: pytest.CaptureFixture[str], main, *arguments: object) -> dict:
    """Run a command and read the JSON line that it ends with."""
    assert main([str(argument) for argument in arguments]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("labelled", [1.0, 0.5, 0.0], ids=["three types", "half unlabelled", "none"])
def test_from_labels_to_search(tmp_path: Path, labelled: float, capsys: pytest.CaptureFixture[str]) -> None:
    table, out = draw(tmp_path / "own", labelled), tmp_path / "run"
    options = ("--recipe", "smoke", "--epochs", 1, "--cpus", 1, "--threads", 1, "--out", out, "--json")
    figures = run(capsys, launch, "--data-root", table, *options)
    card = Card.read(out / "best.json")
    expected = ("sedan", "light truck", "motorcycle") if labelled else ()
    assert (card.colors, card.types) == ((), expected)
    assert card.outputs == {"embedding": 64} | ({"type_probs": 3} if labelled else {})
    assert figures["color_accuracy"] is None
    assert (figures["type_accuracy"] is not None) == bool(labelled)

    weights = out / "best.safetensors"
    again = run(
        *(capsys, evaluate, "--data-root", table, "--weights", weights, "--cpus", 1, "--json"),
        *("--report", tmp_path / "report.html"),
    )
    assert again["type_accuracy"] == figures["type_accuracy"]
    assert list(again["attributes"]) == (["type"] if labelled else [])
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert ("motorcycle" in page) == bool(labelled)
    assert calibrate(["--data-root", str(table), "--weights", str(weights), "--cpus", "1"]) == (
        0 if labelled else 2
    )

    assert export(["--weights", str(weights), "--out", str(tmp_path / "bundle")]) == 0
    files = sorted((tmp_path / "bundle").rglob("types.txt"))
    assert [file.read_text() for file in files] == (["sedan\nlight truck\nmotorcycle\n"] if labelled else [])
    assert not list((tmp_path / "bundle").rglob("colors.txt"))

    gallery = ("--gallery", tmp_path / "gallery")
    run(capsys, ingest, "--images", tmp_path / "own", *gallery, "--encoder", tmp_path / "bundle", "--json")
    query = ("--query", tmp_path / "own" / "car 0" / "cam0.jpg", "--json")
    found = run(capsys, search, *gallery, *query)
    assert (found["query"]["color"], len(found["query"]["type_probs"])) == (None, len(expected))
    if labelled:
        kind = found["results"][0]["type"]
        filtered = run(capsys, search, *gallery, *query, "--type", kind)
        assert {result["type"] for result in filtered["results"]} == {kind}
    assert search([str(part) for part in (*gallery, *query, "--type", "hatchback")]) == 2


def test_labels_that_the_model_does_not_know_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = draw(tmp_path / "own", 1.0)
    arguments = ["--data-root", str(table), "--weights", "osnet_ain.synthetic", "--cpus", "1"]
    assert evaluate(arguments) == 0
    assert "type labels that the model does not know do not count: " in capsys.readouterr().err


def test_going_on_with_a_shipped_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "small.toml"
    recipe.write_text(
        'size = [32, 32]\nepochs = 1\nnum_identities = 4\ninit = "osnet_ain.synthetic"\n'
        '[model]\narch = "osnet_ain"\nembedding_dim = 256\nattribute_dim = 128\nneck = "bn"\npool = "gem"\n'
    )
    table, out = draw(tmp_path / "own", 1.0), tmp_path / "run"
    options = ("--recipe", recipe, "--cpus", 1, "--threads", 1, "--out", out, "--json")
    run(capsys, launch, "--data-root", table, *options)
    assert Card.read(out / "best.json").types == ("sedan", "light truck", "motorcycle")
