"""A site with streets between cameras and vehicles that drive through it, as passes with truth."""

from dataclasses import dataclass

import numpy as np

from retrieval.journeys.passes import Passes


@dataclass(frozen=True, eq=False)
class Site:
    """Passes, and whose they are: int64 [N]."""

    passes: Passes
    vehicle: np.ndarray


def make_site(
    seed: int,
    vehicles: int = 80,
    cameras: int = 5,
    noise: float = 0.9,
    minutes: float = 60.0,
    shared: bool = True,
    steady: bool = True,
) -> Site:
    """Let vehicles drive from camera to camera along a ring.

    Args:
        seed: of everything.
        vehicles, cameras: how many.
        noise: of a look, in sizes of the difference between vehicles; cameras add offsets of their own.
        minutes: in which the vehicles come.
        shared: whether a vehicle comes to more than one camera at all.
        steady: whether the travel times of a street are alike; if not, they tell nothing.
    """
    rng = np.random.default_rng(seed)
    looks = rng.normal(size=(vehicles, 32))
    # Few models and colours: some vehicles look nearly the same.
    models = looks[: vehicles // 8].repeat(4, axis=0)
    looks[: len(models)] = models + 0.3 * rng.normal(size=models.shape)
    offset = rng.normal(size=(cameras, 32))
    street = rng.uniform(40, 300, cameras)
    rows = []
    for vehicle in range(vehicles):
        time, camera = rng.uniform(0, 60 * minutes), int(rng.integers(cameras))
        for _ in range(int(rng.integers(3, cameras + 1)) if shared else 1):
            rows.append((time, vehicle, camera))
            slow = rng.lognormal(0, 0.1) if steady else rng.uniform(0.05, 10)
            time += street[camera] * slow
            camera = (camera + 1) % cameras
    rows.sort()
    time = np.array([row[0] for row in rows])
    vehicle, camera = (np.array([row[place] for row in rows]) for place in (1, 2))
    embedding = looks[vehicle] + offset[camera] + noise * rng.normal(size=(len(rows), 32))
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    nothing = np.zeros((len(rows), 0), np.float32)
    passes = Passes(
        tuple((f"pass-{number}",) for number in range(len(rows))),
        camera.astype(np.int64),
        time,
        time + 2.0,
        np.full((len(rows), 2), np.nan),
        embedding.astype(np.float32),
        nothing,
        nothing,
    )
    return Site(passes, vehicle)
