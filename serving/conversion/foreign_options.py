"""The options of `serving.export` that speak of somebody else's network."""

import argparse
import re
from pathlib import Path
from typing import Any

from serving.conversion.pixel_format import ORDERS, VALUES, PixelFormat
from zoo.errors import UserError

_OPTIONS = (
    *("order", "mean", "std", "values", "metric", "name", "licence", "source", "notes"),
    "attributes_from",
)

_NAME = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_.-]+")


def add_foreign_options(parser: argparse.ArgumentParser) -> None:
    """Add the options, as a group of their own."""
    group = parser.add_argument_group("somebody else's network (docs/export.md)")
    group.add_argument(
        "--onnx",
        type=Path,
        metavar="FILE",
        help="a re-identification network: float images [N, 3, H, W] in, one embedding [N, D] out",
    )
    group.add_argument("--order", choices=ORDERS, help="of the channels that it takes")
    group.add_argument(
        "--mean", type=float, nargs=3, metavar="M", help="taken away from each channel, in that order"
    )
    group.add_argument("--std", type=float, nargs=3, metavar="S", help="that each channel is then divided by")
    group.add_argument(
        "--values",
        choices=tuple(VALUES),
        help="the values of pixels that --mean and --std are told of (default: 0..1)",
    )
    group.add_argument("--metric", choices=("cosine", "euclidean"), help="of embeddings (default: cosine)")
    group.add_argument("--name", metavar="ARCH.TAG", help="for the card (default: onnx. and the file's name)")
    group.add_argument("--licence", help="for the card")
    group.add_argument("--source", metavar="TEXT", help="where it comes from, for the card")
    group.add_argument("--notes", metavar="TEXT", help="what it is good for, for the card")
    group.add_argument(
        "--attributes-from",
        metavar="NAME",
        help="a zoo model or a .safetensors file that tells colours and types of the same image",
    )


def read_foreign_options(arguments: argparse.Namespace) -> PixelFormat | None:
    """Read how the network wants its pixels; None where no network of somebody else's is named.

    Raises:
        UserError: options that do not go together.
    """
    told = {f"--{name.replace('_', '-')}": getattr(arguments, name) for name in _OPTIONS}
    if arguments.onnx is None:
        if without := [name for name, value in told.items() if value is not None]:
            raise UserError(f"{', '.join(without)}: of somebody else's network; name its file with --onnx")
        return None
    if arguments.weights is not None or arguments.graph or arguments.purpose != "server":
        raise UserError("--onnx is the model itself; leave out --weights, --graph and --for")
    if missing := [name for name in ("--order", "--mean", "--std") if told[name] is None]:
        raise UserError(
            f"{arguments.onnx}: {', '.join(missing)} missing, and a file does not tell how it wants its "
            "pixels; many take --order RGB --mean 0.485 0.456 0.406 --std 0.229 0.224 0.225 (ImageNet)"
        )
    if arguments.name is not None and not _NAME.fullmatch(arguments.name):
        raise UserError(f"--name {arguments.name}: give it the form ARCH.TAG, of letters, digits, - and _")
    return PixelFormat.read(arguments.order, arguments.mean, arguments.std, arguments.values or "0..1")


def card_fields(arguments: argparse.Namespace, unknown_licence: str) -> dict[str, Any]:
    """Fields of the card, given or by default."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", arguments.onnx.stem).strip("-") or "network"
    return {
        "name": arguments.name or f"onnx.{stem}",
        "metric": arguments.metric or "cosine",
        "licence": arguments.licence or unknown_licence,
        "source": arguments.source or f"the file {arguments.onnx.name}",
        "notes": arguments.notes or "",
    }
