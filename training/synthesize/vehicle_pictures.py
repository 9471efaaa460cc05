"""One vehicle's pictures and labels: the unit of work, which a process does by itself."""

import json
import multiprocessing
import os
import signal
import threading
from dataclasses import asdict, dataclass
from functools import lru_cache
from multiprocessing.process import BaseProcess
from pathlib import Path

from training.synthesize.difficulty import DIFFICULTIES
from training.synthesize.identity import FIRST_ID, make_vehicle
from training.synthesize.pose_maps import write_heatmaps, write_segments
from training.synthesize.randomness import stream
from training.synthesize.renderer.effects import encode_jpeg
from training.synthesize.scene import Stage
from training.synthesize.street.camera_site import draw_site
from training.synthesize.street.tracks import choose_queries, draw_city, draw_track
from zoo.errors import UserError
from zoo.files import write_text

_JPEG_QUALITY = 92
"""Of the written files; the cameras' own compression comes before it."""

_TRAFFIC = 10
"""Other vehicles that stand in for the rest of the traffic."""


@dataclass(frozen=True)
class Parameters:
    """What decides a data set's bytes."""

    seed: int
    train_ids: int
    test_ids: int
    images_per_id: int
    size: int
    difficulty: str
    cameras: int
    heatmaps: bool
    segments: bool


def journal_path(out: Path, split: str, number: int) -> Path:
    """Where a finished vehicle's labels wait for the end of the run."""
    return out / ".progress" / f"{split}_{number:05d}.json"


@lru_cache(maxsize=1)
def _stages(seed: int, cameras: int, size: int, difficulty: str) -> dict[int, Stage]:
    """Every camera's street, built once a process."""
    strengths = DIFFICULTIES[difficulty]
    traffic = [make_vehicle(seed, "traffic", number).mesh for number in range(_TRAFFIC)]
    numbers = range(1, cameras + 1)
    return {number: Stage(draw_site(seed, number, strengths), strengths, size, traffic) for number in numbers}


def make_unit(out: Path, parameters: Parameters, split: str, number: int) -> int:
    """Write all pictures of vehicle `number` of "train" or "test", then its journal.

    Returns:
        The number of pictures.

    Raises:
        UserError: the folder cannot be written to.
    """
    stages = _stages(parameters.seed, parameters.cameras, parameters.size, parameters.difficulty)
    city = draw_city(parameters.seed, parameters.cameras)
    vehicle = make_vehicle(parameters.seed, split, number)
    rng = stream(parameters.seed, "track", split, number)
    sightings = draw_track(city, parameters.images_per_id, rng)
    queries = choose_queries(sightings, rng) if split == "test" else set()
    vehicle_id = FIRST_ID[split] + number
    rows: dict[str, list[str]] = {"train": [], "query": [], "test": []}
    try:
        for order, sighting in enumerate(sightings):
            shot = stream(parameters.seed, "shot", split, number, order)
            stage = stages[sighting.camera_id]
            view = stage.photograph(vehicle, sighting.lane, sighting.along, sighting.look, shot)
            folder = "query" if (sighting.camera_id, sighting.index) in queries else split
            stem = f"{vehicle_id:04d}_c{sighting.camera_id:03d}_{sighting.frame:08d}_{sighting.index}"
            image = encode_jpeg(view.picture, _JPEG_QUALITY)
            (out / f"image_{folder}" / f"{stem}.jpg").write_bytes(image)
            shape = view.picture.shape[:2]
            if parameters.heatmaps:
                write_heatmaps(out / f"heatmap_{folder}" / stem, view.keypoints, shape)
            if parameters.segments:
                write_segments(out / f"segment_{folder}" / stem, view.keypoints, shape)
            points = ",".join(f"{x:.2f},{y:.2f},{confidence:.3f}" for x, y, confidence in view.keypoints)
            rows[folder].append(f"{stem}.jpg,{vehicle_id},{vehicle.color + 1},{vehicle.type + 1},{points}")
    except OSError as error:
        raise UserError(
            f"{out}: cannot be written ({error.strerror or error}). Free some space and run the same command "
            "again: it continues where it stopped."
        ) from error
    write_text(journal_path(out, split, number), json.dumps(rows))
    return len(sightings)


def compile_renderer() -> None:
    """Draw one small picture, so that everything numba compiles is compiled and cached."""
    strengths = DIFFICULTIES["normal"]
    stage = Stage(draw_site(0, 1, strengths), strengths, 32, [])
    stage.photograph(make_vehicle(0, "traffic", 0), 0, 0.0, 0, stream(0, "compile"))


def start_worker(parameters: Parameters) -> None:
    """Make a fresh process ready: one thread, no ear for Ctrl-C, and an end when its parent ends."""
    import cv2
    import numba

    cv2.setNumThreads(1)
    numba.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        # A killed parent tells nobody; without this its workers would wait for work for ever.
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _stages(parameters.seed, parameters.cameras, parameters.size, parameters.difficulty)


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def as_json(parameters: Parameters) -> dict[str, object]:
    """The parameters as `dataset.json` holds them."""
    return asdict(parameters)
