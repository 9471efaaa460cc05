"""`training.evaluate` with other ways to search: each in a row of its own, the plain figures as they were."""

import json
from pathlib import Path

import numpy as np
import pytest

from training.datasets.records import NO_CLASSES, Record
from training.evaluate import main as evaluate
from training.evaluation.extract import Extracted
from training.evaluation.metrics import evaluate_ranking
from training.evaluation.protocol import Embedded
from training.evaluation.query_results import read_query_results
from training.evaluation.ranking_rows import RowOptions, camera_warning, rank_in_rows
from zoo.camera_means import CameraSums
from zoo.registry import create_model, make_card
from zoo.weights import save_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model: good enough to rank by."""
    model = create_model("densenet121", num_ids=8)
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    save_weights(model, make_card(model, "densenet121.untrained", (32, 32)), path)
    return path


def test_rows_stand_beside_the_plain_figures(
    veri_root: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--data-root", str(veri_root), "--weights", str(weights), "--cpus", "1", "--json"]
    assert evaluate(command) == 0
    plain = json.loads(capsys.readouterr().out.splitlines()[-1])
    saved = tmp_path / "run" / "queries.jsonl"
    more = [
        "--camera-centring",
        "--rerank",
        "--k1",
        "4",
        "--query-expansion",
        "--tracks",
        "--ranks",
        "1",
        "3",
    ]
    assert evaluate([*command, *more, "--save-queries", str(saved)]) == 0
    out = capsys.readouterr().out
    told = json.loads(out.splitlines()[-1])
    names = ("plain", "camera_centring", "query_expansion", "re_ranking", "image_to_track")
    for name in names:
        assert told[name].keys() == {"mAP", "mINP", "rank1", "rank3", "seconds"}
        assert name.replace("_", " ") in out.replace("re-ranking", "re ranking")
    assert told["mAP"] == told["plain"]["mAP"] == plain["mAP"]
    assert "Rank-3" in out
    found = read_query_results(saved.parent)
    assert found.values["average_precision"].mean() == pytest.approx(plain["mAP"], abs=1e-12)
    assert found.values["color_right"].mean() == pytest.approx(plain["color_accuracy"])


def test_the_centred_row_is_that_of_embeddings_centred_by_hand() -> None:
    rng = np.random.default_rng(0)
    camera_shift = 3 * rng.standard_normal((3, 8))
    vehicles, cameras = np.repeat(np.arange(20), 3), np.tile(np.arange(3), 20)
    looks = rng.standard_normal((20, 8))[vehicles] + 0.3 * rng.standard_normal((60, 8))
    gallery = (looks + camera_shift[cameras]).astype(np.float32)
    records = [
        Record(Path(f"{n}.jpg"), int(vehicle), int(camera))
        for n, (vehicle, camera) in enumerate(zip(vehicles, cameras, strict=True))
    ]
    found = Embedded(Extracted(gallery), Extracted(gallery), records, records, "euclidean", NO_CLASSES)
    plain, centred = rank_in_rows(found, RowOptions(camera_centring=True))
    means = CameraSums(8).with_pictures(gallery, cameras).means
    by_hand = gallery - np.array([means.means[means.of(np.array([c]))[0]] for c in cameras.tolist()])
    expected = evaluate_ranking(by_hand, by_hand, vehicles, vehicles, cameras, cameras)
    assert centred.name == "camera centring"
    assert centred.ranking.mean_average_precision == expected.mean_average_precision
    assert centred.ranking.mean_average_precision > plain.ranking.mean_average_precision + 0.2


def test_a_camera_of_other_traffic_is_told() -> None:
    rng = np.random.default_rng(0)
    cameras, types = np.repeat([1, 2, 3], 40), rng.integers(0, 8, 120)
    for lane in (False, True):
        told = np.where(lane & (cameras == 3), 8, types)
        gallery = Extracted(np.zeros((120, 4), np.float32), type_probs=np.eye(9, dtype=np.float32)[told])
        records = [Record(Path(f"{n}.jpg"), n, int(camera)) for n, camera in enumerate(cameras)]
        warning = camera_warning(Embedded(gallery, gallery, records, records, "euclidean", NO_CLASSES))
        assert ("camera 3 by type" in warning) is lane


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--ranks", "0"], "--ranks count from 1"),
        (["--rerank", "--k1", "0"], "k1 and k2"),
        (["--query-expansion", "--results", "0"], "at least 1 result"),
    ],
)
def test_impossible_options_are_refused(veri_root: Path, capsys, wrong: list[str], message: str) -> None:
    assert evaluate(["--data-root", str(veri_root), "--weights", "x.safetensors", *wrong]) == 2
    assert message in capsys.readouterr().err


def test_rankings_have_no_embeddings_to_search_with(veri_root: Path, capsys) -> None:
    assert evaluate(["--data-root", str(veri_root), "--rankings", "x.jsonl", "--rerank"]) == 2
    assert "need embeddings" in capsys.readouterr().err
