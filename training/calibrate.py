"""`python -m training.calibrate`: make a model's probabilities true, and store what that takes in the card.

Temperatures for those of colour and type; with --sameness, the sameness calibration of `zoo.sameness`.
"""

import argparse
import json
import sys
from dataclasses import replace
from typing import Any

from training.options import add_data_root, add_device_arguments
from zoo.command_line import CommandParser
from zoo.errors import UserError, exit_on_user_error, extra_imports


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        module="training.calibrate",
        examples=[
            "--data-root data/veri --weights runs/veri/best.safetensors",
            "--sameness --data-root data/unseen --weights runs/veri/best.safetensors",
        ],
        description="Fit one temperature each for colour and type by the likelihood of the labels, or with "
        "--sameness what tells how likely a search result is the query's vehicle, and write it into the card "
        "beside the weights, which stay as they are.",
    )
    add_data_root(parser)
    parser.add_argument(
        "--weights", required=True, help="a .safetensors file, or the name of a model of the zoo"
    )
    parser.add_argument(
        "--sameness",
        action="store_true",
        help="calibrate searches instead, on vehicles of query and test that training has not seen",
    )
    parser.add_argument(
        "--split",
        choices=("train", "query", "test"),
        help="fit on these; query and test only of a data set that no figure is told for [train, and with "
        "--sameness query and test]",
    )
    parser.add_argument("--images", type=int, default=4000, help="use at most so many [%(default)s]")
    parser.add_argument("--dry-run", action="store_true", help="print, and leave the card as it is")
    add_device_arguments(parser)
    parser.add_argument("--batch-size", type=int, default=64, help="images at a time [%(default)s]")
    parser.add_argument("--workers", type=int, default=0, help="processes that load images [%(default)s]")
    parser.add_argument("--threads", type=int, help="CPU threads of torch [all cores]")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON line at the end")
    return parser


with extra_imports(__name__, build_parser):
    import numpy as np
    import torch

    from training.datasets import Split, dataset_name, read_split, read_training
    from training.distributed.devices import choose_device
    from training.evaluation.attributes import AttributeQuality
    from training.evaluation.looks import fit_looks
    from training.evaluation.sameness import calibrate_sameness
    from training.evaluation.temperature_scaling import (
        Fit,
        calibrated,
        extract_uncalibrated,
        fit_attributes,
        soften,
        spread_sample,
    )
    from training.evaluation.trials import MOST_ASKING, Pictures, spread_over_vehicles
    from zoo.inference import InferenceModel
    from zoo.loading import load_model
    from zoo.registry import weights_path


def table(fits: dict[str, Fit]) -> str:
    """The fits for a person to read."""

    def cells(quality: AttributeQuality) -> str:
        assert quality.reliability is not None
        return f"{100 * quality.reliability.expected_error:>8.2f}{quality.likelihood:>8.3f}"

    lines = [f"{'':<8}{'T':>8}{'ECE, %':>8}{'NLL':>8}{'fitted':>8}{'NLL':>8}"]
    for name, fit in fits.items():
        title = "colour" if name == "color" else name
        lines.append(f"{title:<8}{fit.temperature:>8.3f}{cells(fit.before)}{cells(fit.after)}")
    return "\n".join(lines)


def figures(fits: dict[str, Fit]) -> dict[str, Any]:
    """The fits by name."""
    return {
        name: {
            "temperature": fit.temperature,
            "num_images": fit.before.num_images,
            **{
                f"{figure}_{when}": quality.figures()[figure]
                for when, quality in (("before", fit.before), ("after", fit.after))
                for figure in ("ece", "nll")
            },
        }
        for name, fit in fits.items()
    }


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Fit, print, and write the card."""
    arguments = build_parser().parse_args(argv)
    if min(arguments.batch_size, arguments.images, arguments.threads or 1) < 1 or arguments.workers < 0:
        raise UserError("--batch-size, --images and --threads must be at least 1, --workers at least 0")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.sameness:
        return _calibrate_sameness(arguments)
    root: str = arguments.data_root
    split: Split = arguments.split or "train"
    # Without the vehicles that are set aside to evaluate on, as in training.
    labelled = read_training([root], root) if split == "train" else read_split(root, split)
    records = spread_sample(labelled, arguments.images)
    model, card = load_model(arguments.weights)
    device = choose_device(arguments.gpus, arguments.npus, arguments.cpus)
    deployed = InferenceModel(model, card).to(device)
    found = extract_uncalibrated(deployed, card, records, arguments.batch_size, arguments.workers)
    fits = fit_attributes(card, found, records)
    print(table(fits))
    path = weights_path(arguments.weights).with_suffix(".json")
    if not arguments.dry_run:
        calibrated(card, fits).write(path)
        print(f"{path}: written")
    if arguments.json:
        data = {"dataset": dataset_name(arguments.data_root), "split": split}
        print(json.dumps({**data, **figures(fits)}))
    return 0


def _calibrate_sameness(arguments: argparse.Namespace) -> int:
    """Fit on all vehicles, after fits on four fifths of them were held to the last."""
    parts: list[Split] = [arguments.split] if arguments.split else ["query", "test"]
    records = [each for part in parts for each in read_split(arguments.data_root, part)]
    records = spread_sample(records, arguments.images)
    model, card = load_model(arguments.weights)
    device = choose_device(arguments.gpus, arguments.npus, arguments.cpus)
    deployed = InferenceModel(model, card).to(device)
    found = extract_uncalibrated(deployed, card, records, arguments.batch_size, arguments.workers)
    sameness, measured = calibrate_sameness(found.embedding, records, card)
    vehicles, cameras = (
        np.array([getattr(record, name) for record in records]) for name in ("vehicle_id", "camera_id")
    )
    asking = spread_over_vehicles(vehicles, MOST_ASKING, np.random.default_rng(0))
    pictures = Pictures.of(found.embedding, vehicles, cameras, card.metric, asking)
    probs = [
        np.zeros((len(records), 0)) if told is None else soften(told, card.temperature[name])
        for name, told in (("color", found.color_probs), ("type", found.type_probs))
    ]
    sameness = replace(sameness, looks=fit_looks(pictures, probs[0], probs[1]))
    for name, value in measured.items():
        print(f"{name:<18}{value:>8}" if isinstance(value, int) else f"{name:<18}{value:>8.4f}")
    path = weights_path(arguments.weights).with_suffix(".json")
    dataset = dataset_name(arguments.data_root)
    if not arguments.dry_run:
        kept = replace(sameness, measured={"dataset": dataset, **measured})
        card.replace(sameness=kept.as_json()).write(path)
        print(f"{path}: written")
    if arguments.json:
        print(json.dumps({"dataset": dataset, **measured}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
