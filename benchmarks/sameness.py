"""`python -m benchmarks.sameness`: whether the probabilities and verdicts of searches keep their word.

Vehicles that neither training nor calibration saw are drawn where they are not there yet, and embedded as a
search node does it. Searches among them are made up: see `training.evaluation.trials`. What is shown is
held to the truth, beside what was shown before: the score, taken for a probability.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from retrieval.gallery.ranking import similarity
from serving import open_encoder
from serving.encoders.image import InputImage
from training.datasets import read_split
from training.datasets.records import Record
from training.evaluation.sameness_quality import expected_error, judge_sameness
from training.evaluation.trials import Pictures, Trial, make_trials
from zoo.errors import UserError, exit_on_user_error
from zoo.sameness import Sameness

_BATCH = 16


def embed(model: str, records: list[Record]) -> tuple[np.ndarray, str]:
    """Embeddings float32 [N, D] of pictures, and the metric that compares them."""
    encoder = open_encoder(model, threads=1)
    parts = []
    for start in tqdm(range(0, len(records), _BATCH), desc=model, leave=False):
        images = [InputImage.open(record.path) for record in records[start : start + _BATCH]]
        parts.append(encoder.encode(images).embedding)
    metric = encoder.card.metric
    encoder.close()
    return np.concatenate(parts), metric


def score_error(trials: list[Trial], metric: str, length: float) -> float:
    """The expected calibration error of the score of old, had it been a probability."""
    query = np.full(1, length)
    scores = [
        similarity(trial.distances, query, "cosine" if metric == "cosine" else "euclidean")
        for trial in trials
    ]
    return expected_error(np.concatenate(scores), np.concatenate([trial.is_same for trial in trials]))


def rows_of(
    pictures: Pictures, sameness: Sameness, metric: str, length: float, sizes: list[int], searches: int
):
    """A row of figures for each size of gallery."""
    for size in sizes:
        absent = judge_sameness(
            sameness, make_trials(pictures, np.random.default_rng(1), searches, [size], 0.999)
        )
        trials = make_trials(pictures, np.random.default_rng(2), searches // 2, [size])
        quality = judge_sameness(sameness, trials)
        figures = quality.figures() | {"absent_searches": int((~absent.is_present).sum())}
        figures |= {
            f"false_matches_at_{rate:g}": absent.false_matches(rate) for rate in (0.005, 0.01, 0.02, 0.05)
        }
        figures["low_at_0.01"], figures["high_at_0.01"] = absent.false_match_interval()
        yield {"size": size, **figures, "score_ece": score_error(trials, metric, length)}


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Draw, embed, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("build/sameness"), help="drawn here [%(default)s]")
    parser.add_argument("--models", nargs="+", default=["osnet_ain.synthetic", "densenet121.synthetic"])
    parser.add_argument("--vehicles", type=int, default=500, help="to draw, 8 pictures of each [%(default)s]")
    parser.add_argument("--sizes", type=int, nargs="+", default=[30, 100, 300, 1000, 3500])
    parser.add_argument("--searches", type=int, default=4000, help="for each size [%(default)s]")
    parser.add_argument(
        "--distractors", metavar="DATA_ROOT", help="whose training pictures fill galleries up"
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    if not arguments.data.exists():
        drawn = [
            "--train-ids",
            "0",
            "--test-ids",
            str(arguments.vehicles),
            "--images-per-id",
            "8",
            "--seed",
            "202",
        ]
        command = [sys.executable, "-m", "training.synthesize", "--out", str(arguments.data), *drawn]
        subprocess.run(command, check=True, stdout=sys.stderr)
    records = [each for split in ("query", "test") for each in read_split(str(arguments.data), split)]
    queries = len(records)
    if arguments.distractors:
        records += read_split(arguments.distractors, "train")
    ids = np.array([record.vehicle_id for record in records])
    ids[queries:] += 10**9
    cameras = np.array([record.camera_id for record in records])
    found = {}
    for model in arguments.models:
        embeddings, metric = embed(model, records)
        sameness = Sameness.of(open_encoder(model, threads=1).card)
        if sameness is None:
            raise UserError(f"{model}: has no sameness calibration; see training.calibrate --sameness")
        length = float(np.linalg.norm(embeddings[:queries], axis=1).mean())
        pictures = Pictures.of(embeddings, ids, cameras, metric, queries)
        found[model] = []
        for row in rows_of(pictures, sameness, metric, length, arguments.sizes, arguments.searches):
            found[model].append(row)
            print(model, " ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)
    if arguments.json:
        print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
