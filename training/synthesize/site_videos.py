"""A site's videos with their truth: an MP4 a camera, boxes as MOTChallenge has them, and journeys."""

import csv
import io
import json
import multiprocessing
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from tqdm import tqdm

from training.synthesize.difficulty import DIFFICULTIES
from training.synthesize.renderer.mesh import Vehicle
from training.synthesize.scene_video import HEIGHT, WIDTH, SceneVideo, TrueBox, widened
from training.synthesize.street.camera_site import CameraSite, draw_camera_site
from training.synthesize.street.tracks import draw_city
from training.synthesize.street.traffic import Passage, draw_traffic
from training.synthesize.vehicle_pictures import make_vehicle
from zoo.errors import UserError, from_extra
from zoo.labels import COLORS, TYPES

VERSION = 1
"""Of the generator: the same parameters give the same bytes as long as it stays the same."""

_BITS_A_SECOND = 2_000_000


@dataclass(frozen=True)
class VideoParameters:
    """What decides the bytes of a site's videos.

    Attributes:
        seed: of everything.
        cameras, vehicles: how many.
        seconds: of each video; all begin at the same time.
        rate: frames a second.
        difficulty: of `DIFFICULTIES`.
        plain_share: odds of a vehicle without marks of its own.
        lookalike_share: odds that a vehicle and the next are look-alikes.
    """

    seed: int
    cameras: int
    vehicles: int
    seconds: float
    rate: int
    difficulty: str
    plain_share: float
    lookalike_share: float = 0.0

    @property
    def frames(self) -> int:
        """Of each video."""
        return max(1, round(self.seconds * self.rate))


def make_videos(out: Path, parameters: VideoParameters, workers: int) -> dict[str, object]:
    """Draw the videos of a site into a new folder, which is there whole or not at all.

    Returns:
        what `site.json` says, and how fast it went: `seconds_taken`, `frames_a_second`.

    Raises:
        UserError: PyAV is missing, or the folder holds something or cannot be written.
    """
    try:
        import av  # noqa: F401
    except ModuleNotFoundError as error:
        raise UserError(f"drawing videos needs PyAV; it {from_extra('video')}") from error
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out}: is there and not empty; choose another folder")
    began = time.monotonic()
    part = out.with_name(f".{out.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        described = _write_all(part, parameters, workers)
        if out.exists():
            out.rmdir()
        part.rename(out)
    except OSError as error:
        raise UserError(
            f"--out {out}: cannot be written ({error.strerror or error}); choose another"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    taken = time.monotonic() - began
    speed = parameters.cameras * parameters.frames / taken
    return described | {"seconds_taken": round(taken, 1), "frames_a_second": round(speed, 1)}


def _write_all(folder: Path, parameters: VideoParameters, workers: int) -> dict[str, object]:
    numbers = range(1, parameters.cameras + 1)
    context = multiprocessing.get_context("spawn")
    with tqdm(total=len(numbers), unit="video", desc=f"synthesize {folder.name.strip('.')}") as bar:
        if workers == 1 or len(numbers) == 1:
            for number in numbers:
                write_camera(folder, parameters, number)
                bar.update()
        else:
            with ProcessPoolExecutor(min(workers, len(numbers)), context) as pool:
                for done in [pool.submit(write_camera, folder, parameters, number) for number in numbers]:
                    done.result()
                    bar.update()
    _, vehicles, passages = _draw_site(parameters)
    _write(folder / "journeys.csv", _journeys(passages, vehicles, parameters))
    places = [place.as_json() for place in draw_city(parameters.seed, parameters.cameras)]
    _write(folder / "cameras.json", json.dumps(places, indent=1) + "\n")
    described = {
        "generator": "training.synthesize --videos",
        "version": VERSION,
        "parameters": asdict(parameters),
        "passages": len(passages),
    }
    _write(folder / "site.json", json.dumps(described, indent=1) + "\n")
    return described


def write_camera(folder: Path, parameters: VideoParameters, number: int) -> None:
    """Draw one camera's video, and its truth beside it in a folder of the same name."""
    sites, vehicles, passages = _draw_site(parameters)
    mine = [passage for passage in passages if passage.camera_id == number]
    scene = SceneVideo(sites[number - 1], [vehicle.mesh for vehicle in vehicles], mine, parameters.seed)
    name = f"c{number:03d}"
    truth = folder / name
    (truth / "gt").mkdir(parents=True)
    rows = _encode(folder / f"{name}.mp4", scene, parameters)
    _write(truth / "gt" / "gt.txt", "".join(rows))
    lines = ("[Sequence]", f"name={name}", f"frameRate={parameters.rate}", f"seqLength={parameters.frames}")
    _write(truth / "seqinfo.ini", "\n".join((*lines, f"imWidth={WIDTH}", f"imHeight={HEIGHT}", "")))


@lru_cache(maxsize=1)
def _draw_site(parameters: VideoParameters) -> tuple[list[CameraSite], list[Vehicle], list[Passage]]:
    """All that is there, drawn once a process; depends on nothing but the parameters."""
    seed, strengths = parameters.seed, DIFFICULTIES[parameters.difficulty]
    sites = [widened(draw_camera_site(seed, n + 1, strengths)) for n in range(parameters.cameras)]
    shares = parameters.plain_share, parameters.lookalike_share
    vehicles = [make_vehicle(seed, "test", n, *shares) for n in range(parameters.vehicles)]
    lengths = [vehicle.size[0] for vehicle in vehicles]
    city = draw_city(seed, parameters.cameras)
    return sites, vehicles, draw_traffic(seed, city, sites, lengths, parameters.frames, parameters.rate)


def _encode(path: Path, scene: SceneVideo, parameters: VideoParameters) -> list[str]:
    """Write the video; return the lines of its truth.

    MPEG-4 on one thread, without anything that tells of release and time, so that the bytes stay the same.
    """
    import av

    rows = []
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("mpeg4", rate=parameters.rate)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.bit_rate = _BITS_A_SECOND
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = Fraction(1, parameters.rate)
        stream.codec_context.options = {"flags": "+bitexact"}
        for number in range(parameters.frames):
            pixels, boxes = scene.frame(number)
            rows += [_row(number, box) for box in boxes]
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return rows


def _row(frame: int, box: TrueBox) -> str:
    """MOTChallenge's: frame and vehicle from 1, box, 1 for "counts", class 3 for "car", visibility."""
    sides = ",".join(f"{side:.2f}" for side in (box.left, box.top, box.width, box.height))
    return f"{frame + 1},{box.vehicle + 1},{sides},1,3,{box.visible:.3f}\n"


def _journeys(passages: Sequence[Passage], vehicles: Sequence[Vehicle], parameters: VideoParameters) -> str:
    """A line for each passage, by vehicle and time."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("vehicle_id", "camera", "start", "end", "color", "type"))
    for each in sorted(passages, key=lambda each: (each.vehicle, each.first)):
        vehicle = vehicles[each.vehicle]
        end = min(each.last, parameters.frames - 1)
        times = (f"{frame / parameters.rate:.3f}" for frame in (each.first, end))
        writer.writerow(
            (each.vehicle + 1, each.camera_id, *times, COLORS[vehicle.color], TYPES[vehicle.type])
        )
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="")
