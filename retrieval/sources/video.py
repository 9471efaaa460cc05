"""Frames of a video, or the vehicles that a detector finds in them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from retrieval.gallery.entries import Facts
from retrieval.sources.crop import crop
from retrieval.sources.detector import Detector
from retrieval.sources.source import Loaded, Source, Unusable, digest
from serving.encoders.image import InputImage
from zoo.errors import UserError, from_extra


@dataclass(frozen=True)
class Shot:
    """What is known of a video as a whole.

    Attributes:
        rate: frames a second that are looked at; the video's own where that is less.
        camera: whose it is, where that is known.
        start: time of its first frame, in seconds.
    """

    rate: float = 1.0
    camera: int | None = None
    start: float = 0.0


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame, or what was cut out of one."""

    key: str
    facts: Facts
    image: InputImage
    root: str = ""

    @property
    def name(self) -> str:
        """The video and the time in it."""
        return self.image.name

    @property
    def origin(self) -> str:
        """The whole path of the video and the time in it."""
        return self.image.name

    def load(self) -> Loaded:
        """Give the pixels; the digest is of them and of what is known."""
        return Loaded(self.image, digest(self.image.pixels.tobytes(), self.facts))


def read_video(path: Path, shot: Shot, detector: Detector | None = None) -> Iterator[Source]:
    """Go through a video once, and yield its frames, or the boxes that a detector finds in each.

    A frame is called `NAME#NUMBER`, and a box in it `NAME#NUMBER/LEFT,TOP,RIGHT,BOTTOM`; running it again
    gives the same. Where a video is damaged, a bad image says so, and what came before is kept.

    Raises:
        UserError: no such video, or nothing that plays it.
    """
    cv2 = _opencv(path)
    video = cv2.VideoCapture(str(path))
    fps = float(video.get(cv2.CAP_PROP_FPS))
    if not video.isOpened() or not fps > 0:
        video.release()
        raise UserError(f"{path}: not a video that can be read; give another file")
    return _frames(cv2, video, fps, path, shot, detector)


def _frames(
    cv2: Any, video: Any, fps: float, path: Path, shot: Shot, detector: Detector | None
) -> Iterator[Source]:
    number, due, wanted = 0, 0.0, int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    while video.grab():
        if number >= due:
            due += max(fps / shot.rate, 1.0)
            good, frame = video.retrieve()
            if good:
                name = f"{path} at {number / fps:.2f} s"
                image = InputImage.from_pixels(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), name)
                key, time = f"{path.name}#{number}", shot.start + number / fps
                yield from _vehicles(key, image, Facts(camera=shot.camera, time=time), detector)
            else:
                yield Unusable(f"{path.name}#{number}", f"{path}: frame {number} cannot be decoded")
        number += 1
    video.release()
    if number < wanted:
        reason = f"{path}: ends after {number} of {wanted} frames; it may be cut short"
        yield Unusable(f"{path.name}#{number}", reason)


def _vehicles(key: str, image: InputImage, facts: Facts, detector: Detector | None) -> Iterator[Frame]:
    if detector is None:
        yield Frame(key, facts, image)
        return
    for box in detector.find(image.pixels):
        suffix = ",".join(f"{side:g}" for side in box)
        yield Frame(f"{key}/{suffix}", replace(facts, box=box), crop(image, box))


def _opencv(path: Path) -> Any:
    try:
        import cv2
    except ImportError as error:
        raise UserError(f"{path}: videos need OpenCV; it {from_extra('video')}") from error
    return cv2
