"""`python -m benchmarks.journeys`: how well passes are joined across cameras, with and without travel times.

A drawn city's pictures (`vehicle-reid synthesize`) are embedded as a search node does it. The pictures of one
vehicle at one camera are a pass, whose vectors are pooled, or one of them is taken. Their truth measures what
`vehicle-reid link` makes of them; nothing is told it.
"""

import argparse
import json
import sys
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from retrieval.journeys.linking import LinkOptions, link
from retrieval.journeys.passes import Passes
from serving import open_encoder
from serving.encoders.image import InputImage
from zoo.errors import exit_on_user_error
from zoo.labels import parse_veri_name

_BATCH = 16
_FRAMES_A_SECOND = 25


def cross_camera_idf1(vehicle: np.ndarray, ways: list[list[int]]) -> float:
    """IDF1 of Ristani et al. (ECCV Workshops 2016) with passes for boxes: the truth's share in journeys.

    Vehicles and journeys are paired so that most passes agree. All passes are found, so that precision and
    recall of identities are the same.

    Args:
        vehicle: whose each pass is, int64 [N].
        ways: the rows of the journeys; a pass of none is one by itself.
    """
    found = -np.ones(len(vehicle), np.int64)
    for number, way in enumerate(ways):
        found[way] = number
    alone = found < 0
    found[alone] = len(ways) + np.arange(alone.sum())
    _, true = np.unique(vehicle, return_inverse=True)
    shared = np.zeros((true.max() + 1, found.max() + 1))
    np.add.at(shared, (true, found), 1)
    return float(shared[linear_sum_assignment(-shared)].sum() / len(vehicle))


def read_city(folder: Path, model: str, hours: float) -> tuple[Passes, Passes, np.ndarray, str]:
    """The passes of a drawn city, pooled and not, their vehicles, and the metric of their embeddings.

    Args:
        folder: of the data set.
        model: an encoder's name.
        hours: in which all vehicles come; the drawing's four hours are pressed into them, not the ways.
    """
    groups: dict[tuple[int, int], list[tuple[float, Path]]] = defaultdict(list)
    for path in sorted([*folder.glob("image_test/*.jpg"), *folder.glob("image_query/*.jpg")]):
        name = parse_veri_name(path.name)
        if name is not None:
            time = int(path.name.split("_")[2]) / _FRAMES_A_SECOND
            groups[name.vehicle_id, name.camera_id].append((time, path))
    first: dict[int, float] = {}
    for (vehicle, _), pictures in groups.items():
        first[vehicle] = min(first.get(vehicle, np.inf), *(time for time, _ in pictures), np.inf)
    # A vehicle keeps its way and comes earlier or later as a whole.
    rng = np.random.default_rng(0)
    shift = {vehicle: rng.uniform(0, 3600 * hours) - time for vehicle, time in sorted(first.items())}
    members = sorted(
        ((min(p)[0] + shift[v], max(p)[0] + shift[v], v, c, [path for _, path in sorted(p)]))
        for (v, c), p in groups.items()
    )
    with closing(open_encoder(model, threads=1)) as encoder:
        rows = []
        for number, (*_, paths) in enumerate(members):
            said = encoder.encode([InputImage.open(path) for path in paths[:_BATCH]])
            rows.append((said.embedding, said.color_probs, said.type_probs))
            if number % 100 == 0:
                print(f"\r{number} of {len(members)} passes", end="", file=sys.stderr)
        metric = encoder.card.metric

    def passes(pool: bool) -> Passes:
        parts = [
            np.array([(p.mean(axis=0) if pool else p[len(p) // 2]) for p in each])
            for each in zip(*rows, strict=True)
        ]
        return Passes(
            tuple((str(paths[0]),) for *_, paths in members),
            np.array([member[3] for member in members], np.int64),
            np.array([member[0] for member in members]),
            np.array([member[1] for member in members]),
            np.full((len(members), 2), np.nan),
            *parts,
        )

    return passes(True), passes(False), np.array([member[2] for member in members]), metric


@exit_on_user_error
def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder of `vehicle-reid synthesize`")
    parser.add_argument("--model", default="osnet_ain.synthetic")
    parser.add_argument("--hours", type=float, default=1.0, help="in which all vehicles come [%(default)g]")
    args = parser.parse_args()
    pooled, single, vehicle, metric = read_city(args.data, args.model, args.hours)
    print(f"\n{len(set(vehicle.tolist()))} vehicles, {len(pooled)} passes, {args.model}")
    print(
        "| vector | travel times | links | right | IDF1 at 0.5 | best IDF1, at |\n|---|---|---|---|---|---|"
    )
    for name, passes in (("pooled", pooled), ("one picture", single)):
        for travel in (True, False):
            figures = {}
            for certainty in (0.5, 0.05, 0.1, 0.2, 0.3, 0.7):
                linked = link(passes, metric, LinkOptions(certainty=certainty, uses_travel=travel))
                figures[certainty] = cross_camera_idf1(vehicle, linked.journeys(len(passes)))
                if certainty == 0.5:
                    chosen = linked.is_chosen
                    same = vehicle[linked.earlier[chosen]] == vehicle[linked.later[chosen]]
            best = max(figures, key=lambda each: figures[each])
            print(
                f"| {name} | {'yes' if travel else 'no'} | {len(same)} | {same.mean():.3f} | "
                f"{figures[0.5]:.3f} | {figures[best]:.3f}, {best:g} |"
            )
            print(json.dumps({"pooled": name, "travel": travel, **figures}), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
