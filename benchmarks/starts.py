"""`python -m benchmarks.starts`: which trunk and which start are worth most, for equal processor time.

Each arm is trained on the same real and drawn pictures until its budget of processor time is spent, by the
same recipe but for what its start asks for, and judged by its last weights: on "hard", on real vehicles that
were held out, and on the drawn test part. Decoding and judging are not counted. No arm has a teacher: the
only one at hand, `densenet121.synthetic`, is the start of an arm itself. A finished arm is not repeated.
"""

import argparse
import dataclasses
import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.real_vehicles import (
    KINDS,
    RealVehicles,
    folds,
    hard_figures,
    kind_of,
    mean_average_precision,
    read_real,
    write_table,
)
from training.data.batches import collate, raise_failures
from training.data.sampler import rank_draws
from training.data.transforms import Augmentation
from training.distributed.ranks import Ranks
from training.evaluation.extract import EvaluationSet, extract
from training.run.optim import OptimizerOptions
from training.run.recipe import LossOptions, ModelOptions, Recipe
from training.run.step import train_step
from training.run.trainer import Trainer
from zoo.errors import UserError, exit_on_user_error
from zoo.files import write_text
from zoo.inference import InferenceModel
from zoo.weights import save_weights

FOLDS = 10
"""Of the real training part; the first is held out."""

RECIPE = Recipe(
    name="starts",
    epochs=10,
    num_identities=16,
    num_instances=4,
    amp="bf16",
    cache=True,
    optimizer=OptimizerOptions(
        name="adamw", lr=4e-4, weight_decay=1e-2, schedule="cosine", warmup_epochs=0.5, clip_norm=10.0
    ),
    loss=LossOptions(color=0.25, type=0.25, soft_margin=True, label_smoothing=0.1),
    augmentation=Augmentation(erasing=0.3, jitter=0.4),
)
"""An epoch of it is a tenth of the budget, not a pass over the pictures."""

RANDOM: dict[str, Any] = {
    "init": "none",
    "progressive": ((5, 64),),
    "optimizer": dataclasses.replace(RECIPE.optimizer, lr=1e-3),
    "loss": dataclasses.replace(RECIPE.loss, triplet_start=3),
}
"""What the recipes for random weights have: small pictures first, a higher rate, and no triplets at first."""

LITE0: dict[str, Any] = {"model": ModelOptions("efficientnet_lite0"), "size": (128, 128)}
OSNET: dict[str, Any] = {
    "model": ModelOptions("osnet_ain", embedding_dim=256, attribute_dim=128, neck="bn", pool="gem"),
    "size": (96, 96),
}
DENSENET: dict[str, Any] = {
    "model": ModelOptions("densenet121", embedding_dim=512, attribute_dim=128),
    "size": (128, 128),
}

ARMS = {
    "densenet121.synthetic": dataclasses.replace(RECIPE, **DENSENET, init="densenet121.synthetic"),
    "efficientnet_lite0.imagenet": dataclasses.replace(RECIPE, **LITE0, init="imagenet"),
    "osnet_ain.synthetic": dataclasses.replace(RECIPE, **OSNET, init="osnet_ain.synthetic"),
    "densenet121.random": dataclasses.replace(RECIPE, **{**DENSENET, **RANDOM}),
    "efficientnet_lite0.random": dataclasses.replace(RECIPE, **{**LITE0, **RANDOM}),
    "osnet_ain.random": dataclasses.replace(RECIPE, **{**OSNET, **RANDOM}),
}
"""Trunk and start; each trunk with the head and at the size of the zoo's model of it."""

FROZEN = {"efficientnet_lite0.imagenet": ("stem", "stage1", "stage2")}
"""Parts of the trunk that keep their first weights, as in `lite0_osnet.real`."""


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.starts", description=__doc__)
    parser.add_argument("--real", type=Path, required=True, help="folder of labels.csv and hard.csv")
    parser.add_argument(
        "--drawn", type=Path, required=True, help="what training.synthesize drew: training and test part"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/starts"), help="[%(default)s]")
    parser.add_argument("--minutes", type=float, default=5.0, help="of processor time an arm [%(default)s]")
    parser.add_argument("--only", nargs="+", choices=ARMS, default=list(ARMS), metavar="ARM", help="[all]")
    parser.add_argument("--seed", type=int, default=0, help="[0]")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch [%(default)s]")
    parser.add_argument("--json", action="store_true", help="end with one JSON object on one line")
    return parser.parse_args(argv)


def freeze(trainer: Trainer, parts: tuple[str, ...]) -> None:
    """Keep parts of the trunk as they are, but for BatchNorm's statistics."""
    model = trainer.state.model
    trunk = getattr(model, str(model.trunk))
    for part in parts:
        getattr(trunk, part).requires_grad_(False)


def train(trainer: Trainer, seconds: float) -> dict[str, Any]:
    """Take steps until so many seconds of processor time are spent; tell how many pictures they saw."""
    recipe, data = trainer.recipe, trainer.train
    trainer.state.amp.network.train()
    spent, images, steps = 0.0, 0, 0
    draws = itertools.chain.from_iterable(
        rank_draws(trainer.sampler, number, recipe.ranks.dealing) for number in itertools.count()
    )
    while spent < seconds:
        progress = recipe.epochs * spent / seconds
        data.size = recipe.size_at(int(progress))
        data.preload()
        began = time.process_time()
        (batch,) = raise_failures([collate([data[draw] for draw in next(draws)])])
        train_step(trainer.state, batch, progress)
        spent += time.process_time() - began
        images, steps = images + len(batch), steps + 1
    return {"pictures": images, "steps": steps, "seconds": spent}


def measure(name: str, real: RealVehicles, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train one arm and judge it."""
    out: Path = arguments.out / name
    out.mkdir(parents=True, exist_ok=True)
    held_out = folds(real.train, FOLDS) == 0
    learned = [record for record, out_of_it in zip(real.train, held_out, strict=True) if not out_of_it]
    table = write_table(out / "real.csv", learned)
    recipe = ARMS[name]
    roots = [str(arguments.drawn), str(table)]
    trainer = Trainer(recipe, roots, Ranks(), arguments.seed, evaluate_on=arguments.drawn)
    freeze(trainer, FROZEN.get(name, ()))
    row = {"arm": name, "seed": arguments.seed, "init": recipe.init, **train(trainer, 60 * arguments.minutes)}
    model = trainer.state.evaluated.eval()
    records = [*real.train, *real.hard]
    data = EvaluationSet(records, recipe.size)
    embedding = extract(InferenceModel(model, trainer.card), data).embedding
    metric = trainer.card.metric
    row["hard"] = hard_figures(embedding, real, metric)
    row["held_out"] = {}
    for kind in KINDS:
        chosen = np.array([kind_of(record) == kind for record in records])
        part = [record for record, wanted in zip(records, chosen, strict=True) if wanted]
        asked = np.append(held_out, np.zeros(len(real.hard), bool))[chosen]
        row["held_out"][kind] = mean_average_precision(embedding[chosen], part, asked, metric)
    found = trainer.evaluate()
    assert found is not None, "the first rank judges"
    row["drawn"] = 100 * float(found.figures()["mAP"])
    save_weights(model, trainer.card, out / "last.safetensors")
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """The figures as docs/real-vehicles.md has them."""
    means = "with its cameras' means"
    heads = ["pictures seen", "hard four-wheelers", means, "hard motorcycles", means]
    heads += ["held out: four, two", "drawn"]
    lines = ["| trunk and start | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for row in rows:
        hard = [f"{value:.1f}" for value in row["hard"].values()]
        held_out = ", ".join(f"{value:.1f}" for value in row["held_out"].values())
        cells = [row["arm"], f"{row['pictures']:,}", *hard, held_out, f"{row['drawn']:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Train what is not trained yet, and print the table."""
    arguments = parse_arguments(argv)
    if not arguments.minutes > 0:
        raise UserError(f"--minutes {arguments.minutes}: must be above 0")
    torch.set_num_threads(arguments.threads)
    real = read_real(arguments.real)
    rows = []
    for name in arguments.only:
        path = arguments.out / name / "figures.json"
        if not path.is_file():
            row = {**measure(name, real, arguments), "minutes": arguments.minutes}
            write_text(path, json.dumps(row, indent=2) + "\n")
        rows.append(json.loads(path.read_text(encoding="utf-8")))
        if (rows[-1]["minutes"], rows[-1]["seed"]) != (arguments.minutes, arguments.seed):
            raise UserError(f"{path}: of another budget or seed; choose another --out")
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print(table(rows))
    if arguments.json:
        print(json.dumps({"rows": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
