"""Frames of a video, or the vehicles that a detector finds in them."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any

from retrieval.gallery.entries import Facts
from retrieval.sources.crop import crop
from retrieval.sources.decoding import Fault, VideoFrame, decode, open_video
from retrieval.sources.detector import Detection, Detector, DetectorError
from retrieval.sources.passes import UNCERTAIN, Passes
from retrieval.sources.read_ahead import read_ahead, reading_threads
from retrieval.sources.source import Picture, Source, Unusable
from retrieval.sources.streams import Connection, follow, is_stream, named_time, recordings, without_secrets
from serving.encoders.image import InputImage
from zoo.errors import UserError
from zoo.preprocess import ImageError

_AHEAD = 10
"""Frames of a recording that wait, looked at, while the pictures of a pass are encoded."""

_FAILURES = 10
"""Frames that a detector may fail on one after the other until it is given up."""


@dataclass(frozen=True)
class Shot:
    """What is known of a video as a whole, and how it is read.

    Attributes:
        rate: frames a second that are looked at; the video's own where that is less.
        camera: whose it is, where that is known.
        start: time of its first frame, in seconds.
        zone: of the times that the names of recordings tell.
        hardware: see `open_video`.
        stays: waits for new recordings in a folder.
        seconds: after which a stream ends; None for never.
    """

    rate: float = 1.0
    camera: int | None = None
    start: float = 0.0
    zone: tzinfo = UTC
    hardware: str | None = None
    stays: bool = False
    seconds: float | None = None


@dataclass(frozen=True)
class Film:
    """One video on its way.

    Attributes:
        name: what keys begin with.
        root: the whole path or address.
        start: time of the frames' zero, in seconds.
        frames: what is decoded.
        is_live: whether each frame has to be seen to as it comes.
    """

    name: str
    root: str
    start: float
    frames: Iterator[VideoFrame | Fault] = field(repr=False)
    is_live: bool = False

    def moment(self, time: float) -> str:
        """What a moment of it is called."""
        return f"{self.name}#{time:.3f}s"

    def facts(self, frame: VideoFrame, shot: Shot) -> Facts:
        """What is known of a frame."""
        return Facts(camera=shot.camera, time=round(self.start + frame.time, 3))


def read_video(
    address: str | Path, shot: Shot, detector: Detector | None = None, crops: int = 0
) -> Iterator[Source]:
    """Go through a video once, and yield its frames, or the vehicles that a detector finds in them.

    A frame is called `NAME#SECONDSs`, and a box in it `NAME#SECONDSs/LEFT,TOP,RIGHT,BOTTOM`; running it again
    gives the same. Where a video is damaged, a bad image says so, and what can be decoded is kept.

    Args:
        address: a file; a folder of recordings; or a stream that whoever runs the program names.
        shot: what is known of it.
        detector: finds vehicles; None for whole frames.
        crops: how many, at most, one pass of a vehicle is made of; 0 for each box by itself.

    Raises:
        UserError: no such video, or nothing that plays it.
    """
    return _sources(films(str(address), shot), shot, detector, crops)


def _sources(films: Iterable[Film], shot: Shot, detector: Detector | None, crops: int) -> Iterator[Source]:
    for film in films:
        passes = None
        if detector is not None and crops:
            passes = Passes(film.name, film.root, detector.confidence, crops)
        last: VideoFrame | None = None
        failures = 0
        for frame, found in _looked_at(film, detector, UNCERTAIN if passes is not None else None):
            if isinstance(frame, Fault):
                reason = f"{film.root}: {frame.reason}"
                yield Unusable(f"{film.moment(frame.time)}: {frame.reason}", reason, root=film.root)
                continue
            if isinstance(found, DetectorError):
                failures += 1
                if failures >= _FAILURES:
                    if passes is not None:
                        yield from passes.finish(film.facts(frame, shot), frame.time)
                    raise found
                yield Unusable(film.moment(frame.time), f"{film.root}: {found}", root=film.root)
                continue
            failures = 0
            if passes is None:
                yield from _vehicles(film, frame, shot, found)
            else:
                last = frame
                yield from passes.add(frame, film.facts(frame, shot), found or [])
        if passes is not None and last is not None:
            yield from passes.finish(film.facts(last, shot), last.time)


def _looked_at(
    film: Film, detector: Detector | None, least: float | None
) -> Iterator[tuple[VideoFrame | Fault, list[Detection] | DetectorError | None]]:
    """A film's frames, each with what a detector finds in it or how it fails; None without a detector.

    Of a recording the next frames are looked at meanwhile, each on a core of its own.
    """
    if detector is None:
        for frame in film.frames:
            yield frame, None
        return

    def look(frame: VideoFrame | Fault) -> list[Detection] | DetectorError | None:
        if isinstance(frame, Fault):
            return None
        try:
            return detector.find(frame.pixels, least)
        except DetectorError as error:
            return error

    threads = 1 if film.is_live else reading_threads()
    for frame, found in read_ahead(film.frames, look, threads, depth=1 if film.is_live else threads + _AHEAD):
        assert not isinstance(found, ImageError)  # which nobody raises here
        yield frame, found


def films(address: str, shot: Shot) -> Iterable[Film]:
    """Open the videos that are meant: one file, the recordings of a folder, or a stream.

    Raises:
        UserError: see `read_video`.
    """
    if is_stream(address):
        name = without_secrets(address)
        connection = Connection(shot.rate, shot.hardware, shot.seconds)
        return [Film(name.partition("://")[2], name, 0.0, follow(address, connection), is_live=True)]
    path = Path(address)
    if path.is_dir():
        return _all_of(path, recordings(path, shot.stays), shot)
    return [Film(path.name, os.path.abspath(path), shot.start, _recording(path, shot))]


def _all_of(folder: Path, files: Iterator[Path], shot: Shot) -> Iterator[Film]:
    for each in files:
        name, start = each.relative_to(folder).as_posix(), named_time(each.name, shot.zone)
        start = shot.start if start is None else start
        try:
            frames = _recording(each, shot)
        except UserError as error:
            frames = iter([Fault(0.0, str(error))])
        yield Film(name, os.path.abspath(each), start, frames)


def _recording(path: Path, shot: Shot) -> Iterator[VideoFrame | Fault]:
    try:
        container = open_video(os.path.abspath(path), shot.hardware)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path}: not a video that can be read ({reason}); give another file") from error
    return _decoded(container, shot.rate)


def _decoded(container: Any, rate: float) -> Iterator[VideoFrame | Fault]:
    with container:
        yield from decode(container, rate)


def _vehicles(
    film: Film, frame: VideoFrame, shot: Shot, vehicles: list[Detection] | None
) -> Iterator[Picture]:
    key, facts = film.moment(frame.time), film.facts(frame, shot)
    origin = f"{film.root} at {frame.time:.3f} s"
    image = InputImage.from_pixels(frame.pixels, origin)
    if vehicles is None:
        yield Picture(key, facts, image, origin, film.root)
        return
    for found in vehicles:
        suffix = ",".join(f"{side:g}" for side in found.box)
        cut, about = crop(image, found.box), replace(facts, box=found.box)
        yield Picture(f"{key}/{suffix}", about, cut, origin, film.root, found.label, found.score)
