"""`python -m training.launch`: train a model by a recipe."""

import argparse
import json
import os
import shlex
import sys
from pathlib import Path

from zoo.errors import UserError, exit_on_user_error, extra_imports

with extra_imports(__name__):
    import torch

    from training.devices import add_device_arguments, choose_device
    from training.recipe import RECIPES, load_recipe
    from training.run_folder import RunFolder
    from training.trainer import Trainer


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    names = ", ".join(sorted(path.stem for path in RECIPES.glob("*.toml")))
    parser = argparse.ArgumentParser(
        prog="python -m training.launch", description="Train a re-identification model."
    )
    parser.add_argument(
        "--data-root",
        required=True,
        action="append",
        metavar="[NAME:]PATH",
        help="a data set (docs/datasets.md); given several times, they are joined for training",
    )
    parser.add_argument(
        "--evaluate-on", metavar="[NAME:]PATH", help="the data set to evaluate on [the first --data-root]"
    )
    parser.add_argument(
        "--recipe", default="pamtri", help=f"{names}, or the path of a .toml file [%(default)s]"
    )
    add_device_arguments(parser)
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument(
        "--seed", type=int, default=0, help="of weights, sampling and augmentation [%(default)s]"
    )
    parser.add_argument("--init", help="imagenet, none, or weights to start from; instead of the recipe's")
    parser.add_argument("--out", type=Path, help="folder of the run [a fresh runs/<recipe>-<number>]")
    parser.add_argument("--overwrite", action="store_true", help="replace the run that --out holds")
    parser.add_argument("--threads", type=int, help="CPU threads of torch [all cores]")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON line at the end")
    return parser.parse_args(argv)


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Train; exit code 0 when the run is complete."""
    arguments = parse_arguments(argv)
    if arguments.seed < 0:
        raise UserError(f"--seed {arguments.seed}: must not be negative")
    if arguments.threads is not None:
        if arguments.threads < 1:
            raise UserError(f"--threads {arguments.threads}: must be at least 1")
        torch.set_num_threads(arguments.threads)
    recipe = load_recipe(arguments.recipe, epochs=arguments.epochs, init=arguments.init)
    device = choose_device(arguments.gpus, arguments.npus, arguments.cpus)
    command = shlex.join(["python", "-m", "training.launch", *(sys.argv[1:] if argv is None else argv)])
    trainer = Trainer(
        recipe, arguments.data_root, device, arguments.seed, command, evaluate_on=arguments.evaluate_on
    )
    # Made last, so that a run that cannot start leaves no folder behind.
    folder = RunFolder.create(arguments.out, recipe.name, arguments.overwrite)
    print(
        f"{recipe.name}: {len(trainer.train)} images of {len(trainer.labels)} vehicles, "
        f"{len(trainer.sampler)} batches of {trainer.sampler.batch_size} an epoch, on {device}; run "
        f"{folder.path}",
        file=sys.stderr,
    )
    metrics = trainer.run(folder)
    percent = "-" if metrics["mAP"] is None else f"{100 * metrics['mAP']:.2f}"
    print(f"mAP {percent} at epoch {metrics['best_epoch']}, {metrics['fps']:.1f} images/s")
    print(f"weights: {folder.path / 'best.safetensors'}")
    if arguments.json:
        print(json.dumps({"run": os.fspath(folder.path), **metrics}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
