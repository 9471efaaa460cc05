"""`python -m benchmarks.camera_load`: what a frame costs from the file to the gallery, and the memory.

The costs are processor seconds a frame, so that other work on the machine matters less than for frames a
second, which are told as well. The bare network, the detector, and the whole road with it, which decodes,
take the same frames in turns. The memory is that of an hour of one drawn camera, whose video is looped and
whose boxes are the truth's.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks.memory import resident
from benchmarks.site_truth import TrueDetector, camera_names
from retrieval.galleries import open_gallery
from retrieval.gallery.entries import Facts, GalleryModel
from retrieval.sources.decoding import VideoFrame, decode, open_video
from retrieval.sources.detector import Detector, find_detector
from retrieval.sources.passes import Pass, Passes
from retrieval.sources.pipeline import ingest
from retrieval.sources.read_ahead import read_ahead, reading_threads
from retrieval.sources.video import Shot, read_video
from serving import open_encoder
from serving.encoders.encoder import Encoder
from zoo.errors import exit_on_user_error

_RATE = 5.0


def costs(video: Path, name: str, encoder: Encoder, rounds: int) -> dict[str, dict[str, float]]:
    """What each side costs: processor seconds a frame, and frames a second of wall time; medians.

    The bare network runs on one thread, on as many as the whole road takes, and as many times at once.
    """
    detector = Detector(name)
    threads = reading_threads()
    model = GalleryModel(encoder.card, encoder.model_hash, "")
    with open_video(str(video.resolve())) as container:
        frames = [each.pixels for each in decode(container, _RATE) if isinstance(each, VideoFrame)]
    network, on_threads = _network(name, 1), _network(name, threads)

    def whole() -> None:
        with (
            tempfile.TemporaryDirectory() as folder,
            open_gallery(folder, model=model, writable=True) as kept,
        ):
            ingest(read_video(video, Shot(rate=_RATE, camera=1), detector, 5), kept, encoder)

    sides: dict[str, Callable[[], None]] = {
        "network": lambda: _each(frames, network),
        "network_on_threads": lambda: _each(frames, on_threads),
        "networks_at_once": lambda: _each(frames, network, threads),
        "detector": lambda: _each(frames, detector.find),
        "detectors_at_once": lambda: _each(frames, detector.find, threads),
        "whole": whole,
    }
    spent: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, work in sides.items():
            begun = time.process_time(), time.perf_counter()
            work()
            spent[side].append((time.process_time() - begun[0], time.perf_counter() - begun[1]))
    costs = {side: np.median(each, axis=0) / len(frames) for side, each in spent.items()}
    return {side: {"seconds": cost, "frames_a_second": 1 / wall} for side, (cost, wall) in costs.items()}


def _network(name: str, threads: int) -> Callable[[np.ndarray], object]:
    """A detector's network by itself, which is given the same gray image whatever the frame."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        str(find_detector(name)), options, providers=["CPUExecutionProvider"]
    )
    (taken,) = session.get_inputs()
    planes = np.full(taken.shape, 114, np.float32)
    return lambda _: session.run(None, {taken.name: planes})


def _each(frames: list[np.ndarray], do: Callable[[np.ndarray], object], threads: int = 1) -> None:
    for _ in read_ahead(frames, do, threads, depth=threads + 1):
        pass


def memory(site: Path, encoder: Encoder, seconds: float) -> list[tuple[float, int, int]]:
    """Seconds of video, passes in the gallery and resident MiB, about ten times on the way."""
    name = camera_names(site)[0]
    detector = TrueDetector(site / name / "gt" / "gt.txt")
    passes, found = Passes(name, name, detector.confidence), []

    def looped() -> Iterator[Pass]:
        begun, facts = 0.0, Facts(camera=1, time=0.0)
        while begun < seconds:
            with open_video(str((site / f"{name}.mp4").resolve())) as container:
                for detector.frame, each in enumerate(decode(container, 1000)):
                    if isinstance(each, VideoFrame):
                        now = begun + each.time
                        facts = Facts(camera=1, time=now)
                        yield from passes.add(VideoFrame(now, each.pixels), facts, detector.find())
            begun = now + 10
            if begun >= seconds / 10 * (len(found) + 1):
                found.append((begun, len(gallery), resident() // 2**20))
        yield from passes.finish(facts, begun)

    model = GalleryModel(encoder.card, encoder.model_hash, "")
    with tempfile.TemporaryDirectory() as folder, open_gallery(folder, model=model, writable=True) as gallery:
        ingest(looped(), gallery, encoder, is_live=True)
    return found


@exit_on_user_error
def main() -> int:
    """Measure, and print what was found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--detector", required=True, help="a name, or an ONNX file")
    parser.add_argument("--site", type=Path, required=True, help="of `synthesize --videos`, for the memory")
    parser.add_argument("--model", default="lite0_osnet.real")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3600.0, help="of video for the memory [%(default)g]")
    args = parser.parse_args()
    with closing(open_encoder(args.model, threads=1)) as encoder:
        print(json.dumps(costs(args.video, args.detector, encoder, args.rounds)), flush=True)
        print(json.dumps({"memory": memory(args.site, encoder, args.seconds)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
