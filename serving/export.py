"""Export a model as a bundle: `python -m serving.export --weights W --out build/bundle`."""

import argparse
import json
import sys
from pathlib import Path

from zoo.card import Card
from zoo.errors import exit_on_user_error, extra_imports

with extra_imports(__name__):
    from torch import nn

    from serving.bundle import Bundle, check_replaceable, file_hash, writing
    from serving.onnx_export import DeployedModel, export_onnx
    from serving.parity import TOLERANCE, check_parity
    from serving.triton_repository import write_repository
    from zoo.registry import load_model


def export_bundle(model: nn.Module, card: Card, out: str | Path, tolerance: float = TOLERANCE) -> Bundle:
    """Write a bundle, whole or not at all: ONNX, card, parity report and Triton repository.

    Args:
        model: from `zoo.registry`, with its weights.
        card: its card.
        out: folder of the bundle; an earlier bundle there is replaced.
        tolerance: largest relative difference between torch and onnxruntime.

    Raises:
        UserError: the graph does not compute what the model computes, or `out` cannot be written.
    """
    # The identity classifier is no part of what is deployed, so the card must not promise it either.
    card = card.replace(options={**card.options, "num_ids": 0}) if "num_ids" in card.options else card
    deployed = DeployedModel(model, card)
    with writing(out) as folder:
        onnx_file = folder / "model.onnx"
        export_onnx(deployed, card, onnx_file)
        report = check_parity(deployed, card, onnx_file, tolerance)
        model_hash = file_hash(onnx_file)
        card.write(folder / "card.json")
        (folder / "parity.json").write_text(
            json.dumps({"model_hash": model_hash, **report}, indent=2) + "\n", encoding="utf-8"
        )
        write_repository(folder / "triton", card, onnx_file, model_hash)
    return Bundle(Path(out), card, model_hash)


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m serving.export", description=__doc__)
    parser.add_argument(
        "--weights",
        default="densenet121.synthetic",
        help="name of a zoo model, or path of a .safetensors file (default: %(default)s)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("build/bundle"), help="folder of the bundle (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line")
    arguments = parser.parse_args(argv)
    check_replaceable(arguments.out)
    model, card = load_model(arguments.weights)
    bundle = export_bundle(model, card, arguments.out)
    report = json.loads((bundle.path / "parity.json").read_text(encoding="utf-8"))
    worst = max(check["relative"] for check in report["checks"])
    height, width = card.input_size
    print(
        f"{bundle.path}: {card.name}, {height}x{width}; torch and onnxruntime differ by at most {worst:.1e}"
    )
    if arguments.json:
        result = {"bundle": str(bundle.path), "name": card.name, "model_hash": bundle.model_hash}
        print(json.dumps({**result, "parity": worst}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
