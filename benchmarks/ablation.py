"""`python -m benchmarks.ablation`: what each ingredient of the recipe `strong` is worth, three seeds each.

The published recipe on a small scale, the same with one ingredient added, with all of them, and with those
that helped alone. All start from one pretrained trunk, as trainings on real pictures start from ImageNet's.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from training.launch import main as launch
from zoo.errors import UserError, exit_on_user_error
from zoo.files import write_text
from zoo.weights import load_weights

RESULTS = Path(__file__).parent / "ablation_results.jsonl"

BEGIN, END = "<!-- ablation -->", "<!-- end of ablation -->"
"""The table's place in docs/training.md."""

Changes = dict[str, Any]
"""Keys of a recipe to values; a table's are a dict of their own."""

SMALL: Changes = {
    "base": "pamtri",
    "description": "an arm of the ablation",
    "size": [64, 64],
    "epochs": 5,
    "amp": "bf16",
    "eval_every": 5,
    "cache": True,
    "workers": 0,
    "optimizer": {"milestones": [3, 4]},
}
"""The published recipe, small enough for a minute of one core."""

NECK: Changes = {"model": {"neck": "bn"}}
INGREDIENTS: dict[str, Changes] = {
    "warm-up and cosine": {"optimizer": {"schedule": "cosine", "warmup_epochs": 0.5}},
    "random erasing": {"augmentation": {"erasing": 0.5}},
    "label smoothing": {"loss": {"label_smoothing": 0.1}},
    "soft margin": {"loss": {"soft_margin": True}},
    "BNNeck": NECK,
    "BNNeck and circle loss": {**NECK, "loss": {"circle": 1.0, "triplet": 0.0}},
    "GeM pooling": {"model": {"pool": "gem"}},
    "last stride 1": {"model": {"last_stride": 1}},
    "IBN-a": {"model": {"ibn": True}},
    "K = 8 (P = 4)": {"num_identities": 4, "num_instances": 8},
    # The span of a seventh of the run's 150 steps.
    "average of the weights": {"ema_decay": 0.95},
}
EXCLUDED = {"BNNeck and circle loss": ("soft margin",)}
"""What an ingredient leaves no room for: the circle loss takes the triplet's place, and its margin's."""

ON_TOP_OF = {"BNNeck and circle loss": "BNNeck"}
"""What an ingredient brings along has to be gained beyond."""

BASE, ALL, HELPED = "published recipe", "all", "those that helped"
ARMS = (BASE, *INGREDIENTS, ALL, HELPED)

Figures = dict[str, dict[int, dict[str, Any]]]
"""Rows of results by arm and seed."""


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ablation", description="Measure what each ingredient of `strong` is worth."
    )
    parser.add_argument("--data", type=Path, help="a data set, see docs/training.md; without one, only tell")
    parser.add_argument("--start", type=Path, help="a .safetensors file whose trunk all runs start from")
    parser.add_argument("--results", type=Path, default=RESULTS, help="runs that it holds are not repeated")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="[0 1 2]")
    parser.add_argument("--only", nargs="+", choices=ARMS, default=ARMS, metavar="ARM", help="arms [all]")
    parser.add_argument("--page", type=Path, help="write the table between this page's marks")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON line at the end")
    return parser.parse_args(argv)


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run what has no row of results yet, then print the table."""
    arguments = parse_arguments(argv)
    if (arguments.data is None) != (arguments.start is None):
        raise UserError("--data and --start go together: what to train on, and from what")
    if arguments.data is not None:
        with tempfile.TemporaryDirectory() as scratch:
            run_all(arguments, Path(scratch))
    figures = read(arguments.results)
    print(table(figures))
    if arguments.page is not None:
        before, rest = arguments.page.read_text(encoding="utf-8").split(BEGIN)
        write_text(arguments.page, f"{before}{BEGIN}\n{table(figures)}\n{END}{rest.split(END)[1]}")
    if arguments.json:
        print(json.dumps({arm: summary(figures, arm) for arm in ARMS if arm in figures}))
    return 0


def run_all(arguments: argparse.Namespace, scratch: Path) -> None:
    """Run seed by seed, so that a study that is cut short has whole rows."""
    trunk = write_trunk(arguments.start, scratch / "trunk.pth")
    for seed in arguments.seeds:
        for arm in arguments.only:
            figures = read(arguments.results)
            if seed in figures.get(arm, {}):
                continue
            changes = changes_of(arm, figures)
            tqdm.write(f"{arm}, seed {seed}: {json.dumps(changes)}", file=sys.stderr)
            row = {"arm": arm, "seed": seed, **train(changes, arguments.data, trunk, seed, scratch)}
            with arguments.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def train(changes: Changes, data: Path, trunk: Path, seed: int, scratch: Path) -> dict[str, Any]:
    """Train one arm by the ordinary command, in this process; the row of results."""
    recipe, out = scratch / "arm.toml", scratch / "run"
    write_text(recipe, toml(over(SMALL, changes)))
    threads = str(torch.get_num_threads())
    argv = ["--data-root", str(data), "--recipe", str(recipe), "--init", str(trunk), "--seed", str(seed)]
    argv += ["--cpus", "1", "--threads", threads, "--out", str(out), "--overwrite"]
    if launch(argv) != 0:
        raise UserError(f"{recipe}: the arm could not be trained; see above")
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    return {
        "mAP": 100 * metrics["mAP"],
        "rank1": 100 * metrics["rank1"],
        "fps": round(metrics["fps"], 1),
        "seconds": round(metrics["seconds"], 1),
        "device": metrics["device"],
        "changes": changes,
    }


def write_trunk(weights: Path, path: Path) -> Path:
    """Write a model's trunk as torchvision's file has it, for trainings that bring their own head."""
    state, _ = load_weights(weights)
    trunk = {
        key.removeprefix("base."): value.float() for key, value in state.items() if key.startswith("base.")
    }
    torch.save({f"features.{key}": value for key, value in trunk.items()}, path)
    return path


def changes_of(arm: str, figures: Figures) -> Changes:
    """What an arm changes in the small published recipe."""
    if arm in INGREDIENTS:
        return INGREDIENTS[arm]
    chosen = {BASE: [], ALL: list(INGREDIENTS), HELPED: helpful(figures)}[arm]
    excluded = {name for one in chosen for name in EXCLUDED.get(one, ())}
    changes: Changes = {}
    for name in chosen:
        if name not in excluded:
            changes = over(changes, INGREDIENTS[name])
    return changes


def helpful(figures: Figures) -> list[str]:
    """The ingredients whose mean gain is above its standard error; of one seed nothing is known."""
    others = {name: ON_TOP_OF.get(name, BASE) for name in INGREDIENTS}
    gains = {
        name: gain(figures, name, other)
        for name, other in others.items()
        if name in figures and other in figures
    }
    return [name for name, (mean, error) in gains.items() if mean > error]


def gain(figures: Figures, arm: str, other: str = BASE) -> tuple[float, float]:
    """How far an arm's mAP is above another's of the same seed: mean, and its standard error, NaN for one
    seed."""
    seeds = sorted(figures[arm].keys() & figures[other].keys())
    gains = [figures[arm][seed]["mAP"] - figures[other][seed]["mAP"] for seed in seeds]
    error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else math.nan
    return statistics.fmean(gains), error


def summary(figures: Figures, arm: str) -> dict[str, Any]:
    """An arm's figures over its seeds."""
    rows = list(figures[arm].values())
    values = [row["mAP"] for row in rows]
    mean, error = gain(figures, arm)
    return {
        "seeds": len(rows),
        "mAP": statistics.fmean(values),
        "spread": max(values) - min(values),
        "rank1": statistics.fmean(row["rank1"] for row in rows),
        "gain": mean,
        "gain_error": None if math.isnan(error) else error,
    }


def table(figures: Figures) -> str:
    """All arms' figures, as Markdown."""
    lines = ["| arm | seeds | mAP | spread | Rank-1 | gain in mAP |", "|---|---|---|---|---|---|"]
    for arm in ARMS:
        if arm in figures and BASE in figures:
            row = summary(figures, arm)
            error = "" if row["gain_error"] is None else f" ± {row['gain_error']:.1f}"
            gained = "" if arm == BASE else f"{row['gain']:+.1f}{error}"
            lines.append(
                f"| {arm} | {row['seeds']} | {row['mAP']:.1f} | {row['spread']:.1f} | {row['rank1']:.1f} "
                f"| {gained} |"
            )
    return "\n".join(lines)


def read(path: Path) -> Figures:
    """Read the results that are there."""
    figures: Figures = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        row = json.loads(line)
        figures.setdefault(row["arm"], {})[row["seed"]] = row
    return figures


def over(base: Changes, changes: Changes) -> Changes:
    """Lay changes over others, tables within them too."""
    both = {k: over(base[k], v) for k, v in changes.items() if isinstance(v, dict) and k in base}
    return {**base, **changes, **both}


def toml(values: Changes) -> str:
    """Write a recipe's file: JSON writes strings, numbers and lists as TOML does."""
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items() if key not in tables]
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
