"""One vehicle's pictures and labels, which a process makes by itself."""

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, lru_cache, partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import cv2
import numpy as np

from training.synthesize.difficulty import DIFFICULTIES
from training.synthesize.randomness import seed_of, stream
from training.synthesize.renderer.effects import encode_jpeg
from training.synthesize.renderer.mesh import Mesh
from training.synthesize.scene import Stage
from training.synthesize.street.camera_site import draw_camera_site
from training.synthesize.street.tracks import choose_queries, draw_city, draw_track
from training.synthesize.vehicle.build import Vehicle, build_vehicle
from zoo.errors import UserError
from zoo.files import write_text
from zoo.labels import COLORS, TYPES
from zoo.pose import SEGMENTS, visible_segments

_JPEG_QUALITY = 92
"""Of the written files; the cameras' own compression comes before it."""

_MAP_QUALITY = 90
"""Of heatmaps and segments."""

FIRST_ID = {"train": 1, "test": 5001}
"""Vehicle ids of the two splits never meet, however many vehicles either has."""

MAX_IDS = 4999
"""Vehicles that a split can have: ids keep four digits."""

_COLOR_DECK = {"white": 9, "black": 7, "gray": 6, "red": 4, "blue": 4, "golden": 3, "yellow": 2, "green": 2,
               "brown": 2, "orange": 1}  # fmt: skip
_TYPE_DECK = {"sedan": 11, "suv": 8, "hatchback": 5, "van": 4, "mpv": 3, "truck": 3, "pickup": 2, "bus": 2,
              "estate": 2}  # fmt: skip
"""Cards of a deck of 40: as uneven as a street, and everything occurs within 40 vehicles."""

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
    plain_share: float = 0.0
    lookalike_share: float = 0.0


def color_and_type(seed: int, split: str, number: int) -> tuple[int, int]:
    """0-based colour and type of vehicle `number` of a split: dealt from shuffled decks of 40."""
    deck, place = divmod(number, 40)
    rng = stream(seed, "deck", split, deck)
    colors = [COLORS.index(name) for name, count in _COLOR_DECK.items() for _ in range(count)]
    types = [TYPES.index(name) for name, count in _TYPE_DECK.items() for _ in range(count)]
    return colors[rng.permutation(40)[place]], types[rng.permutation(40)[place]]


def make_vehicle(
    seed: int, split: str, number: int, plain_share: float = 0.0, lookalike_share: float = 0.0
) -> Vehicle:
    """Build vehicle `number` of a split; depends on nothing but the arguments.

    Args:
        seed: of the data set.
        split: "train", "test" or "traffic".
        number: of the vehicle within the split.
        plain_share: odds that it is plain: without stripes, stickers and parts of another colour, as most
            real vehicles are.
        lookalike_share: odds that it and its neighbour (0 and 1, 2 and 3 ..) are a pair of look-alikes, which
            differ in one small thing.
    """
    # Streams of their own: shares of 0 give the very vehicles that were drawn before there were any.
    is_pair = lookalike_share > 0 and stream(seed, "pair", split, number // 2).random() < lookalike_share
    first = number - number % 2 if is_pair else number
    difference = stream(seed, "difference", split, number) if first < number else None
    color, kind = color_and_type(seed, split, first)
    plain = plain_share > 0 and stream(seed, "plain", split, first).random() < plain_share
    loudness = 0.0 if plain else 1.0
    return build_vehicle(seed_of(seed, "vehicle", split, first), color, kind, loudness, difference)


def journal_path(out: Path, split: str, number: int) -> Path:
    """Where a finished vehicle's labels wait for the end of the run."""
    return out / ".progress" / f"{split}_{number:05d}.json"


@lru_cache(maxsize=1)
def _stages(seed: int, size: int, difficulty: str, plain_share: float) -> Callable[[int], Stage]:
    """Every camera's street by its number, built once a process, when first asked for: a small data set
    shows few of them.
    """
    strengths = DIFFICULTIES[difficulty]

    @cache
    def mesh(number: int) -> Mesh:
        return make_vehicle(seed, "traffic", number, plain_share).mesh

    traffic = [partial(mesh, number) for number in range(_TRAFFIC)]

    @cache
    def stage(camera_id: int) -> Stage:
        return Stage(draw_camera_site(seed, camera_id, strengths), strengths, size, traffic)

    return stage


def make_pictures_of(out: Path, parameters: Parameters, split: str, number: int) -> int:
    """Write all pictures of vehicle `number` of "train" or "test", then its journal.

    Returns:
        The number of pictures.

    Raises:
        UserError: the folder cannot be written to.
    """
    stages = _stages(parameters.seed, parameters.size, parameters.difficulty, parameters.plain_share)
    city = draw_city(parameters.seed, parameters.cameras)
    vehicle = make_vehicle(parameters.seed, split, number, parameters.plain_share, parameters.lookalike_share)
    rng = stream(parameters.seed, "track", split, number)
    sightings = draw_track(city, parameters.images_per_id, rng)
    queries = choose_queries(sightings, rng) if split == "test" else set()
    vehicle_id = FIRST_ID[split] + number
    rows: dict[str, list[str]] = {"train": [], "query": [], "test": []}
    try:
        for order, sighting in enumerate(sightings):
            shot = stream(parameters.seed, "shot", split, number, order)
            stage = stages(sighting.camera_id)
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


def write_heatmaps(folder: Path, keypoints: np.ndarray, shape: tuple[int, int]) -> None:
    """Write one Gaussian a keypoint, as high as its confidence, as 00.jpg, 01.jpg, ... of (height, width)."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = np.arange(shape[0], dtype=np.float32)
    columns = np.arange(shape[1], dtype=np.float32)
    sigma = max(shape) / 40
    for index, (x, y, confidence) in enumerate(keypoints):
        down = np.exp(-((rows - y) ** 2) / (2 * sigma**2))
        across = np.exp(-((columns - x) ** 2) / (2 * sigma**2))
        heat = np.outer(down, across) * (255 * min(1.0, float(confidence)))
        (folder / f"{index:02d}.jpg").write_bytes(encode_jpeg(np.round(heat).astype(np.uint8), _MAP_QUALITY))


def write_segments(folder: Path, keypoints: np.ndarray, shape: tuple[int, int]) -> None:
    """Write one filled quad a surface, black where any of its corners has a confidence under 0.5."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = visible_segments(keypoints)
    for index, corners in enumerate(SEGMENTS):
        mask = np.zeros(shape, np.uint8)
        if shown[index]:
            cv2.fillPoly(mask, [np.round(keypoints[list(corners), :2]).astype(np.int32)], 255)
        (folder / f"{index:02d}.jpg").write_bytes(encode_jpeg(mask, _MAP_QUALITY))


def compile_renderer() -> None:
    """Draw one small picture, so that everything numba compiles is compiled and cached."""
    strengths = DIFFICULTIES["normal"]
    stage = Stage(draw_camera_site(0, 1, strengths), strengths, 32, [])
    stage.photograph(make_vehicle(0, "traffic", 0), 0, 0.0, 0, stream(0, "compile"))


def start_worker() -> None:
    """Make a fresh process ready: one thread, no ear for Ctrl-C, and an end when its parent ends."""
    import numba

    cv2.setNumThreads(1)
    numba.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        # A killed parent tells nobody; without this its workers would wait for work for ever.
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def as_json(parameters: Parameters) -> dict[str, object]:
    """The parameters as `dataset.json` holds them; without a share of 0, as before there was any."""
    described = asdict(parameters)
    for share in ("plain_share", "lookalike_share"):
        if not described[share]:
            del described[share]
    return described
