"""`python -m benchmarks.zoo_training`: every architecture trained on the same pictures, as many of each.

The benchmark's pictures are drawn first where --data has none. Each run is an ordinary one of
`training.launch`, so that an interrupted study continues where it stopped: a finished run is not
repeated, one that was begun is resumed. With --write, the figures go into the cards in zoo/measured;
`python -m zoo table --write README.md` then puts them into the README.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from training.launch import main as launch
from training.synthesize.__main__ import main as synthesize
from zoo.card import Card
from zoo.errors import UserError, exit_on_user_error
from zoo.files import write_text
from zoo.registry import MEASURED

RECIPES = {
    "osnet_ain.equal": "small",
    "densenet121.equal": "synthetic",
    "densenet121.strong-equal": "densenet-strong",
    "resnet50_ibn.equal": "resnet50-ibn",
}
"""Card in zoo/measured -> recipe that names the model; all train by `BUDGET`."""

BUDGET = """
size = [96, 96]
epochs = 6
progressive = [[3, 64]]
eval_every = 6
ema_decay = 0.99

[loss]
triplet_start = 2
"""
"""What stands over the recipe: 6 passes over 12,000 pictures take minutes, not hours, on a CPU."""

DATA = ("--train-ids", "1000", "--test-ids", "100", "--images-per-id", "12")
FIGURES = ("mAP", "rank1", "rank5", "color_accuracy", "type_accuracy", "num_queries", "num_gallery")


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.zoo_training",
        description="Train every architecture for the same number of images, and compare.",
    )
    parser.add_argument("--data", type=Path, default=Path("data/synthetic"), help="[%(default)s]")
    parser.add_argument("--out", type=Path, default=Path("runs/zoo"), help="folder of the runs [%(default)s]")
    parser.add_argument("--epochs", type=int, default=None, help="of each [6]")
    parser.add_argument("--seed", type=int, default=0, help="[0]")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads of torch [all cores]")
    parser.add_argument(
        "--only", nargs="+", choices=RECIPES, default=list(RECIPES), metavar="MODEL", help="[all]"
    )
    parser.add_argument("--write", action="store_true", help="put the figures into the cards in zoo/measured")
    parser.add_argument("--json", action="store_true", help="end with one JSON object on one line")
    return parser.parse_args(argv)


def train(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train one model, continue its run, or take what a finished run measured."""
    out = arguments.out / name
    metrics = out / "metrics.json"
    if not metrics.is_file():
        # The file's name is the tag of the model's name.
        recipe = arguments.out / "recipes" / RECIPES[name] / "equal.toml"
        recipe.parent.mkdir(parents=True, exist_ok=True)
        write_text(recipe, f'base = "{RECIPES[name]}"\n{BUDGET}')
        argv = ["--data-root", str(arguments.data), "--recipe", str(recipe), "--out", str(out)]
        argv += ["--seed", str(arguments.seed), "--cpus", "1"]
        for option in ("epochs", "threads"):
            if (value := getattr(arguments, option)) is not None:
                argv += [f"--{option}", str(value)]
        if out.is_dir() and any(out.iterdir()):
            argv.append("--resume")
        if launch(argv) != 0:
            raise UserError(f"{name}: could not be trained; see above")
    found: dict[str, Any] = json.loads(metrics.read_text(encoding="utf-8"))
    if arguments.epochs not in (None, found["epochs"]):
        raise UserError(f"{out}: a run of {found['epochs']} epochs; choose another --out")
    return found


def write_card(name: str, found: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Put a run's figures into the model's card."""
    path = MEASURED / f"{name}.json"
    recipe = RECIPES[name]
    described = arguments.data / "dataset.json"
    parameters = (
        json.loads(described.read_text(encoding="utf-8"))["parameters"] if described.is_file() else {}
    )
    entry = {
        "dataset": found["dataset"],
        **parameters,
        "device": found["device"],
        "budget": f"{found['epochs']} epochs at 64 and 96 pixels, seed {arguments.seed}",
        **{key: found[key] for key in FIGURES if key in found},
    }
    command = f"python -m benchmarks.zoo_training --only {name}"
    size = Card.read(arguments.out / name / "best.json").input_size
    Card.read(path).replace(input_size=size, metrics=[entry], recipe=recipe, command=command).write(path)


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Train what is not trained yet, and print the table."""
    arguments = parse_arguments(argv)
    drawn = (arguments.data / "label_train.csv").is_file()
    if not drawn and synthesize(["--out", str(arguments.data), *DATA]) != 0:
        raise UserError(f"{arguments.data}: the pictures could not be drawn; see above")
    results = {}
    for name in arguments.only:
        results[name] = train(name, arguments)
        # Whole after each model, so that a study that is interrupted has told what it knew.
        write_text(arguments.out / "results.json", json.dumps(results, indent=2) + "\n")
        if arguments.write:
            write_card(name, results[name], arguments)
    print(f"{'model':<28} {'epochs':>6} {'minutes':>7} {'images/s':>8}    mAP Rank-1 colour   type")
    for name, found in results.items():
        print(
            f"{name:<28} {found['epochs']:>6} {found['seconds'] / 60:>7.1f} {found['fps']:>8.1f} "
            f"{found['mAP']:>6.2%} {found['rank1']:>6.2%} {found['color_accuracy']:>6.2%} "
            f"{found['type_accuracy']:>6.2%}"
        )
    if arguments.json:
        print(json.dumps(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
