"""A part of the training vehicles as queries and gallery, where a data set has no query split."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from training.datasets.records import Record
from zoo.errors import UserError

SHARE = 0.2
"""Of the vehicles that can be asked for."""


@dataclass(frozen=True)
class SetAside:
    """A training split taken apart.

    Attributes:
        train: pictures of the vehicles that stay.
        query: of each vehicle that is set aside, one picture a camera.
        gallery: all pictures of those vehicles; without the queries where all pictures are of one camera.
    """

    train: list[Record]
    query: list[Record]
    gallery: list[Record]

    def sentence(self) -> str:
        """Say what was done."""
        aside, stay = ({record.vehicle_id for record in part} for part in (self.gallery, self.train))
        return (
            f"no query split: {len(aside)} of {len(aside) + len(stay)} vehicles are set aside to evaluate on "
            f"({len(self.query)} queries, {len(self.gallery)} gallery images)"
        )


def set_aside(records: Sequence[Record], source: Path, share: float = SHARE, seed: int = 0) -> SetAside:
    """Draw the vehicles to evaluate on, always the same for the same records and seed.

    Drawn are vehicles that two cameras saw. Where all pictures are of one camera, or none is told, they are
    vehicles with two pictures, and queries and gallery count as two cameras.

    Args:
        records: the training split.
        source: of the records, for messages.
        share: of those vehicles.
        seed: of the draw.

    Raises:
        UserError: too few vehicles could be found again to be set aside.
    """
    places: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, record in enumerate(records):
        places[record.vehicle_id][record.camera_id].append(index)
    one_camera = len({record.camera_id for record in records}) == 1
    candidates = sorted(
        vehicle
        for vehicle, cameras in places.items()
        if (sum(map(len, cameras.values())) if one_camera else len(cameras)) > 1
    )
    count = min(max(2, round(share * len(candidates))), len(candidates), len(places) // 2)
    if not count:
        needed = "with two pictures" if one_camera else "that two cameras saw"
        raise UserError(
            f"{source}: has no query split, and too few vehicles to set some aside: {len(places)}, "
            f"{len(candidates)} of them {needed}; name another data set to evaluate on, "
            "in training with --evaluate-on"
        )
    rng = np.random.default_rng(seed)
    aside = {candidates[index] for index in rng.choice(len(candidates), count, replace=False)}
    queries = {int(rng.choice(group)) for vehicle in sorted(aside) for group in places[vehicle].values()}
    gallery = [
        replace(record, camera_id=record.camera_id + 1) if one_camera else record
        for index, record in enumerate(records)
        if record.vehicle_id in aside and not (one_camera and index in queries)
    ]
    return SetAside(
        [record for record in records if record.vehicle_id not in aside],
        [records[index] for index in sorted(queries)],
        gallery,
    )
