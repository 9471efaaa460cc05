"""Prepare a bundle for Ascend's ATC and for TensorRT: `python -m serving.ascend --bundle B --out DIR`.

What it writes are inputs and commands; the compilers themselves run where the vendor's software is.
"""

import argparse
import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from zoo.card import Card
from zoo.command_line import CommandParser
from zoo.errors import UserError, exit_on_user_error, extra_imports
from zoo.files import replacing, write_text


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        module="serving.ascend",
        examples=["--bundle build/bundle --soc Ascend310P3 --out build/ascend"],
        description="Prepare a bundle for Ascend's ATC and for TensorRT.",
    )
    parser.add_argument("--bundle", default="build/bundle", help="of fp32 (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/ascend"), help="default: %(default)s")
    parser.add_argument(
        "--soc", default="Ascend310P3", help="`Ascend` and the name in `npu-smi info` (%(default)s)"
    )
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[1, 4, 8, 16], metavar="N", help="default: 1 4 8 16"
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line")
    return parser


with extra_imports(__name__, build_parser):
    from serving.bundle import Bundle
    from serving.conversion.ascend_graph import write_float_graph
    from serving.engines.ascend import INPUT

GRAPH, AIPP, MANIFEST = "float.onnx", "aipp.cfg", "ascend.json"

_SOC = re.compile(r"Ascend\d{3}[A-Za-z0-9_]{0,10}")


def aipp_config(card: Card) -> str:
    """Write the card's normalisation as static AIPP: uint8 RGB [N, H, W, 3] in, what `input` takes out.

    AIPP computes `(pixel - mean_chn - min_chn) * var_reci_chn`, by channel, after the swap to BGR. `mean_chn`
    is an integer and the other two are kept in half precision, so the mean is given in two parts: a fraction
    below one keeps three digits more than a number around 120.
    """
    height, width = card.input_size
    lines = [
        "aipp_mode: static",
        "related_input_rank: 0",
        "input_format: RGB888_U8",
        f"src_image_size_w: {width}",
        f"src_image_size_h: {height}",
        "crop: false",
        "csc_switch: false",
        f"rbuv_swap_switch: {'true' if card.channels == 'BGR' else 'false'}",
    ]
    for channel, (mean, std) in enumerate(zip(card.mean, card.std, strict=True)):
        whole = int(255 * mean)
        lines += [
            f"mean_chn_{channel}: {whole}",
            f"min_chn_{channel}: {255 * mean - whole:.9f}",
            f"var_reci_chn_{channel}: {1 / (255 * std):.12f}",
        ]
    return "aipp_op {\n" + "".join(f"    {line}\n" for line in lines) + "}\n"


def plan_models(batches: list[int]) -> dict[str, dict[str, Any]]:
    """Name the .om files that are compiled: one a batch size, one for all of them; without AIPP and with."""
    models: dict[str, dict[str, Any]] = {}
    for aipp in (False, True):
        suffix = "_aipp" if aipp else ""
        for batch in batches:
            models[f"model_b{batch}{suffix}"] = {"batches": [batch], "aipp": aipp}
        if len(batches) > 1:
            models[f"model_dynamic{suffix}"] = {"batches": batches, "aipp": aipp}
    return models


def atc_script(card: Card, models: dict[str, dict[str, Any]], soc: str) -> str:
    """Write the ATC commands as a shell script. Arguments name the models to compile; none means all."""
    cases = []
    for name, model in models.items():
        batches = model["batches"]
        # -1 is the axis that --dynamic_batch_size gives its sizes.
        shape = _shapes(card, batches[0] if len(batches) == 1 else -1, INPUT, (3, *card.input_size), ",", ";")
        command = ["atc", "--framework=5", f"--model={GRAPH}", f"--output={name}", "--input_format=NCHW"]
        command += [f"--input_shape={shape}", f"--soc_version={soc}"]
        if len(batches) > 1:
            command.append(f"--dynamic_batch_size={','.join(map(str, batches))}")
        if model["aipp"]:
            command.append(f"--insert_op_conf={AIPP}")
        cases.append(f"    {name}) {shlex.join(command)} ;;\n")
    return (
        "#!/bin/sh\n"
        "# Compiles .om files with CANN's ATC: sh atc.sh [MODEL ...]. First: source CANN's set_env.sh\n"
        'set -e\ncd "$(dirname "$0")"\n'
        f"[ $# -gt 0 ] || set -- {' '.join(models)}\n"
        'for model in "$@"; do\n'
        '    case "$model" in\n'
        f"{''.join(cases)}"
        f'    *) echo "$model: no such model; there are {" ".join(models)}" >&2; exit 2 ;;\n'
        "    esac\ndone\n"
    )


def tensorrt_script(card: Card, onnx_file: str, batches: list[int]) -> str:
    """Write the trtexec commands for the bundle's own graph and for the float one as a shell script."""
    sizes = {"min": min(batches), "opt": sorted(batches)[len(batches) // 2], "max": max(batches)}
    commands = {}
    for graph, file, name, shape in (
        ("bundle", onnx_file, "image", (*card.input_size, 3)),
        ("float", GRAPH, INPUT, (3, *card.input_size)),
    ):
        command = ["trtexec", f"--onnx={file}", f"--saveEngine={graph}.plan", "--fp16"]
        command += [f"--{key}Shapes={_shapes(card, n, name, shape, 'x', ',')}" for key, n in sizes.items()]
        commands[graph] = shlex.join(command)
    return (
        "#!/bin/sh\n"
        "# Builds an engine with TensorRT: sh tensorrt.sh [bundle|float]. `bundle` takes the graph\n"
        "# that is served, with uint8 images; where TensorRT refuses those, `float` takes prepared ones.\n"
        'set -e\ncd "$(dirname "$0")"\n'
        'case "${1:-bundle}" in\n'
        f"bundle) {commands['bundle']} ;;\n"
        f"float) {commands['float']} ;;\n"
        "*) echo 'usage: sh tensorrt.sh [bundle|float]' >&2; exit 2 ;;\nesac\n"
    )


def _shapes(card: Card, batch: int, name: str, shape: tuple[int, ...], axis: str, between: str) -> str:
    inputs = {name: shape, **card.pose_inputs}
    return between.join(f"{key}:{axis.join(map(str, (batch, *rest)))}" for key, rest in inputs.items())


def write_ascend(bundle: Bundle, out: Path, soc: str, batches: list[int]) -> dict[str, Any]:
    """Write everything into `out`; the manifest, without which nothing runs, comes last.

    Returns:
        The manifest: what the graph was made of and how it compares, and the .om files by name.

    Raises:
        UserError: `out` holds compiled models already or cannot be written to; see `write_float_graph` too.
    """
    if any(out.glob("*.om")):
        raise UserError(f"{out}: holds .om files of an earlier graph; choose another --out or delete them")
    card = bundle.card
    with replacing(out / GRAPH) as temporary:
        checks = write_float_graph(bundle, temporary)
    models = plan_models(batches)
    write_text(out / AIPP, aipp_config(card))
    write_text(out / "atc.sh", atc_script(card, models, soc))
    relative = os.path.relpath(bundle.onnx_file.resolve(), out.resolve())
    write_text(out / "tensorrt.sh", tensorrt_script(card, relative, batches))
    card.write(out / "card.json")
    manifest = {"model_hash": bundle.model_hash, "soc": soc, "models": models, "checks": checks}
    write_text(out / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    return manifest


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        UserError: options that do not go together.
    """
    arguments = build_parser().parse_args(argv)
    if not _SOC.fullmatch(arguments.soc):
        raise UserError(f"--soc {arguments.soc}: not an Ascend chip; the form is Ascend310P3 or Ascend910B4")
    arguments.batches = sorted(set(arguments.batches))
    if arguments.batches[0] < 1:
        raise UserError("--batches must be at least 1")
    return arguments


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    arguments = parse_arguments(argv)
    manifest = write_ascend(Bundle.open(arguments.bundle), arguments.out, arguments.soc, arguments.batches)
    worst = max(check["relative"] for check in manifest["checks"])
    print(f"{arguments.out}: {GRAPH} and the bundle's graph differ by at most {worst:.1e} in onnxruntime")
    print(f"nothing was compiled: run {arguments.out}/atc.sh where CANN is, tensorrt.sh where TensorRT is")
    if arguments.json:
        print(json.dumps({"out": str(arguments.out), "parity": worst, "models": sorted(manifest["models"])}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
