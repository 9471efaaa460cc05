"""`python -m training.adapt`: make a model better on your own cameras, from pictures without labels."""

import argparse
import json
import shlex
import sys
from pathlib import Path

from training.options import add_device_arguments
from zoo.command_line import CommandParser
from zoo.errors import UserError, exit_on_user_error, extra_imports

STEPS = ("statistics", "clusters", "centring", "tracks", "frames", "guard")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        module="training.adapt",
        examples=[
            "--weights lite0_osnet.real --data pictures --out runs/adapted",
            "--weights runs/veri/best.safetensors --data pictures.csv --out runs/adapted --skip frames",
        ],
        description="Adapt a model to cameras of your own from pictures of which only the camera is known, "
        "and perhaps the track and the frame. The old model is kept where the new one does not prove "
        "better (docs/adapt.md).",
    )
    parser.add_argument("--weights", required=True, help="a model of the zoo, or a .safetensors file")
    parser.add_argument(
        "--data",
        required=True,
        metavar="[NAME:]PATH",
        help="a folder for each camera, pictures whose names tell the camera, a CSV table, or a data set",
    )
    parser.add_argument("--out", required=True, type=Path, help="folder for the model and the report")
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier run left in --out")
    parser.add_argument(
        "--skip", nargs="+", choices=STEPS, default=[], metavar="STEP", help=f"leave out: {', '.join(STEPS)}"
    )
    parser.add_argument("--rounds", type=int, default=4, help="of grouping and training [%(default)s]")
    parser.add_argument("--recipe", default="adapt", help="of a round: a name or a .toml file [%(default)s]")
    parser.add_argument(
        "--max-pictures", type=int, default=5000, help="use at most so many, drawn at random [%(default)s]"
    )
    parser.add_argument("--seed", type=int, default=0, help="of sampling and augmentation [%(default)s]")
    add_device_arguments(parser)
    parser.add_argument("--threads", type=int, help="CPU threads of torch [all cores]")
    parser.add_argument("--json", action="store_true", help="print adapt.json as one line at the end")
    return parser


with extra_imports(__name__, build_parser):
    from training.adaptation.adaptation import AdaptOptions, adapt
    from training.adaptation.clustering import ClusterOptions
    from training.adaptation.output import prepare, write
    from training.distributed.devices import choose_device
    from training.distributed.elastic import set_threads
    from training.distributed.ranks import Ranks
    from training.run.recipe import load_recipe
    from zoo.registry import weights_path


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Adapt, and say which model was kept."""
    given = sys.argv[1:] if argv is None else argv
    arguments = build_parser().parse_args(given)
    for name in ("rounds", "max_pictures"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} {getattr(arguments, name)}: must be at least 1")
    if arguments.seed < 0 or (arguments.threads or 1) < 1:
        raise UserError("--seed must not be negative, --threads at least 1")
    recipe, skipped = load_recipe(arguments.recipe), set(arguments.skip)
    if recipe.teacher:
        raise UserError(
            f"--recipe {arguments.recipe}: its teacher has no place in adaptation; name one without"
        )
    options = AdaptOptions(
        recipe,
        ClusterOptions(
            centre="centring" not in skipped, tracks="tracks" not in skipped, frames="frames" not in skipped
        ),
        statistics="statistics" not in skipped,
        clusters="clusters" not in skipped,
        guard="guard" not in skipped,
        rounds=arguments.rounds,
        max_pictures=arguments.max_pictures,
        seed=arguments.seed,
    )
    prepare(arguments.out, weights_path(arguments.weights), arguments.overwrite)
    set_threads(arguments.threads)
    ranks = Ranks(device=choose_device(arguments.gpus, arguments.npus, arguments.cpus))
    result = adapt(arguments.weights, arguments.data, options, ranks)
    command = shlex.join(["python", "-m", "training.adapt", *given])
    content = write(arguments.out, result, arguments.data, command, ranks.device)
    print(f"kept: the {content['kept']} model ({content['reason']})")
    print(f"weights: {arguments.out / 'best.safetensors'}; report: {arguments.out / 'report.md'}")
    if content["kept"] == "new":
        weights = arguments.out / "best.safetensors"
        calibration = f"python -m training.calibrate --sameness --data-root DATA --weights {weights}"
        print(f"searches show no percentages until `{calibration}` has calibrated it")
    if arguments.json:
        print(json.dumps(content))
    return 0


if __name__ == "__main__":
    sys.exit(main())
