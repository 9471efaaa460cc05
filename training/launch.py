"""`python -m training.launch`: train a model by a recipe."""

import argparse
import functools
import json
import shlex
import sys
from pathlib import Path
from typing import get_args

from training.options import RECIPES, Level, add_device_arguments
from zoo.command_line import CommandParser
from zoo.errors import UserError, exit_on_user_error, extra_imports
from zoo.numbers import plain


def number_or_dynamic(text: str) -> float | str:
    return text if text == "dynamic" else float(plain(text))


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    names = ", ".join(sorted(path.stem for path in RECIPES.glob("*.toml")))
    parser = CommandParser(
        module="training.launch",
        examples=[
            "--data-root data/veri --npus 8 --amp O2 --out runs/veri",
            "--data-root data/veri --npus 8 --amp O2 --out runs/veri --resume",
        ],
        description="Train a re-identification model.",
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
    nodes = parser.add_argument_group("several machines", "start the same command on each")
    nodes.add_argument("--nnodes", type=int, default=1, metavar="M", help="number of machines [%(default)s]")
    nodes.add_argument(
        "--rdzv-endpoint", default="", metavar="HOST:PORT", help="where they meet: one of them"
    )
    nodes.add_argument(
        "--rdzv-id", default="training", help="tells runs apart that meet at one place [%(default)s]"
    )
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--amp", choices=get_args(Level), help="precision, instead of the recipe's")
    parser.add_argument(
        "--loss-scale",
        type=number_or_dynamic,
        metavar="S",
        help="a number such as 128, or `dynamic`; of O1 and O2, instead of the recipe's",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of weights, sampling and augmentation [%(default)s]"
    )
    parser.add_argument("--init", help="imagenet, none, or weights to start from; instead of the recipe's")
    parser.add_argument("--out", type=Path, help="folder of the run [a fresh runs/<recipe>-<number>]")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace the run that --out holds")
    existing.add_argument(
        "--resume",
        action="store_true",
        help="continue the run in --out, or with the recipe's newest unfinished one under runs/",
    )
    parser.add_argument(
        "--checkpoint-every",
        type=int,
        metavar="STEPS",
        help="save the state for --resume so often within an epoch [every ten minutes]; it is saved "
        "after each epoch in any case",
    )
    parser.add_argument(
        "--threads", type=int, help="CPU threads of torch [all cores, shared out to the ranks]"
    )
    parser.add_argument(
        "--profile",
        type=int,
        metavar="STEPS",
        help="trace so many steps of the first rank, operator by operator, into the run's folder profile",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON line at the end")
    return parser


with extra_imports(__name__, build_parser):
    from training.distributed.devices import choose_devices, enter_device
    from training.distributed.elastic import Nodes, RankError, run_ranks, set_threads
    from training.distributed.ranks import Ranks
    from training.run.progress import result_table
    from training.run.recipe import load_recipe
    from training.run.trainer import train


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Train; exit code 0 when the run is complete."""
    given = sys.argv[1:] if argv is None else argv
    arguments = build_parser().parse_args(given)
    _check(arguments)
    work = functools.partial(
        train,
        load_recipe(
            arguments.recipe,
            epochs=arguments.epochs,
            init=arguments.init,
            amp=arguments.amp,
            loss_scale=arguments.loss_scale,
        ),
        arguments.data_root,
        evaluate_on=arguments.evaluate_on,
        seed=arguments.seed,
        command=shlex.join(["python", "-m", "training.launch", *given]),
        out=arguments.out,
        overwrite=arguments.overwrite,
        resume=arguments.resume,
        checkpoint_every=arguments.checkpoint_every,
        profile=arguments.profile,
    )
    devices = choose_devices(arguments.gpus, arguments.npus, arguments.cpus)
    nodes = Nodes(arguments.nnodes, arguments.rdzv_endpoint, arguments.rdzv_id)
    if devices.count == nodes.count == 1:
        set_threads(arguments.threads)
        metrics = work(Ranks(device=enter_device(devices.kind)))
    else:
        try:
            metrics = run_ranks(work, devices, nodes, arguments.threads)
        except RankError as error:
            print(error, file=sys.stderr)
            return 1
    if not metrics:
        print("trained; the first machine has the run's folder", file=sys.stderr)
        return 0
    percent = "-" if metrics["mAP"] is None else f"{100 * metrics['mAP']:.2f}"
    print(f"mAP {percent} at epoch {metrics['best_epoch']}, {metrics['fps']:.1f} images/s")
    print(f"weights: {Path(metrics['run']) / 'best.safetensors'}")
    print(result_table(metrics))
    if arguments.json:
        print(json.dumps(metrics))
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if arguments.seed < 0:
        raise UserError(f"--seed {arguments.seed}: must not be negative")
    for name in ("threads", "nnodes", "checkpoint_every", "profile"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')} {value}: must be at least 1")
    if arguments.nnodes > 1 and not arguments.rdzv_endpoint:
        raise UserError(
            f"--nnodes {arguments.nnodes}: the machines need a place to meet; give each --rdzv-endpoint "
            "HOST:PORT, with one of them as HOST"
        )


if __name__ == "__main__":
    sys.exit(main())
