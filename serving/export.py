"""Export a model as a bundle: `python -m serving.export --weights W --out build/bundle`."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from serving.bundle import PRECISIONS, Bundle, check_replaceable
from serving.conversion.foreign_options import add_foreign_options, card_fields, read_foreign_options
from serving.conversion.int8_images import NUM_IMAGES, read_calibration
from serving.conversion.pixel_format import PixelFormat
from zoo.card import Card
from zoo.command_line import CommandParser
from zoo.errors import UserError, exit_on_user_error, extra_imports

DEFAULT_WEIGHTS = "densenet121.synthetic"


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        module="serving.export",
        examples=[
            "--weights runs/veri/best.safetensors --out build/veri",
            "--weights osnet_ain.synthetic --precision int8 --data-root data/synthetic --out build/small",
            "--onnx reid.onnx --size 256 256 --order RGB --mean 0.485 0.456 0.406 --std 0.229 0.224 0.225 "
            "--out build/theirs",
            "--weights osnet_ain.synthetic --for tracker --out build/osnet_ain_x1_0_veri.onnx --size 256 256",
        ],
        description=__doc__,
    )
    parser.add_argument(
        "--weights",
        help=f"name of a zoo model, or path of a .safetensors file (default: {DEFAULT_WEIGHTS})",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="folder of the bundle (default: build/bundle), or the .onnx file for a tracker",
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
    parser.add_argument(
        "--for",
        dest="purpose",
        choices=("server", "tracker"),
        default="server",
        help="tracker: one ONNX file, float images [N, 3, H, W] in, the embedding out (default: %(default)s)",
    )
    parser.add_argument(
        "--batch", type=int, metavar="N", help="for a tracker: write N into the file (default: any N)"
    )
    add_foreign_options(parser)
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line")
    return parser


with extra_imports(__name__, build_parser):
    from serving.conversion.borrowed_attributes import BorrowedAttributes
    from serving.conversion.bundling import Reduction, export_bundle
    from serving.conversion.foreign_bundle import UNKNOWN_LICENCE, card_of, export_foreign
    from serving.conversion.foreign_network import read_network
    from serving.conversion.shipped_graph import write_shipped_graph
    from serving.conversion.tracker import export_tracker
    from zoo.loading import load_model
    from zoo.registry import weights_path


def parse_arguments(argv: list[str] | None) -> tuple[argparse.Namespace, PixelFormat | None]:
    """Read the command line; and how somebody else's network wants its pixels, where one is named.

    Raises:
        UserError: options that do not go together.
    """
    arguments = build_parser().parse_args(argv)
    if arguments.calibration_images < 1 or min(arguments.size or [32]) < 32:
        raise UserError("--calibration-images must be at least 1, both numbers of --size at least 32")
    if arguments.precision == "fp32" and (arguments.calibration or arguments.data_root):
        raise UserError("--calibration and --data-root are for --precision fp16 and int8: nothing is lost")
    if arguments.graph and (arguments.size or arguments.precision != "fp32" or arguments.out):
        raise UserError("--graph is of the weights as they are; leave out --size, --precision and --out")
    pixels = read_foreign_options(arguments)
    is_tracker = arguments.purpose == "tracker"
    if is_tracker and (arguments.graph or arguments.precision != "fp32"):
        raise UserError("--for tracker writes fp32 with its weights; leave out --graph and --precision")
    if is_tracker and (arguments.out is None or arguments.out.suffix != ".onnx"):
        raise UserError("--for tracker writes one file: give --out a name that ends in .onnx")
    if arguments.batch is not None and (not is_tracker or arguments.batch < 1):
        raise UserError("--batch is for --for tracker, and at least 1; a bundle takes any batch")
    arguments.weights = arguments.weights or DEFAULT_WEIGHTS
    arguments.out = arguments.out or Path("build/bundle")
    return arguments, pixels


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    arguments, pixels = parse_arguments(argv)
    if arguments.graph:
        return _write_graph(arguments)
    if arguments.purpose == "tracker":
        return _write_tracker(arguments)
    check_replaceable(arguments.out)
    if pixels is not None:
        reference = "the file as it came"
        bundle = _wrap(arguments, pixels)
    else:
        reference = "torch"
        model, card = _sized_model(arguments)
        bundle = export_bundle(model, card, arguments.out, reduction=_reduction(arguments, card))
    _tell(bundle, reference, arguments.json)
    return 0


def _wrap(arguments: argparse.Namespace, pixels: PixelFormat) -> Bundle:
    """Make a bundle of somebody else's network."""
    network = read_network(arguments.onnx, tuple(arguments.size) if arguments.size else None)
    card, attributes = card_of(network, pixels, **card_fields(arguments, UNKNOWN_LICENCE)), None
    if arguments.attributes_from:
        attributes = BorrowedAttributes(*load_model(arguments.attributes_from), card)
        card = attributes.card
    return export_foreign(network, pixels, card, arguments.out, attributes, _reduction(arguments, card))


def _sized_model(arguments: argparse.Namespace) -> tuple[Any, Card]:
    model: Any
    model, card = load_model(arguments.weights)
    if not arguments.size:
        return model, card
    size = tuple(arguments.size)
    # What was measured at another size does not hold here.
    return model, card.replace(input_size=size, pose_inputs=model.pose_inputs(size), metrics=[])


def _tell(bundle: Bundle, reference: str, as_json: bool) -> None:
    """Say what was written, and how near it is to what it was made of."""
    report = json.loads((bundle.path / "parity.json").read_text(encoding="utf-8"))
    worst = max(check["relative"] for check in report["checks"])
    card = bundle.card
    height, width = card.input_size
    print(
        f"{bundle.path}: {card.name}, {height}x{width}, {bundle.precision}; {reference} and onnxruntime "
        f"differ by at most {worst:.1e}{'' if reference != 'torch' else ' in fp32'}"
    )
    if report.get("one_by_one"):
        print("its batch is written into its shapes, so the graph takes images one by one: slower")
    if "agreement" in report:
        cosine = min(check["least_cosine"] for check in report["agreement"])
        print(f"{bundle.precision} and fp32: cosine between embeddings at least {cosine:.4f}")
        print(_loss_table(report))
    if as_json:
        result = {"bundle": str(bundle.path), "name": card.name, "model_hash": bundle.model_hash}
        result |= {key: report[key] for key in ("precision", "agreement", "loss") if key in report}
        print(json.dumps({**result, "parity": worst}))


def _write_tracker(arguments: argparse.Namespace) -> int:
    model, card = _sized_model(arguments)
    report = export_tracker(model, card, arguments.out, arguments.batch)
    worst = max(check["relative"] for check in report["checks"])
    height, width = card.input_size
    shape = [arguments.batch or "N", 3, height, width]
    print(
        f"{arguments.out}: {card.name}, images {shape} to embedding [{shape[0]}, "
        f"{card.outputs['embedding']}]; torch and onnxruntime differ by at most {worst:.1e}"
    )
    if arguments.json:
        print(json.dumps({"file": str(arguments.out), "name": card.name, "parity": worst}))
    return 0


def _write_graph(arguments: argparse.Namespace) -> int:
    model, card = load_model(arguments.weights)
    weights = weights_path(arguments.weights)
    if weights.suffix != ".safetensors":
        raise UserError(
            f"{weights}: --graph points into a .safetensors file; `python -m zoo import {weights}` makes one"
        )
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
