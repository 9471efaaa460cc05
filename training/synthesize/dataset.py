"""A whole data set in VeRi layout: work handed out, journals gathered, a run continued."""

import contextlib
import fcntl
import json
import multiprocessing
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tqdm import tqdm

from training.synthesize.sheet import write_sheet
from training.synthesize.statistics import write_statistics
from training.synthesize.street.tracks import FRAMES_PER_SECOND, draw_city
from training.synthesize.vehicle_pictures import (
    Parameters,
    as_json,
    compile_renderer,
    journal_path,
    make_pictures_of,
    start_worker,
)
from zoo.errors import UserError
from zoo.files import write_text

VERSION = 1
"""Of the generator: the same parameters give the same bytes as long as it stays the same."""

SPLITS = ("train", "query", "test")


def make_dataset(out: Path, parameters: Parameters, workers: int) -> dict[str, object]:
    """Write the data set, or finish one that was begun; returns what `dataset.json` says.

    Raises:
        UserError: `out` holds something else, another run is at work there, or it cannot be written to.
    """
    described = {"generator": "training.synthesize", "version": VERSION, "parameters": as_json(parameters)}
    finished = out / "dataset.json"
    if finished.exists():
        _check_same(out, finished, described)
        return json.loads(finished.read_text(encoding="utf-8"))
    vehicles = [("train", k) for k in range(parameters.train_ids)]
    vehicles += [("test", k) for k in range(parameters.test_ids)]
    with _claim(out, described):
        todo = [vehicle for vehicle in vehicles if not journal_path(out, *vehicle).exists()]
        began = time.monotonic()
        made = _run(out, parameters, todo, workers, (len(vehicles) - len(todo)) * parameters.images_per_id)
        seconds = time.monotonic() - began
        rows = _gather(out, vehicles)
        for split in SPLITS:
            write_text(out / f"label_{split}.csv", "".join(f"{row}\n" for row in rows[split]))
        places = [place.as_json() for place in draw_city(parameters.seed, parameters.cameras)]
        write_text(
            out / "cameras.json", json.dumps({"fps": FRAMES_PER_SECOND, "cameras": places}, indent=1) + "\n"
        )
        write_sheet(out, rows)
        write_statistics(out, rows, made / seconds if made else None)
        counts = {"images": {split: len(rows[split]) for split in SPLITS}, "cameras": parameters.cameras}
        described |= {"counts": counts}
        # Last, because its presence says that everything else is there.
        write_text(finished, json.dumps(described, indent=1) + "\n")
    shutil.rmtree(out / ".progress", ignore_errors=True)
    return described


def _check_same(out: Path, path: Path, described: dict[str, object]) -> None:
    """Refuse to mix data sets: what was begun in `out` must be what is asked for."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        old = {"version": found["version"], **found["parameters"]}
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path}: cannot be read as a data set's description. Choose another --out."
        ) from error
    new = {"version": described["version"], **described["parameters"]}  # type: ignore[dict-item]
    changed = [
        f"{key} {old.get(key)} instead of {value}" for key, value in new.items() if old.get(key) != value
    ]
    if changed:
        raise UserError(
            f"{out}: holds a data set of other parameters ({', '.join(changed)}). "
            "Choose another --out, or remove that folder."
        )


@contextlib.contextmanager
def _claim(out: Path, described: dict[str, object]) -> Iterator[None]:
    """Prepare the folders, and keep other runs out of `out` meanwhile."""
    progress = out / ".progress"
    try:
        if out.exists() and not progress.exists() and any(out.iterdir()):
            raise UserError(
                f"{out}: is not empty and holds no data set of this generator. Choose another --out."
            )
        progress.mkdir(parents=True, exist_ok=True)
        for split in SPLITS:
            (out / f"image_{split}").mkdir(exist_ok=True)
        lock = open(progress / "lock", "w")  # noqa: SIM115
    except OSError as error:
        raise UserError(
            f"{out}: cannot be written ({error.strerror or error}). Choose another --out."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(
                f"{out}: another run is writing there. Wait for it or choose another --out."
            ) from error
        begun = progress / "parameters.json"
        if begun.exists():
            _check_same(out, begun, described)
        else:
            write_text(begun, json.dumps(described))
        for leftover in (*out.glob(".*.part"), *progress.glob(".*.part")):
            leftover.unlink()
        yield


def _run(out: Path, parameters: Parameters, todo: list[tuple[str, int]], workers: int, done: int) -> int:
    """Make the pictures of the vehicles of `todo`; returns the number of pictures made."""
    total = done + len(todo) * parameters.images_per_id
    made = 0
    with tqdm(total=total, initial=done, unit="image", desc=f"synthesize {out.name}", smoothing=0.1) as bar:
        if workers == 1 or len(todo) <= 1:
            for split, number in todo:
                count = make_pictures_of(out, parameters, split, number)
                bar.update(count)
                made += count
            return made
        # Here once, so that the workers find what numba compiled.
        compile_renderer()
        spawn = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(min(workers, len(todo)), spawn, start_worker)
        futures = [pool.submit(make_pictures_of, out, parameters, *vehicle) for vehicle in todo]
        try:
            pending = set(futures)
            while pending:
                finished, pending = wait(pending, timeout=0.5, return_when=FIRST_EXCEPTION)
                for future in finished:
                    count = future.result()
                    bar.update(count)
                    made += count
        except BrokenProcessPool as error:
            raise UserError(
                f"{out}: a worker process was killed (out of memory?). Run the same command again with fewer "
                "--workers: it continues where it stopped."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)
    return made


def _gather(out: Path, vehicles: list[tuple[str, int]]) -> dict[str, list[str]]:
    """Label rows of all journals, in the order of the vehicles."""
    rows: dict[str, list[str]] = {split: [] for split in SPLITS}
    for vehicle in vehicles:
        journal = json.loads(journal_path(out, *vehicle).read_text(encoding="utf-8"))
        for split in SPLITS:
            rows[split] += journal[split]
    return rows
