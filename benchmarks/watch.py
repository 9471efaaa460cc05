"""`python -m benchmarks.watch`: whether the watch on cases raises as many false alarms a day as it promises.

A week is simulated: vehicles that neither training nor calibration saw are drawn where they are not there yet
and embedded as a search node does it; some fill the gallery, most come over seven days, and some are watched
for, half of which never come. The real gallery, cases and watcher are asked, with a clock that is set.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.sameness import embed
from retrieval.cases.case import Case, Findings, new_id
from retrieval.cases.store import CaseStore
from retrieval.cases.watch import Watcher
from retrieval.cases.watch_state import DAY
from retrieval.galleries import open_gallery
from retrieval.gallery.entries import Entry, GalleryModel
from serving import open_encoder
from training.datasets import read_split
from zoo.errors import exit_on_user_error

START = 20_000 * DAY
LOOKS_A_DAY = 8


def simulate(
    embeddings: np.ndarray,
    vehicles: np.ndarray,
    model: GalleryModel,
    promised: list[float],
    watched: int,
    images: int,
    seed: int = 0,
) -> list[dict[str, float]]:
    """Let a week pass; return a row of figures for each promise.

    Args:
        embeddings: float32 [N, D].
        vehicles: whose they are, int64 [N].
        model: that made them.
        promised: false alarms a day.
        watched: vehicles; every other one never comes.
        images: that the gallery has when the week begins.
        seed: of all chance.
    """
    random = np.random.default_rng(seed)
    names = random.permutation(np.unique(vehicles))
    queries = {int(name): int(random.choice(np.flatnonzero(vehicles == name))) for name in names[:watched]}
    present = {name for place, name in enumerate(queries) if place % 2}
    others = random.permutation(np.flatnonzero(~np.isin(vehicles, list(queries))))
    own = [row for row in np.flatnonzero(np.isin(vehicles, list(present))) if row not in queries.values()]
    coming = random.permutation([*others[images:], *own])

    def entries(rows: np.ndarray) -> list[Entry]:
        return [Entry(str(row), embeddings[row], vehicle_id=int(vehicles[row])) for row in rows]

    now = [START]
    with tempfile.TemporaryDirectory() as folder, open_gallery(folder, model=model, writable=True) as gallery:
        gallery.add(entries(others[:images]))
        store = CaseStore(gallery.folder)
        findings = Findings(model_hash=model.hash)
        made = {
            (name, alarms): store.put(
                Case(
                    new_id(), str(name), embedding=embeddings[row], findings=findings, alarms_per_day=alarms
                ),
                None,
            )
            for name, row in queries.items()
            for alarms in promised
        }
        watcher = Watcher(gallery, store, lambda: now[0])
        watcher.look()
        for number, rows in enumerate(np.array_split(coming, 7 * LOOKS_A_DAY)):
            now[0] = START + (number + 0.5) * DAY / LOOKS_A_DAY
            gallery.add(entries(rows))
            watcher.look()
        found = {
            each: [] if (state := store.watch_state(case.id)) is None else [a.key for a in state.found]
            for each, case in made.items()
        }
    rows = []
    for alarms in promised:
        false = np.array(
            [sum(vehicles[int(key)] != name for key in found[name, alarms]) / 7 for name in queries]
        )
        right = {n: sum(vehicles[int(key)] == n for key in found[n, alarms]) for n in present}
        of = {name: int(np.count_nonzero(vehicles == name)) - 1 for name in present}
        rows.append(
            {
                "promised": alarms,
                "false_alarms_a_day": float(false.mean()),
                "above_twice_the_promise": float((false > 2 * alarms).mean()),
                "right_images_told": sum(right.values()) / sum(of.values()),
                "vehicles_told": float(np.mean([count > 0 for count in right.values()])),
                "images_a_day": len(coming) / 7,
                "watches": len(queries),
            }
        )
    return rows


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Draw, embed, let a week pass, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("build/sameness"), help="drawn here [%(default)s]")
    parser.add_argument("--model", default="lite0_osnet.real")
    parser.add_argument("--vehicles", type=int, default=500, help="to draw, 8 pictures of each [%(default)s]")
    parser.add_argument("--watched", type=int, default=100, help="vehicles [%(default)s]")
    parser.add_argument("--gallery", type=int, default=800, help="images at the beginning [%(default)s]")
    parser.add_argument("--promised", type=float, nargs="+", default=[0.1, 1.0, 5.0])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    if not arguments.data.exists():
        drawn = ["--train-ids", "0", "--test-ids", str(arguments.vehicles), "--images-per-id", "8"]
        command = [sys.executable, "-m", "training.synthesize", "--out", str(arguments.data), *drawn]
        subprocess.run([*command, "--seed", "202"], check=True, stdout=sys.stderr)
    records = [each for split in ("query", "test") for each in read_split(str(arguments.data), split)]
    embeddings, _ = embed(arguments.model, records)
    vehicles = np.array([record.vehicle_id for record in records])
    encoder = open_encoder(arguments.model, threads=1)
    model = GalleryModel(encoder.card, "0" * 64)
    encoder.close()
    rows = simulate(embeddings, vehicles, model, arguments.promised, arguments.watched, arguments.gallery)
    for row in rows:
        print(" ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)
    if arguments.json:
        print(json.dumps(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
