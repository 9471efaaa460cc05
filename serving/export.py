"""Export a model as a bundle: `python -m serving.export --weights W --out build/bundle`."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from serving.bundle import PRECISIONS, check_replaceable
from serving.conversion.int8_images import NUM_IMAGES, read_calibration
from zoo.card import Card
from zoo.command_line import CommandParser
from zoo.errors import UserError, exit_on_user_error, extra_imports


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        module="serving.export",
        examples=[
            "--weights runs/veri/best.safetensors --out build/veri",
            "--weights osnet_ain.synthetic --precision int8 --data-root data/synthetic --out build/small",
        ],
        description=__doc__,
    )
    parser.add_argument(
        "--weights",
        default="densenet121.synthetic",
        help="name of a zoo model, or path of a .safetensors file (default: %(default)s)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("build/bundle"), help="folder of the bundle (default: %(default)s)"
    )
    parser.add_argument(
        "--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="of the input (default: the card's)"
    )
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="default: %(default)s")
    parser.add_argument(
        "--calibration",
        metavar="[NAME:]PATH",
        help="for int8: a data set (its training images), a folder of images, or an .npz file of inputs "
        "(default: --data-root)",
    )
    parser.add_argument(
        "--calibration-images", type=int, default=NUM_IMAGES, metavar="N", help="default: %(default)s"
    )
    parser.add_argument(
        "--data-root",
        metavar="[NAME:]PATH",
        help="a data set to measure the loss of fp16 or int8 on (docs/datasets.md)",
    )
    parser.add_argument(
        "--max-map-drop",
        type=float,
        default=0.5,
        metavar="POINTS",
        help="write nothing when mAP on --data-root falls by more (default: %(default)s)",
    )
    parser.add_argument(
        "--graph",
        action="store_true",
        help="write no bundle, but beside the weights a graph that reads them there, as shipped models have",
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line")
    return parser


with extra_imports(__name__, build_parser):
    from serving.conversion.bundling import Reduction, export_bundle
    from serving.conversion.shipped_graph import write_shipped_graph
    from zoo.registry import load_model, weights_path


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        UserError: options that do not go together.
    """
    arguments = build_parser().parse_args(argv)
    if arguments.calibration_images < 1 or min(arguments.size or [32]) < 32:
        raise UserError("--calibration-images must be at least 1, both numbers of --size at least 32")
    if arguments.precision == "fp32" and (arguments.calibration or arguments.data_root):
        raise UserError("--calibration and --data-root are for --precision fp16 and int8: nothing is lost")
    if arguments.graph and (arguments.size or arguments.precision != "fp32"):
        raise UserError("--graph is of the weights as they are; leave out --size and --precision")
    return arguments


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    arguments = parse_arguments(argv)
    model: Any
    if arguments.graph:
        return _write_graph(arguments)
    check_replaceable(arguments.out)
    model, card = load_model(arguments.weights)
    if arguments.size:
        size = tuple(arguments.size)
        # What was measured at another size does not hold here.
        card = card.replace(input_size=size, pose_inputs=model.pose_inputs(size), metrics=[])
    bundle = export_bundle(model, card, arguments.out, reduction=_reduction(arguments, card))
    report = json.loads((bundle.path / "parity.json").read_text(encoding="utf-8"))
    worst = max(check["relative"] for check in report["checks"])
    height, width = card.input_size
    print(
        f"{bundle.path}: {card.name}, {height}x{width}, {bundle.precision}; torch and onnxruntime differ by "
        f"at most {worst:.1e} in fp32"
    )
    if "agreement" in report:
        cosine = min(check["least_cosine"] for check in report["agreement"])
        print(f"{bundle.precision} and fp32: cosine between embeddings at least {cosine:.4f}")
        print(_loss_table(report))
    if arguments.json:
        result = {"bundle": str(bundle.path), "name": card.name, "model_hash": bundle.model_hash}
        result |= {key: report[key] for key in ("precision", "agreement", "loss") if key in report}
        print(json.dumps({**result, "parity": worst}))
    return 0


def _write_graph(arguments: argparse.Namespace) -> int:
    model, card = load_model(arguments.weights)
    weights = weights_path(arguments.weights)
    report = write_shipped_graph(model, card, weights)
    graph = weights.with_suffix(".onnx")
    worst = max(check["relative"] for check in report["checks"])
    print(f"{graph}: {card.name}; torch and onnxruntime differ by at most {worst:.1e}")
    if arguments.json:
        print(json.dumps({"graph": str(graph), "name": card.name, "parity": worst}))
    return 0


def _reduction(arguments: argparse.Namespace, card: Card) -> Reduction | None:
    if arguments.precision == "fp32":
        return None
    source = arguments.calibration
    if source is None and arguments.precision == "int8":
        source = arguments.data_root
    inputs = None if source is None else read_calibration(source, card, arguments.calibration_images)
    return Reduction(arguments.precision, inputs, arguments.data_root, arguments.max_map_drop)


def _loss_table(report: dict[str, Any]) -> str:
    """What the precision costs, for a person to read, in percent."""
    if "loss" not in report:
        return "its loss in mAP was not measured; name a data set with --data-root"
    names = {"mAP": "mAP", "rank1": "Rank-1", "color_accuracy": "colour", "type_accuracy": "type"}
    lines = [" " * 6 + "".join(f"{title:>9}" for title in names.values())]
    for precision in ("fp32", report["precision"]):
        figures = report["loss"][precision]
        cells = ["-" if figures[key] is None else f"{100 * figures[key]:.2f}" for key in names]
        lines.append(f"{precision:<6}" + "".join(f"{cell:>9}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
