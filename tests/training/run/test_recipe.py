"""Recipes: the shipped ones read, and what is unknown or of the wrong type is refused."""

import dataclasses
from pathlib import Path

import pytest

from training.run.recipe import RECIPES, LossOptions, Recipe, load_recipe
from zoo.errors import UserError


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.toml")))
def test_every_shipped_recipe(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description


def test_pamtri_is_the_published_one() -> None:
    recipe = load_recipe("pamtri")
    assert (recipe.size, recipe.epochs, recipe.num_identities, recipe.num_instances) == (
        (256, 256),
        120,
        8,
        4,
    )
    assert (recipe.init, recipe.progressive, recipe.ema_decay) == ("imagenet", (), 0.0)
    optimizer, loss, augmentation = recipe.optimizer, recipe.loss, recipe.augmentation
    assert (optimizer.name, optimizer.lr, optimizer.weight_decay) == ("adam", 3e-4, 5e-4)
    assert (optimizer.schedule, optimizer.milestones, optimizer.gamma) == ("multistep", (30, 60), 0.1)
    assert (loss.identity, loss.triplet, loss.color, loss.type) == (1.0, 1.0, 0.125, 0.125)
    assert (loss.margin, loss.soft_margin, loss.label_smoothing) == (0.3, False, 0.0)
    assert (augmentation.crop, augmentation.crop_scale, augmentation.flip) == (0.5, 1.125, 0.5)
    assert (augmentation.erasing, augmentation.jitter) == (0.0, 0.0)


def test_the_original_on_eight_cards() -> None:
    """Eight times the rate from the first step, plain sampling, each card for itself: all else is equal."""
    original, pamtri = load_recipe("pamtri-8p-original"), load_recipe("pamtri")
    assert (
        dataclasses.replace(
            original,
            name=pamtri.name,
            description=pamtri.description,
            sampler=pamtri.sampler,
            loss=pamtri.loss,
            ranks=pamtri.ranks,
        )
        == pamtri
    )
    assert original.loss == dataclasses.replace(pamtri.loss, lone_anchors="self")
    assert (original.sampler, original.ranks.mining, original.ranks.sync_bn) == ("plain", "rank", False)
    followed = original.over_ranks(8).optimizer
    assert followed == dataclasses.replace(pamtri.optimizer, lr=8 * 3e-4, warmup_epochs=0.0)


def test_overrides() -> None:
    recipe = load_recipe("smoke", epochs=7, init=None)
    assert (recipe.epochs, recipe.init) == (7, "none")


def test_progressive_sizes() -> None:
    recipe = Recipe(size=(128, 160), progressive=((2, 64), (5, 96)))
    assert [recipe.size_at(epoch) for epoch in (0, 1, 2, 4, 5, 9)] == [(64, 64)] * 2 + [(96, 96)] * 2 + [
        (128, 160)
    ] * 2


def test_the_triplet_sets_in_where_asked() -> None:
    recipe = Recipe(loss=LossOptions(triplet=0.5, triplet_start=2))
    assert [recipe.loss_at(epoch).triplet for epoch in range(4)] == [0.0, 0.0, 0.5, 0.5]
    assert recipe.loss_at(0).identity == 1.0


def refused(folder: Path, text: str, message: str) -> None:
    path = folder / "own.toml"
    path.write_text(text)
    with pytest.raises(UserError) as raised:
        load_recipe(path)
    assert message in str(raised.value)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "unknown key 'epoch'; did you mean epochs?"),
        (
            "[optimizer]\nweight_decy = 1.0",
            "optimizer: unknown key 'weight_decy'; did you mean weight_decay?",
        ),
        ("zzz = 3", "unknown key 'zzz'; known are "),
        ("seed = 3", "unknown key 'seed'; it is an option of the command: --seed"),
        ('"--data-root" = "x"', "unknown key '--data-root'; it is an option of the command: --data-root"),
        ("[model]\ncheckpoint-every = 3", "unknown key 'checkpoint-every'"),
        ("lr = 0.1", "unknown key 'lr'; it belongs into [optimizer]"),
        ("epochs = 3.5", "epochs = 3.5: expected int"),
        ("epochs = true", "epochs = True: expected int"),
        ("epochs = 0", "epochs = 0: must be at least 1"),
        ("size = [64]", "size = [64]: expected tuple[int, int]"),
        ("size = [16, 16]", "needs 32 pixels"),
        ('amp = "none"', "amp = 'none': expected one of 'O0', 'O1', 'O2', 'bf16'"),
        ('loss_scale = "static"', "loss_scale = 'static': expected float or 'dynamic'"),
        ("loss_scale = 0", "loss_scale = 0.0: must be above 0"),
        ("loss = 3", "loss = 3: expected Loss"),
        ("[augmentation]\nflip = 2", "flip = 2.0: must be in 0..1"),
        ("epochs = ", "not TOML"),
    ],
)
def test_faults_are_named(tmp_path: Path, text: str, message: str) -> None:
    refused(tmp_path, text, message)


def test_no_such_recipe() -> None:
    with pytest.raises(UserError, match=r"pamtry: no such recipe; known are .*pamtri.*smoke"):
        load_recipe("pamtry")


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("pamtri-keypoints", {"keypoints"}),
        ("pamtri-heatmaps", {"keypoints", "heatmaps"}),
        ("pamtri-segments", {"keypoints", "segments"}),
    ],
)
def test_pose_recipes_differ_from_pamtri_in_their_inputs_alone(name: str, inputs: set[str]) -> None:
    recipe, base = load_recipe(name), load_recipe("pamtri")
    assert {key for key in ("keypoints", "heatmaps", "segments") if getattr(recipe.model, key)} == inputs
    assert dataclasses.replace(recipe, name=base.name, description=base.description, model=base.model) == base
    assert dataclasses.replace(recipe.model, keypoints=False, heatmaps=False, segments=False) == base.model


def test_a_recipe_on_a_base(tmp_path: Path) -> None:
    (tmp_path / "lower.toml").write_text('base = "pamtri"\nepochs = 5\n[loss]\ncircle = 0.5\nmargin = 0.1\n')
    upper = tmp_path / "upper.toml"
    upper.write_text('base = "lower.toml"\n[loss]\nmargin = 0.2\n')
    recipe, pamtri = load_recipe(upper, epochs=None), load_recipe("pamtri")
    assert (recipe.name, recipe.epochs) == ("upper", 5)
    assert recipe.loss == dataclasses.replace(pamtri.loss, circle=0.5, margin=0.2)
    assert recipe.optimizer == pamtri.optimizer


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('base = "pamtry"', "base = 'pamtry': pamtry: no such recipe; known are "),
        ('base = "no.toml"', "no.toml: no such recipe"),
        ("base = 3", "base = 3: expected the name of a recipe"),
        ('base = "own.toml"', "cannot be based on itself"),
        ('base = "pamtri"\nepoch = 3', "unknown key 'epoch'; did you mean epochs?"),
        ('base = "pamtri"\nloss = 3', "loss = 3: expected Loss"),
    ],
)
def test_faults_of_a_base(tmp_path: Path, text: str, message: str) -> None:
    refused(tmp_path, text, message)
