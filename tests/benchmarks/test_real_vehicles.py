"""Real pictures: how they are read, dealt and judged; and the benchmark of starts, as small as it runs."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import starts
from benchmarks.real_vehicles import KINDS, folds, hard_figures, kind_of, read_real, write_table
from training.datasets import read_split
from training.run.recipe import ModelOptions
from zoo.errors import UserError

VEHICLES = {"labels.csv": 10, "hard.csv": 2}


@pytest.fixture(scope="module")
def real_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("real")
    rng = np.random.default_rng(0)
    for table, count in VEHICLES.items():
        lines = ["path,kind,vehicle_id,camera_id,color,type"]
        for kind, body in (("car", "sedan"), ("motorcycle", "")):
            for number in range(count):
                color = rng.integers(0, 256, 3)
                for camera in (1, 2):
                    name = f"{table[:4]}_{kind}_{number}_{camera}.jpg"
                    cv2.imwrite(str(root / name), np.full((32, 32, 3), color, np.uint8))
                    lines.append(f"{name},{kind},{kind}_{number},{camera},,{body}")
        (root / table).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def test_hard_has_vehicles_and_cameras_of_its_own(real_root: Path) -> None:
    real = read_real(real_root)
    assert (len(real.train), len(real.hard)) == (40, 8)
    for name in ("vehicle_id", "camera_id"):
        assert not {getattr(r, name) for r in real.train} & {getattr(r, name) for r in real.hard}
    assert {r.type for r in real.train} == {"sedan", "motorcycle"}
    assert [kind_of(r) for r in real.hard[:1]] == [KINDS[0]]


def test_folds_part_vehicles_of_each_kind(real_root: Path) -> None:
    records = read_real(real_root).train
    fold = folds(records, 5)
    for kind in KINDS:
        found = [(f, r.vehicle_id) for f, r in zip(fold, records, strict=True) if kind_of(r) == kind]
        assert len(set(found)) == 10
        assert np.bincount([f for f, _ in found]).tolist() == [4] * 5


def test_judged_among_all_of_a_kind(real_root: Path) -> None:
    real = read_real(real_root)
    vehicles = [r.vehicle_id for r in (*real.train, *real.hard)]
    perfect = np.eye(len(set(vehicles)), dtype=np.float32)[np.unique(vehicles, return_inverse=True)[1]]
    assert all(value == pytest.approx(100) for value in hard_figures(perfect, real, "cosine").values())


def test_tables_with_and_without_labels(real_root: Path, tmp_path: Path) -> None:
    records = read_real(real_root).train
    assert read_split(write_table(tmp_path / "a.csv", records), "train") == records
    text = write_table(tmp_path / "b.csv", records, labelled=False).read_text(encoding="utf-8")
    assert text.splitlines()[0] == "path,camera_id"


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"labels\.csv: cannot be read"):
        read_real(tmp_path)


def test_starts(
    real_root: Path,
    veri_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = ModelOptions("osnet_ain", embedding_dim=16, attribute_dim=8, width=0.25)
    small = {"size": (32, 32), "progressive": ((5, 40),), "num_identities": 2, "num_instances": 2}
    arm = dataclasses.replace(starts.ARMS["osnet_ain.random"], model=model, **small)
    monkeypatch.setitem(starts.ARMS, "osnet_ain.random", arm)
    given = ["--real", str(real_root), "--drawn", str(veri_root), "--out", str(tmp_path), "--json"]
    given += ["--only", "osnet_ain.random", "--minutes"]
    assert starts.main([*given, "0.02"]) == 0
    (row,) = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert row["pictures"] == 4 * row["steps"] > 0
    # The last step may go over the budget, by itself alone.
    assert 1.2 <= row["seconds"] < 3.0
    assert 0 <= row["drawn"] <= 100
    monkeypatch.setattr(starts, "measure", None)
    assert starts.main([*given, "0.02"]) == 0
    assert starts.main([*given, "0.03"]) == 2
    assert "another budget" in capsys.readouterr().err


def test_only_chance_waits_for_triplets() -> None:
    for recipe in starts.ARMS.values():
        assert (recipe.loss.triplet_start > 0) == (recipe.init == "none")
