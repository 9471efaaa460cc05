"""`python -m benchmarks.npu_operators`: the operators that NPUs are asked for, against torch_npu's own list.

A training step of every recipe and architecture, one at every level of precision, an evaluation of each, and
an adaptation run on a simulated NPU (`tests/simulated_npu`) under a dispatch mode that writes down what
reaches the device. The list is that of torch_npu 2.14.0, whose wheel holds its registrations; `--read` takes
them from an unpacked wheel of another release into benchmarks/torch_npu_operators.txt. With --write, the
table goes into docs/npu.md.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any, get_args

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.training.veri_layout import make_veri
from training.adapt import main as adapt
from training.data.batches import Batch
from training.distributed.devices import KINDS, enter_device
from training.distributed.ranks import Ranks
from training.options import RECIPES, Level
from training.run.recipe import load_recipe
from training.run.state import TrainState
from training.run.step import train_step
from zoo.errors import UserError, exit_on_user_error
from zoo.files import write_text
from zoo.inference import InferenceModel
from zoo.registry import create_model, list_archs, make_card
from zoo.weights import save_weights

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_name("torch_npu_operators.txt")
YAML = ("npu_native_functions.yaml", "npu_native_functions_by_codegen.yaml")
BEGIN, END = (
    "<!-- operators: python -m benchmarks.npu_operators --write docs/npu.md -->",
    "<!-- end of operators -->",
)
SIDE = 64

BACKEND_NAMES = {
    "convolution": "convolution_overrideable",
    "convolution_backward": "convolution_backward_overrideable",
}
"""torch sends an operator to a device outside of its own tree by another name."""


class Recorder(TorchDispatchMode):
    """Writes down each operator that an npu tensor takes part in."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operator as it is."""
        result = func(*args, **(kwargs or {}))
        leaves = tree_leaves((args, kwargs, result))
        if any(isinstance(value, torch.Tensor) and value.device.type == "npu" for value in leaves):
            self.names.add(func.name().removeprefix("aten::").removesuffix(".default"))
        return result


def record() -> dict[str, list[str]]:
    """Take the steps; operator -> where it was asked for."""
    device = enter_device(KINDS["npu"])
    seen: dict[str, list[str]] = defaultdict(list)
    cases: list[tuple[str, dict[str, Any]]] = [(path.stem, {}) for path in sorted(RECIPES.glob("*.toml"))]
    cases += [("adapt", {"model": {"arch": arch}}) for arch in list_archs()]
    cases += [("pamtri", {"amp": level}) for level in get_args(Level)]
    for name, changed in cases:
        print(name, changed or "", file=sys.stderr, flush=True)
        recipe = load_recipe(name, **{"loss_scale": 128.0, **changed})
        level = changed.get("amp")
        state, batch = _prepared(recipe, device)
        with Recorder() as recorder:
            train_step(state, batch, progress=recipe.epochs - 1.0)
            state.average_statistics()
        where = name if not changed else recipe.model.arch if level is None else f"--amp {level}"
        for operator in recorder.names:
            seen[operator].append(where)
        if level is None:
            inference = InferenceModel(state.evaluated, state.normalise_card).to(device)
            inference.normalise.channels_last = KINDS["npu"].channels_last
            own = batch.to(device)
            with Recorder() as recorder, torch.inference_mode():
                inference(own.image, own.keypoints, own.heatmaps, own.segments).embedding.cpu()
            for operator in recorder.names:
                seen[operator].append("evaluation")
    for operator in _adapt():
        seen[operator].append("training.adapt")
    return {operator: sorted(set(places)) for operator, places in seen.items()}


def _adapt() -> set[str]:
    """What the command asks for, with one round of everything that it does."""
    with tempfile.TemporaryDirectory() as name, Recorder() as recorder:
        folder = Path(name)
        old = folder / "old.safetensors"
        model = create_model("lite0_osnet", num_ids=2)
        save_weights(model, make_card(model, "lite0_osnet.old", (32, 32)), old)
        (folder / "fast.toml").write_text(
            'base = "adapt"\nepochs = 1\nnum_identities = 2\nnum_instances = 2\n'
        )
        pictures = make_veri(folder / "veri", train_ids=8, test_ids=1, images=3)
        given = ["--weights", old, "--data", pictures, "--out", folder / "out", "--npus", 1, "--rounds", 1]
        # The guard only embeds, and would keep an untrained model.
        given += ["--skip", "guard", "--recipe", folder / "fast.toml"]
        with contextlib.redirect_stdout(sys.stderr):
            adapt([*map(str, given)])
    return recorder.names


def _prepared(recipe: Any, device: torch.device) -> tuple[Any, Batch]:
    model = create_model(recipe.model.arch, num_ids=2, **recipe.model.options()).train()
    card = make_card(model, f"{recipe.model.arch}.{recipe.name}", (SIDE, SIDE))
    state: Any = TrainState(model, card, recipe, Ranks(device=device))
    state.normalise_card = card
    label = torch.arange(4) // 2
    points = torch.rand(4, 36, 3) * SIDE
    return state, Batch(
        torch.randint(0, 256, (4, SIDE, SIDE, 3), dtype=torch.uint8),
        label,
        label,
        label,
        keypoints=torch.rand(4, 108) if recipe.model.keypoints else None,
        heatmap_points=points if recipe.model.heatmaps else None,
        segment_points=points if recipe.model.segments else None,
        spread=torch.ones(4, 2),
        teacher=torch.rand(4, 8) if recipe.teacher else None,
    )


def read_registrations(folder: Path) -> str:
    """The operators for which an unpacked wheel of torch_npu registers kernels, one a line."""
    import yaml

    names: set[str] = set()
    for file in YAML:
        try:
            (path,) = folder.glob(f"**/{file}")
        except ValueError:
            raise UserError(f"--read {folder}: holds no {file}; unpack a wheel of torch_npu there") from None
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        for section in ("supported", "autograd"):
            for entry in content.get(section, ()):
                text = entry["func"] if isinstance(entry, dict) else entry
                names.add(text.partition("(")[0].strip())
    return "\n".join(sorted(names)) + "\n"


def verdict(operator: str, listed: set[str]) -> str:
    """Say who runs an operator on an NPU."""
    if operator in listed or BACKEND_NAMES.get(operator) in listed:
        return "torch_npu"
    base = operator.partition(".")[0]
    # A list names one of the forms `op`, `op_` and `op.out`, of which torch makes the others.
    forms = {base, f"{base}.out", base.removesuffix("_"), f"{base.removesuffix('_')}.out"}
    kernels = ("CompositeImplicitAutograd", "CompositeExplicitAutograd")
    full = f"aten::{operator}"
    if any(torch._C._dispatch_has_kernel_for_dispatch_key(full, key) for key in kernels):
        return "torch, from other operators"
    if torch._C._dispatch_has_kernel_for_dispatch_key(full, "CompositeExplicitAutogradNonFunctional"):
        return "torch_npu" if forms & {name.partition(".")[0] for name in listed} else "CPU fallback"
    return "CPU fallback"


def table(seen: dict[str, list[str]], listed: set[str]) -> str:
    """The operators by who runs them, in Markdown."""
    by_verdict: dict[str, list[str]] = defaultdict(list)
    for operator in sorted(seen):
        by_verdict[verdict(operator, listed)].append(operator)
    lines = [f"{len(seen)} operators were asked for.", "", "| who runs it | operators |", "|---|---|"]
    for name in ("torch_npu", "torch, from other operators", "CPU fallback"):
        operators = by_verdict[name]
        told = ", ".join(f"`{operator}`" for operator in operators) or "none"
        if name == "CPU fallback":
            told = ", ".join(f"`{o}` ({', '.join(seen[o][:3])})" for o in operators) or "none"
        lines.append(f"| {name} ({len(operators)}) | {told} |")
    return "\n".join(lines)


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Record, compare, print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.npu_operators", description="Compare operators."
    )
    parser.add_argument("--read", type=Path, metavar="FOLDER", help="take the list from an unpacked wheel")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into this page")
    parser.add_argument("--record", type=Path, metavar="FILE", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.record:
        write_text(arguments.record, json.dumps(record()))
        return 0
    if arguments.read:
        write_text(LIST, read_registrations(arguments.read))
    seen = recorded()
    listed = set(LIST.read_text(encoding="utf-8").split())
    text = table(seen, listed)
    print(text)
    if arguments.write:
        page = arguments.write.read_text(encoding="utf-8")
        if BEGIN not in page or END not in page:
            raise UserError(
                f"--write {arguments.write}: has no lines `{BEGIN}` and `{END}`; give docs/npu.md"
            )
        before, after = page.split(BEGIN, 1)[0], page.split(END, 1)[1]
        write_text(arguments.write, f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
    return 0


def recorded() -> dict[str, list[str]]:
    """Record in a process that has a simulated NPU."""
    from tests.simulated_npu import SITE, environment

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "operators.json"
        command = [sys.executable, "-m", "benchmarks.npu_operators", "--record", str(file)]
        subprocess.run(command, cwd=ROOT, env=environment(SITE, ROOT), check=True)
        found: dict[str, list[str]] = json.loads(file.read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    sys.exit(main())
