"""What several ranks do to a recipe's rate and warm-up, and what one rank does not."""

from pathlib import Path

import pytest

from training.distributed.ranks import Ranks
from training.run.recipe import Recipe, load_recipe
from training.run.trainer import Trainer
from zoo.errors import UserError


@pytest.mark.parametrize(
    ("scaling", "init", "rate"),
    [
        ("linear", "imagenet", 2.4e-3),
        ("sqrt", "none", 3e-4 * 8**0.5),
        ("none", "none", 3e-4),
        ("auto", "none", 2.4e-3),
        ("auto", "imagenet", 3e-4 * 8**0.5),
        ("auto", "runs/x/best.safetensors", 3e-4 * 8**0.5),
    ],
)
def test_rate_follows_the_number_of_ranks(tmp_path: Path, scaling: str, init: str, rate: float) -> None:
    path = tmp_path / "own.toml"
    path.write_text(f'init = "{init}"\n[ranks]\nlr_scaling = "{scaling}"\n')
    recipe = load_recipe(path)
    assert recipe.over_ranks(8).optimizer.lr == pytest.approx(rate)
    assert recipe.over_ranks(1) == recipe


@pytest.mark.parametrize(
    ("epochs", "own", "expected"),
    [(120, 0.0, 2.0), (6, 0.0, 1.0), (120, 5.0, 5.0)],
    ids=["the ranks'", "a sixth of a short training", "the optimiser's, where longer"],
)
def test_warm_up(tmp_path: Path, epochs: int, own: float, expected: float) -> None:
    path = tmp_path / "own.toml"
    path.write_text(f"epochs = {epochs}\n[optimizer]\nwarmup_epochs = {own}\n")
    recipe = load_recipe(path)
    assert recipe.over_ranks(2).optimizer.warmup_epochs == expected
    assert recipe.over_ranks(1).optimizer.warmup_epochs == own


def test_defaults() -> None:
    ranks = Recipe().ranks
    assert (ranks.dealing, ranks.mining, ranks.lr_scaling, ranks.sync_bn) == (
        "random",
        "global",
        "auto",
        False,
    )


def test_too_few_vehicles_for_the_ranks(veri_root: Path) -> None:
    """Found before anything is built or awaited."""
    with pytest.raises(UserError, match=r"8 ranks of 4 identities want 32, and .* start fewer ranks"):
        Trainer(load_recipe("smoke"), [veri_root], Ranks(3, 8), seed=0)
