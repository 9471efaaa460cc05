"""`python -m training.release`: make a run's weights fit to be shipped, and measure them as shipped."""

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
            "--data-root data/veri --licence Apache-2.0 --out build/zoo"
        ],
        description="Write weights in half precision without the identity classifier, and a card that holds "
        "what the written file measured.",
    )
    parser.add_argument("--weights", required=True, help="a run's best.safetensors")
    parser.add_argument("--name", required=True, help="arch.tag, e.g. densenet121.synthetic")
    parser.add_argument("--out", required=True, type=Path, help="folder for NAME.safetensors and NAME.json")
    parser.add_argument(
        "--data-root",
        required=True,
        type=Path,
        action="append",
        help="measure on this data set; may be repeated",
    )
    parser.add_argument("--licence", required=True, help="of the weights: an SPDX identifier, or a sentence")
    parser.add_argument("--source", default="", help="where the weights come from")
    parser.add_argument("--notes", default="", help="what the model is good for, and what it is not")
    parser.add_argument("--threads", type=int, help="CPU threads of torch [all cores]")
    parser.add_argument("--json", action="store_true", help="print the card as one JSON line at the end")
    return parser


with extra_imports(__name__, build_parser):
    import torch

    from training.datasets import read_split
    from training.distributed.devices import choose_device, device_name
    from training.evaluation.protocol import evaluate_weights
    from zoo.registry import load_model
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
    if "." not in arguments.name:
        raise UserError(f"{arguments.name}: a model's name is arch.tag, e.g. densenet121.synthetic")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    card = release(
        arguments.weights,
        arguments.out,
        arguments.data_root,
        name=arguments.name,
        licence=arguments.licence,
        source=arguments.source,
        notes=arguments.notes,
    )
    for entry in card.metrics:
        print(f"{entry['dataset']}: mAP {entry['mAP']:.2%}, Rank-1 {entry['rank1']:.2%}")
    if arguments.json:
        print(card.to_json().replace("\n", " "))
    return 0


if __name__ == "__main__":
    sys.exit(main())
