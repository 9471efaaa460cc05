"""`python -m benchmarks.adaptation`: what `training.adapt` is worth, on drawn domains whose labels are known.

A domain is drawn in another world than the model was trained in: harder, with other cameras, in another
style. The model is judged on its test vehicles as it is (direct), adapted to its training pictures without
their labels, and fine-tuned on them with their labels for as many epochs (supervised). `--spoiled` adapts to
pictures that can teach nothing, where the model must not become worse. `--real` adapts to real pictures, and
judges on folds of vehicles that the adaptation did not see. `--groups` tells how good the first groups are.
"""

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from benchmarks.real_vehicles import (
    KINDS,
    folds,
    kind_of,
    mean_average_precision,
    read_real,
    write_table,
)
from training.adaptation.adaptation import AdaptOptions, adapt
from training.adaptation.clustering import ClusterOptions, cluster, comparable
from training.adaptation.rounds import centroids, fine_tune
from training.datasets import read_split
from training.datasets.records import Record, label_map
from training.datasets.unlabelled import Unlabelled
from training.distributed.ranks import Ranks
from training.evaluation.extract import EvaluationSet, extract
from training.evaluation.protocol import evaluate_weights
from training.run.recipe import Recipe, load_recipe
from training.synthesize.__main__ import main as synthesize
from zoo.card import Card
from zoo.errors import UserError, exit_on_user_error
from zoo.inference import InferenceModel
from zoo.loading import load_model
from zoo.weights import save_weights

DOMAINS = {
    "hard": ("--difficulty", "hard"),
    "cameras": (),
    "plain": ("--plain-share", "1.0"),
}
"""Name -> how it is drawn; each seed has cameras of its own."""

TABLE = "pictures.csv"

FIRST_SEED = 11
"""The shipped models were trained on seed 0."""


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adaptation", description=__doc__)
    parser.add_argument("--model", default="osnet_ain.synthetic", help="[%(default)s]")
    parser.add_argument("--domains", nargs="+", choices=DOMAINS, default=list(DOMAINS), help="[all]")
    parser.add_argument("--seeds", type=int, default=3, help="of each [%(default)s]")
    parser.add_argument("--train-ids", type=int, default=500, help="vehicles [%(default)s]")
    parser.add_argument("--test-ids", type=int, default=100, help="vehicles [%(default)s]")
    parser.add_argument("--images-per-id", type=int, default=6, help="[%(default)s]")
    parser.add_argument("--rounds", type=int, default=4, help="[%(default)s]")
    parser.add_argument("--recipe", default="adapt", help="of a round [%(default)s]")
    parser.add_argument("--spoiled", nargs="*", choices=SPOILED, help="trials of these kinds, or of all")
    parser.add_argument("--no-domains", action="store_true", help="spoiled trials alone")
    parser.add_argument("--real", type=Path, help="a folder of real pictures, see benchmarks.real_vehicles")
    parser.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="of real vehicles [both]"
    )
    parser.add_argument("--folds", type=int, default=3, help="of the real vehicles [%(default)s]")
    parser.add_argument(
        "--groups", nargs="+", default=[], metavar="DATA", help="data sets to group the test part of"
    )
    parser.add_argument("--data", type=Path, default=Path("data/adaptation"), help="[%(default)s]")
    parser.add_argument("--threads", type=int, help="CPU threads of torch [all cores]")
    parser.add_argument("--json", action="store_true", help="end with one JSON object on one line")
    return parser.parse_args(argv)


def drawn(name: str, seed: int, arguments: argparse.Namespace, *more: str) -> Path:
    """Draw a domain, where it is not there yet."""
    root: Path = arguments.data / f"{name}-{seed}"
    if not (root / "dataset.json").is_file():
        counts = ("--train-ids", arguments.train_ids, "--test-ids", arguments.test_ids)
        each = ("--images-per-id", arguments.images_per_id, "--seed", FIRST_SEED + seed)
        options = [str(value) for value in (*counts, *each, "--cameras", 8, "--size", 128)]
        if synthesize(["--out", str(root), *options, *DOMAINS.get(name, ()), *more]) != 0:
            raise UserError(f"{root}: the pictures could not be drawn; see above")
    return root


def judged(model: nn.Module, card: Card, root: Path) -> float:
    """The mAP in percent on a domain's test vehicles."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_weights(model, card, path)
        query, gallery = (read_split(root, split) for split in ("query", "test"))
        found = evaluate_weights(path, query, gallery, torch.device("cpu")).figures()
    return 100 * float(found["mAP"])


def supervised(model: nn.Module, card: Card, root: Path, recipe: Recipe, rounds: int, seed: int) -> nn.Module:
    """Fine-tune with the labels, for as many epochs as all rounds of adaptation have."""
    records = read_split(root, "train")
    labels = label_map(records)
    numbers = np.array([labels[record.vehicle_id] for record in records])
    found = extract(
        InferenceModel(model, card), EvaluationSet(records, card.input_size, antialias=card.antialias)
    )
    recipe = dataclasses.replace(recipe, epochs=rounds * recipe.epochs)
    named = [dataclasses.replace(r, vehicle_id=int(n)) for r, n in zip(records, numbers, strict=True)]
    return fine_tune(model, card, named, centroids(found.embedding, numbers), recipe, Ranks(), seed)


def domain_row(name: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one domain with one seed."""
    root = drawn(name, seed, arguments)
    model, card = load_model(arguments.model)
    recipe = load_recipe(arguments.recipe)
    began = time.monotonic()
    found = adapt(arguments.model, root, AdaptOptions(recipe, rounds=arguments.rounds, seed=seed), Ranks())
    minutes = (time.monotonic() - began) / 60
    direct, adapted = (judged(each, card, root) for each in (model, found.model))
    best = judged(supervised(model, card, root, recipe, arguments.rounds, seed), card, root)
    row = {"trial": name, "seed": seed, "pictures": found.pictures, "kept": found.kept, "direct": direct}
    row |= {"adapted": adapted, "supervised": best, "minutes": minutes, "reason": found.reason}
    return row | {"closed": (adapted - direct) / (best - direct) if best > direct else None}


def one_camera(root: Path, records: list[Record], rng: np.random.Generator, folder: Path) -> Path:
    """The pictures of the camera that has most."""
    cameras = [record.camera_id for record in records]
    most = max(set(cameras), key=cameras.count)
    chosen = [record for record in records if record.camera_id == most]
    return write_table(folder / TABLE, chosen, labelled=False)


def one_vehicle(root: Path, records: list[Record], rng: np.random.Generator, folder: Path) -> Path:
    """As many pictures of a single vehicle."""
    options = ("--train-ids", "1", "--test-ids", "0", "--images-per-id", "150", "--cameras", "8")
    seed = int(rng.integers(1 << 20))
    if synthesize(["--out", str(folder / "one"), "--size", "128", "--seed", str(seed), *options]) != 0:
        raise UserError("the vehicle could not be drawn; see above")
    return folder / "one"


def wrong_cameras(root: Path, records: list[Record], rng: np.random.Generator, folder: Path) -> Path:
    """The cameras of the pictures dealt out anew."""
    cameras = rng.permutation([record.camera_id for record in records])
    wrong = zip(records, cameras, strict=True)
    chosen = [dataclasses.replace(record, camera_id=int(camera)) for record, camera in wrong]
    return write_table(folder / TABLE, chosen, labelled=False)


def too_few(root: Path, records: list[Record], rng: np.random.Generator, folder: Path) -> Path:
    """Forty pictures."""
    chosen = [records[index] for index in rng.choice(len(records), 40, replace=False)]
    return write_table(folder / TABLE, chosen, labelled=False)


def unrelated(root: Path, records: list[Record], rng: np.random.Generator, folder: Path) -> Path:
    """Coloured discs, and noise."""
    for number in range(150):
        image = rng.integers(0, 256, (128, 128, 3)).astype(np.uint8)
        if number % 2:
            image[:] = rng.integers(0, 256, 3)
            for _ in range(8):
                centre, radius = rng.integers(0, 128, 2).tolist(), int(rng.integers(5, 40))
                cv2.circle(image, centre, radius, rng.integers(0, 256, 3).tolist(), -1)
        path = folder / f"cam{number % 4}" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), image)
    return folder


Spoil = Callable[[Path, list[Record], np.random.Generator, Path], Path]
SPOILED: dict[str, Spoil] = {
    "unrelated": unrelated,
    "one-camera": one_camera,
    "one-vehicle": one_vehicle,
    "wrong-cameras": wrong_cameras,
    "too-few": too_few,
}
SPOILED_SEEDS = 4


def spoiled_row(name: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Adapt to spoiled pictures of the hard domain, and judge on its test vehicles."""
    root = drawn("hard", seed % arguments.seeds, arguments)
    model, card = load_model(arguments.model)
    options = AdaptOptions(load_recipe(arguments.recipe), rounds=arguments.rounds, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(seed)
        data = SPOILED[name](root, read_split(root, "train"), rng, Path(folder))
        found = adapt(arguments.model, data, options, Ranks())
    row = {
        "trial": name,
        "seed": seed,
        "pictures": found.pictures,
        "kept": found.kept,
        "reason": found.reason,
    }
    if found.kept == "old":
        return row | {"change": 0.0}
    return row | {"change": judged(found.model, card, root) - judged(model, card, root)}


def pairs(embedding: np.ndarray, records: list[Record], metric: str) -> dict[str, float]:
    """How many pairs of one group are right, and how many of the right pairs are in one group."""
    vehicles, cameras = (
        np.array([getattr(r, name) for r in records]) for name in ("vehicle_id", "camera_id")
    )
    unknown = np.full(len(records), -1, np.int64)
    known = Unlabelled([record.path for record in records], cameras, unknown, unknown)
    groups = cluster(comparable(embedding, cameras, metric), known, ClusterOptions())
    joined = (groups[:, None] == groups) & (groups >= 0)
    true = vehicles[:, None] == vehicles
    for each in (joined, true):
        np.fill_diagonal(each, False)
    right = int((joined & true).sum())
    return {"right": right / max(int(joined.sum()), 1), "found": right / max(int(true.sum()), 1)}


def group_rows(root: str, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Group pictures of fifty test vehicles, so many of each."""
    model, card = load_model(arguments.model)
    records = [record for split in ("query", "test") for record in read_split(root, split)]
    rng = np.random.default_rng(0)
    ids = np.array([record.vehicle_id for record in records])
    chosen = np.flatnonzero(np.isin(ids, rng.permutation(np.unique(ids))[:50]))
    records, ids = [records[index] for index in chosen], ids[chosen]
    data = EvaluationSet(records, card.input_size, antialias=card.antialias)
    embedding = extract(InferenceModel(model, card), data).embedding
    for each in (2, 4, 8, 16):
        kept = np.concatenate([rng.permutation(np.flatnonzero(ids == one))[:each] for one in np.unique(ids)])
        row = {"trial": f"groups {root}", "pictures": len(kept), "each": each}
        yield row | pairs(embedding[kept], [records[index] for index in kept], card.metric)


def real_rows(kind: str, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Adapt to real vehicles of one kind fold by fold: to the pictures of all but one, judged on that one's,
    searched among those of all."""
    records = [record for record in read_real(arguments.real).train if kind_of(record) == kind]
    dealt = folds(records, arguments.folds)
    model, card = load_model(arguments.model)
    data = EvaluationSet(records, card.input_size, antialias=card.antialias)
    data.images.preload([data.size])
    known = extract(InferenceModel(model, card), data).embedding
    for fold in range(arguments.folds):
        options = AdaptOptions(load_recipe(arguments.recipe), rounds=arguments.rounds, seed=fold)
        others = [record for record, own in zip(records, dealt, strict=True) if own != fold]
        with tempfile.TemporaryDirectory() as folder:
            table = write_table(Path(folder) / "pictures.csv", others, labelled=False)
            found = adapt(arguments.model, table, options, Ranks())
        row: dict[str, Any] = {"trial": f"real {kind}", "fold": fold, "pictures": found.pictures}
        row |= pairs(known[dealt != fold], others, card.metric)
        for name, network in (("direct", model), ("adapted", found.model)):
            embedding = extract(InferenceModel(network, card), data).embedding
            for centred in (False, True):
                value = mean_average_precision(embedding, records, dealt == fold, card.metric, centred)
                row[f"{name}, centred" if centred else name] = value
        yield row | {"kept": found.kept, "minutes": found.seconds / 60, "reason": found.reason}


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Measure, a line a trial."""
    arguments = parse_arguments(argv)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    rows = []
    trials = [] if arguments.no_domains else [(domain_row, name) for name in arguments.domains]
    for measure, name in trials:
        for seed in range(arguments.seeds):
            rows.append(measure(name, seed, arguments))
            print(json.dumps(rows[-1]), flush=True)
    if arguments.real is not None:
        for kind in arguments.kinds:
            for row in real_rows(kind, arguments):
                rows.append(row)
                print(json.dumps(row), flush=True)
    for root in arguments.groups:
        for row in group_rows(root, arguments):
            rows.append(row)
            print(json.dumps(row), flush=True)
    if arguments.spoiled is not None:
        for name in arguments.spoiled or SPOILED:
            for seed in range(SPOILED_SEEDS):
                rows.append(spoiled_row(name, seed, arguments))
                print(json.dumps(rows[-1]), flush=True)
    if arguments.json:
        print(json.dumps({"model": arguments.model, "rows": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
