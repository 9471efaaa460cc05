"""The ablation's arithmetic and files; its trainings are ordinary ones."""

import json
from pathlib import Path

import pytest

from benchmarks import ablation
from training.run.recipe import load_recipe


@pytest.fixture
def results(tmp_path: Path) -> Path:
    rows = [
        {"arm": arm, "seed": seed, "mAP": value, "rank1": 70.0}
        for arm, values in {
            ablation.BASE: (60.0, 62.0, 61.0),
            "BNNeck": (66.0, 67.0, 68.0),
            "BNNeck and circle loss": (64.0, 65.0, 66.5),
            "soft margin": (61.0, 61.0, 61.5),
            "GeM pooling": (65.0,),
        }.items()
        for seed, value in enumerate(values)
    ]
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_only_what_gains_beyond_its_error_is_taken_to_help(results: Path) -> None:
    figures = ablation.read(results)
    mean, error = ablation.gain(figures, "BNNeck")
    assert (mean, error) == pytest.approx((6.0, 1 / 3**0.5))
    assert ablation.helpful(figures) == ["BNNeck"]
    assert ablation.changes_of(ablation.HELPED, figures) == {"model": {"neck": "bn"}}


def test_the_table_of_unfinished_results(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = results.with_name("page.md")
    page.write_text(f"before\n{ablation.BEGIN}\nold\n{ablation.END}\nafter\n")
    assert ablation.main(["--results", str(results), "--page", str(page), "--json"]) == 0
    assert page.read_text().splitlines()[:3] == [
        "before",
        ablation.BEGIN,
        "| arm | seeds | mAP | spread | Rank-1 | gain in mAP |",
    ]
    assert page.read_text().splitlines()[-2:] == [ablation.END, "after"]
    out = capsys.readouterr().out
    assert "| published recipe | 3 | 61.0 | 2.0 | 70.0 |  |" in out
    assert "| BNNeck | 3 | 67.0 | 2.0 | 70.0 | +6.0 ± 0.6 |" in out
    assert "| GeM pooling | 1 | 65.0 | 0.0 | 70.0 | +5.0 |" in out
    assert json.loads(out.splitlines()[-1])["GeM pooling"]["gain_error"] is None


@pytest.mark.parametrize("arm", [name for name in ablation.ARMS if name != ablation.HELPED])
def test_every_arm_is_a_recipe(arm: str, tmp_path: Path) -> None:
    path = tmp_path / "arm.toml"
    path.write_text(ablation.toml(ablation.over(ablation.SMALL, ablation.changes_of(arm, {}))))
    recipe = load_recipe(path)
    assert recipe.num_identities * recipe.num_instances == 32
    if arm == ablation.ALL:
        assert (recipe.loss.circle, recipe.loss.triplet, recipe.loss.soft_margin) == (1.0, 0.0, False)
        assert (recipe.model.neck, recipe.model.pool, recipe.ema_decay) == ("bn", "gem", 0.95)


def test_data_without_a_start_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ablation.main(["--data", str(tmp_path)]) == 2
    assert "--data and --start go together" in capsys.readouterr().err
