"""`python -m training.release`: make a run's weights fit to be shipped, and measure them as shipped.

With --device, the shipped models are trained first: whoever has a card can refresh them.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from zoo.card import Card
from zoo.command_line import CommandParser
from zoo.errors import UserError, exit_on_user_error, extra_imports


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        module="training.release",
        examples=[
            "--weights runs/veri/best.safetensors --name densenet121.veri "
            "--data-root data/veri --licence Apache-2.0 --out build/zoo",
            "--device cuda --out build/zoo",
        ],
        description="Write weights in half precision without the identity classifier, and a card that holds "
        "what the written file measured.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--weights", help="a run's best.safetensors")
    what.add_argument(
        "--device", choices=("cuda", "npu", "cpu"), help="draw pictures, and train the shipped models on this"
    )
    parser.add_argument(
        "--name", help="arch.tag, e.g. densenet121.synthetic; with --device one of the models"
    )
    parser.add_argument("--out", required=True, type=Path, help="folder for NAME.safetensors and NAME.json")
    parser.add_argument(
        "--data-root",
        type=Path,
        action="append",
        help="measure on this data set; may be repeated",
    )
    parser.add_argument("--licence", help="of the weights: an SPDX identifier, or a sentence")
    parser.add_argument("--source", default="", help="where the weights come from")
    parser.add_argument("--notes", default="", help="what the model is good for, and what it is not")
    train = parser.add_argument_group("with --device")
    train.add_argument("--minutes", type=float, default=8.0, help="of all [%(default)s]")
    train.add_argument("--train-ids", type=int, default=1500, help="vehicles to draw [%(default)s]")
    train.add_argument("--images-per-id", type=int, default=16, help="pictures of each [%(default)s]")
    train.add_argument("--size", type=int, default=256, help="of pictures and networks [%(default)s]")
    parser.add_argument("--threads", type=int, help="CPU threads of torch [all cores]")
    parser.add_argument("--json", action="store_true", help="print the card as one JSON line at the end")
    return parser


with extra_imports(__name__, build_parser):
    import torch

    from training.datasets import read_split
    from training.distributed.devices import KINDS, choose_device, choose_devices, device_name, enter_device
    from training.evaluation.protocol import evaluate_weights
    from training.refreshed import RECIPES, Pictures, calibrated, refresh
    from zoo.loading import load_model, read_card
    from zoo.weights import save_weights


def describe(data_root: Path) -> dict[str, Any]:
    """Name a data set: its folder, and how it was generated where it says so."""
    made = data_root / "dataset.json"
    if not made.is_file():
        return {"dataset": data_root.resolve().name}
    content = json.loads(made.read_text(encoding="utf-8"))
    return {"dataset": data_root.resolve().name, "generator": content["version"], **content["parameters"]}


def measure(weights: Path, data_root: Path) -> dict[str, Any]:
    """Evaluate a weights file on a data set's queries and gallery."""
    device = choose_device()
    query, gallery = (read_split(data_root, split) for split in ("query", "test"))
    figures = evaluate_weights(weights, query, gallery, device).figures()
    return {**describe(data_root), "device": device_name(device), **figures}


def release(weights: str, out: Path, data_roots: list[Path], **fields: Any) -> Card:
    """Write the weights and their card into `out`.

    Args:
        weights: a run's weights.
        out: the folder.
        data_roots: data sets to measure on, the first one first in the card.
        fields: the card's, `name` among them.

    Raises:
        UserError: weights or data cannot be read, or the folder not written to.
    """
    model, card = load_model(weights)
    card = card.replace(**fields, metrics=[], options={**card.options, "num_ids": 0})
    with tempfile.TemporaryDirectory() as folder:
        # What is measured is the rounded file that users get, not the weights that it was made from.
        trial = Path(folder) / f"{card.name}.safetensors"
        save_weights(model, card, trial, "float16")
        measured = [measure(trial, data_root) for data_root in data_roots]
    return save_weights(model, card.replace(metrics=measured), out / trial.name, "float16")


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Release, and print what was measured."""
    arguments = build_parser().parse_args(argv)
    _check(arguments)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    cards = _retrained(arguments) if arguments.device else [_released(arguments)]
    for card in cards:
        for entry in card.metrics:
            told = f"mAP {entry['mAP']:.2%}, Rank-1 {entry['rank1']:.2%}"
            print(f"{card.name} on {entry['dataset']}: {told}")
        if arguments.json:
            print(card.to_json().replace("\n", " "))
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if arguments.name is not None and "." not in arguments.name:
        raise UserError(f"{arguments.name}: a model's name is arch.tag, e.g. densenet121.synthetic")
    if arguments.weights:
        missing = [name for name in ("name", "data_root", "licence") if getattr(arguments, name) is None]
        if missing:
            shown = ", ".join(f"--{name.replace('_', '-')}" for name in missing)
            raise UserError(f"--weights {arguments.weights}: give {shown} too")
        return
    if arguments.name is not None and arguments.name not in RECIPES:
        raise UserError(f"--device: {arguments.name} is not trained anew; give {' or '.join(RECIPES)}")
    if arguments.data_root:
        raise UserError(
            "--device: the pictures are drawn; leave --data-root out, or train with training.launch"
        )
    if (
        arguments.minutes <= 0
        or arguments.train_ids < 32
        or arguments.size < 64
        or arguments.images_per_id < 4
    ):
        raise UserError("--minutes must be above 0, --train-ids at least 32, --images-per-id 4, --size 64")


def _released(arguments: argparse.Namespace) -> Card:
    return release(
        arguments.weights,
        arguments.out,
        arguments.data_root,
        name=arguments.name,
        licence=arguments.licence,
        source=arguments.source,
        notes=arguments.notes,
    )


def _retrained(arguments: argparse.Namespace) -> list[Card]:
    """Train the shipped models on drawn pictures, and release each."""
    option = {"cuda": "gpus", "npu": "npus", "cpu": "cpus"}[arguments.device]
    choose_devices(**{option: 1})
    device = enter_device(KINDS[arguments.device])
    names = [arguments.name] if arguments.name else list(RECIPES)
    pictures = Pictures(arguments.train_ids, arguments.images_per_id, arguments.size)
    trained = refresh(names, pictures, device, arguments.minutes, arguments.out)
    cards = []
    for name, made in trained.items():
        release(
            str(made.weights),
            arguments.out,
            [made.data],
            name=name,
            licence=arguments.licence or "Apache-2.0",
            source=arguments.source or "this project; pictures of training.synthesize",
            notes=arguments.notes or "Trained from random weights on synthetic vehicles alone.",
        )
        written = arguments.out / f"{name}.safetensors"
        # Of the rounded weights, because another file's calibration does not count.
        calibrated(written, made.calibration, device, "--sameness")
        cards.append(read_card(written))
    return cards


if __name__ == "__main__":
    sys.exit(main())
