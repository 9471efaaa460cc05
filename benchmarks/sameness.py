"""`python -m benchmarks.sameness`: whether the probabilities and verdicts of searches keep their word.

Vehicles that neither training nor calibration saw are drawn where they are not there yet, and embedded as a
search node does it. Searches among them are made up: see `training.evaluation.trials`. What is shown is
held to the truth.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from serving import open_encoder
from serving.encoders.image import InputImage
from training.datasets import read_split
from training.datasets.records import Record
from training.evaluation.passes import pool_passes
from training.evaluation.redundancy import redundancy_told
from training.evaluation.sameness_quality import SamenessQuality, judge_sameness
from training.evaluation.trials import ABSENT, Pictures, make_trials, spread_over_vehicles
from training.synthesize.vehicle_pictures import MAX_IDS
from zoo.card import Card
from zoo.errors import UserError, exit_on_user_error
from zoo.files import replacing
from zoo.sameness import PROBES, Sameness

_BATCH = 16
_TOGETHER = 500
"""Queries that are compared with everything at a time."""

_ASKED_EACH = 1000
"""Pictures in the largest galleries that each tell how many pictures of a vehicle they have."""

_RATES = (0.005, 0.01, 0.02, 0.05)
_ANOTHER = 10**6
"""Between the vehicle ids, and the cameras, of one data set and the next."""


def embed(model: str, root: Path, records: Sequence[Record]) -> tuple[np.ndarray, Card]:
    """Embeddings float32 [N, D] of a data set's pictures, kept beside it, and the model's card."""
    encoder = open_encoder(model, threads=1)
    kept = root / f"embeddings.{encoder.model_hash[:16]}.npy"
    if not kept.exists():
        parts = []
        for start in tqdm(range(0, len(records), _BATCH), desc=f"{model} {root}", leave=False):
            images = [InputImage.open(record.path) for record in records[start : start + _BATCH]]
            parts.append(encoder.encode(images).embedding)
        with replacing(kept) as path, path.open("wb") as file:
            np.save(file, np.concatenate(parts))
    encoder.close()
    return np.load(kept), encoder.card


def redundancy_as_told(
    sameness: Sameness, pictures: tuple[np.ndarray, np.ndarray, np.ndarray, str], gallery: np.ndarray
) -> float:
    """How many pictures of a vehicle a gallery has, as it tells of itself.

    Args:
        sameness: what is told.
        pictures: embeddings, vehicles, cameras, and the metric.
        gallery: the places of those that it has.
    """
    asked = np.linspace(0, len(gallery) - 1, min(PROBES, len(gallery))).astype(int)
    embeddings, vehicles, cameras = (each[gallery] for each in pictures[:3])
    compared = Pictures.of(embeddings, vehicles, cameras, pictures[3], asked).distances
    return redundancy_told(sameness, compared, asked)


def judge(
    sameness: Sameness,
    pictures: tuple[np.ndarray, np.ndarray, np.ndarray, str],
    asking: np.ndarray,
    sizes: Sequence[int],
    searches: int,
    each: int | None = None,
) -> dict[int, dict[str, float | int]]:
    """The figures of each size of gallery.

    Args:
        sameness: what is told.
        pictures: embeddings, vehicles, cameras, and the metric.
        asking: the places of those that ask.
        sizes: of galleries.
        searches: for each size, for absent vehicles, and as many again with a fifth absent.
        each: pictures of every vehicle in a gallery; None for one to eight by chance.
    """
    told: dict[tuple[int, int], float] = {}

    def redundancy(gallery: np.ndarray) -> float:
        """Large galleries of one size and fullness differ by some hundredths. The first one tells it for the
        others, too, as long as the same pictures ask: it takes 32 searches."""
        if len(gallery) <= _ASKED_EACH:
            return redundancy_as_told(sameness, pictures, gallery)
        kind = len(gallery), round(len(gallery) / len(np.unique(pictures[1][gallery])))
        if kind not in told:
            told[kind] = redundancy_as_told(sameness, pictures, gallery)
        return told[kind]

    blocks = np.array_split(asking, -(-len(asking) // _TOGETHER))
    found: dict[tuple[int, float], list[SamenessQuality]] = {}
    for number, block in enumerate(tqdm(blocks, leave=False)):
        compared = Pictures.of(*pictures, block)
        told.clear()
        for size in sizes:
            for absent in (1.0, ABSENT):
                rng = np.random.default_rng([size, number])
                trials = make_trials(
                    compared, rng, -(-searches // len(blocks)), [size], absent, redundancy, each
                )
                found.setdefault((size, absent), []).append(judge_sameness(sameness, trials))
    rows: dict[int, dict[str, float | int]] = {}
    for size in sizes:
        absent, usual = (SamenessQuality.of_all(found[size, share]) for share in (1.0, ABSENT))
        rates = {f"false_matches_at_{rate:g}": absent.false_matches(rate) for rate in _RATES}
        rates["low_at_0.01"], rates["high_at_0.01"] = absent.false_match_interval()
        rows[size] = {"absent_searches": len(absent.best), **rates, **usual.figures()}
    return rows


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Draw, embed, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        default=[Path("build/sameness")],
        help="data sets, searched together; drawn where they are not there, each of a seed one more "
        "than the last one's [%(default)s]",
    )
    parser.add_argument("--models", nargs="+", default=["osnet_ain.synthetic", "densenet121.synthetic"])
    parser.add_argument("--vehicles", type=int, default=500, help="to draw for each [%(default)s]")
    parser.add_argument("--images", type=int, default=8, help="of each vehicle [%(default)s]")
    parser.add_argument("--seed", type=int, default=202, help="of the first data set [%(default)s]")
    parser.add_argument("--sizes", type=int, nargs="+", default=[30, 100, 300, 1000, 3900])
    parser.add_argument("--searches", type=int, default=4000, help="for each size [%(default)s]")
    parser.add_argument("--asking", type=int, default=5000, help="pictures that ask at most [%(default)s]")
    parser.add_argument("--each", type=int, help="pictures of every vehicle in a gallery [1 to 8]")
    parser.add_argument("--passes", action="store_true", help="search mean vectors by vehicle and camera")
    parser.add_argument("--as-pictures", action="store_true", help="take these passes for pictures")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    sets = []
    for number, root in enumerate(arguments.data):
        if not root.exists():
            drawn = {
                # A split has so many at most. Both are of one city, and nothing is trained on either.
                "--train-ids": max(0, arguments.vehicles - MAX_IDS),
                "--test-ids": min(arguments.vehicles, MAX_IDS),
                "--images-per-id": arguments.images,
                "--seed": arguments.seed + number,
            }
            options = [str(each) for pair in drawn.items() for each in pair]
            command = [sys.executable, "-m", "training.synthesize", "--out", str(root), *options]
            subprocess.run(command, check=True, stdout=sys.stderr)
        splits = [split for split in ("train", "query", "test") if any((root / f"image_{split}").iterdir())]
        sets.append([record for split in splits for record in read_split(str(root), split)])
    vehicles, cameras = (
        np.concatenate(
            [
                number * _ANOTHER + np.array([getattr(each, name) for each in part])
                for number, part in enumerate(sets)
            ]
        )
        for name in ("vehicle_id", "camera_id")
    )
    found = {}
    for model in arguments.models:
        parts = [embed(model, root, part) for root, part in zip(arguments.data, sets, strict=True)]
        card = parts[0][1]
        told = Sameness.of(card)
        if told is not None and arguments.passes and not arguments.as_pictures:
            told = told.for_passes()
        if told is None:
            raise UserError(f"{model}: has no sameness calibration; see training.calibrate --sameness")
        labelled = np.concatenate([part for part, _ in parts]), vehicles, cameras
        if arguments.passes:
            *labelled, counts = pool_passes(*labelled, card.metric)
            print(f"{len(counts)} passes of {counts.mean():.2f} pictures, at most {counts.max()}", flush=True)
        asking = spread_over_vehicles(labelled[1], arguments.asking, np.random.default_rng(0))
        pictures = (labelled[0], labelled[1], labelled[2], card.metric)
        found[model] = judge(told, pictures, asking, arguments.sizes, arguments.searches, arguments.each)
        for size, row in found[model].items():
            print(model, size, " ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)
    if arguments.json:
        print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
