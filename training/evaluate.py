"""`python -m training.evaluate`: a model's figures by VeRi's protocol, or those of rankings from a file."""

import argparse
import json
import sys
from pathlib import Path

from zoo.errors import UserError, exit_on_user_error, extra_imports

with extra_imports(__name__):
    import torch

    from training.datasets import read_split
    from training.devices import add_device_arguments, choose_device
    from training.evaluation import evaluate_weights
    from training.rankings import evaluate_rankings


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate",
        description="Measure mAP, Rank-1, Rank-5, colour and type accuracy on queries and gallery.",
    )
    parser.add_argument(
        "--data-root", required=True, metavar="[NAME:]PATH", help="a data set (docs/datasets.md)"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--weights", help="a .safetensors file, or the name of a model of the zoo")
    what.add_argument("--rankings", type=Path, help="rankings that another system made, as JSON lines")
    add_device_arguments(parser)
    parser.add_argument("--batch-size", type=int, default=64, help="images at a time [%(default)s]")
    parser.add_argument("--workers", type=int, default=0, help="processes that load images [%(default)s]")
    parser.add_argument("--threads", type=int, help="CPU threads of torch [all cores]")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON line at the end")
    return parser.parse_args(argv)


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Evaluate and print the table."""
    arguments = parse_arguments(argv)
    if arguments.batch_size < 1 or arguments.workers < 0 or (arguments.threads or 1) < 1:
        raise UserError("--batch-size and --threads must be at least 1, --workers at least 0")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    query, gallery = read_split(arguments.data_root, "query"), read_split(arguments.data_root, "test")
    if arguments.rankings is not None:
        evaluation = evaluate_rankings(arguments.rankings, query, gallery)
        title = arguments.rankings.name
    else:
        device = choose_device(arguments.gpus, arguments.npus, arguments.cpus)
        evaluation = evaluate_weights(
            arguments.weights, query, gallery, device, arguments.batch_size, arguments.workers
        )
        title = (
            Path(arguments.weights).stem if arguments.weights.endswith(".safetensors") else arguments.weights
        )
    print(evaluation.table(title))
    if arguments.json:
        print(json.dumps(evaluation.figures()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
