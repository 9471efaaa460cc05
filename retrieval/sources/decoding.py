"""Frames of a video with the times at which they are shown, chosen by time."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.errors import UserError, from_extra

_BACK = 0.5
"""Seconds that times may go back before the clock is held to have jumped."""

_RECOVERY = 5.0
"""Seconds after damage in which a key frame is waited for; some cameras send none."""


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """A frame that was chosen.

    Attributes:
        time: seconds since the video's start.
        pixels: uint8 [H, W, 3] RGB, upright.
    """

    time: float
    pixels: np.ndarray


@dataclass(frozen=True)
class Fault:
    """What is wrong with a video from some time on.

    Attributes:
        time: seconds since the video's start.
        reason: for people.
    """

    time: float
    reason: str


def open_video(address: str, hardware: str | None = None, timeout: float | None = None) -> Any:
    """Open a video file or stream with PyAV.

    Args:
        address: an absolute path, or a stream's address.
        hardware: a kind of device that decodes, such as `cuda` or `vaapi`; the processor does what it cannot.
        timeout: seconds without any data after which reading gives up.

    Raises:
        UserError: PyAV is missing, or there is no such kind of device, or none that works.
        OSError: it cannot be opened, or nothing came of it in time.
        ValueError: it is no video.
    """
    try:
        import av
        from av.codec.hwaccel import HWAccel, hwdevices_available
    except ImportError as error:
        raise UserError(f"videos need PyAV; it {from_extra('video')}") from error
    options = {}
    if "://" in address:
        # A frame rate is not waited for, because a stream that breaks off meanwhile takes its frames along.
        # Over TCP nothing is lost on the way, and no firewall has to let UDP in.
        options = {"fpsprobesize": "0", "rtsp_transport": "tcp"}
    accelerated = None
    if hardware is not None:
        if hardware not in hwdevices_available():
            raise UserError(
                f"--hardware {hardware}: this build of PyAV knows {', '.join(hwdevices_available())}"
            )
        accelerated = HWAccel(device_type=hardware, allow_software_fallback=True)
    try:
        container = av.open(address, options=options, timeout=timeout, hwaccel=accelerated)
    except av.error.FFmpegError as error:
        if accelerated is not None:
            # What opens without the device is no broken video.
            with suppress(av.error.FFmpegError), av.open(address, options=options, timeout=timeout):
                raise UserError(
                    f"--hardware {hardware}: no such device can be used here ({error.strerror}); leave the "
                    "option out, and the processor decodes"
                ) from None
        raise _broken(error) from None
    if not container.streams.video:
        container.close()
        raise ValueError("no pictures in it")
    return container


def _broken(error: Any) -> OSError | ValueError:
    """What an error of PyAV means, without its text, which may hold an address with a password."""
    import av

    if isinstance(error, av.error.ExitError | av.error.TimeoutError):
        return TimeoutError("nothing came")
    if isinstance(error, OSError):
        return OSError(error.errno, error.strerror)
    return ValueError(error.strerror)


def decode(container: Any, rate: float) -> Iterator[VideoFrame | Fault]:
    """Go through an open video once and yield `rate` frames a second, or all where there are fewer.

    Of each 1/`rate` seconds the first frame is taken, by its presentation time, however the frames are
    spread. Damaged packets and frames are passed over and told; what can be decoded is decoded.

    Raises:
        OSError: a stream broke off or stalled; all frames that arrived before were yielded.
    """
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    clock = _Clock(stream, container.duration)
    due, damaged, damaged_from = 0.0, 0, 0.0
    for frame in _frames(container, stream):
        if frame is None:
            damaged_from = damaged_from if damaged else clock.now
            damaged += 1
            continue
        if jump := clock.advance(frame):
            yield Fault(clock.now, f"the clock jumps by {jump:.1f} s; times go on from before")
        if clock.now + 1e-4 < due:
            continue
        # The grid's next place after this frame; a frame that came late moves no other one.
        due = (np.floor((clock.now + 1e-4) * rate) + 1) / rate
        turns = round((frame.rotation or 0) / 90) % 4
        pixels = frame.to_ndarray(format="rgb24")
        yield VideoFrame(clock.now, np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels)
    if damaged:
        yield Fault(damaged_from, f"{damaged} damaged packets or frames, the first at {damaged_from:.1f} s")
    if clock.wanted is not None and clock.now + max(1.0, clock.step * 2) < clock.wanted:
        yield Fault(clock.now, f"ends at {clock.now:.1f} of {clock.wanted:.1f} s; it may be cut short")


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    """Decoded frames in the order in which they are shown; None for what is damaged.

    What a decoder makes of a damaged packet, and of those that build on it, looks like a picture and is
    none. So everything until the next key frame is passed over, for a few seconds where none comes.
    """
    import av

    damage = _Damage()
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                frames = []
                damage.begin(packet)
                yield None
            if packet.is_corrupt:
                damage.begin(packet)
            for frame in frames:
                yield None if damage.holds(frame) else frame
    except av.error.InvalidDataError:
        yield None
    except av.error.FFmpegError as error:
        # Frames that wait for their order are all there; a break takes none of them along.
        with suppress(av.error.FFmpegError):
            yield from stream.decode(None)
        raise _broken(error) from None


class _Damage:
    """From which time on frames are damaged, until a key frame that is not."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._last = 0.0
        self._shown = 0.0

    def begin(self, packet: Any) -> None:
        """Tell of a packet that is damaged."""
        moment = packet.pts if packet.pts is not None else packet.dts
        if moment is not None:
            time = float(moment * packet.time_base)
            self._first = time if self._first is None else min(self._first, time)
            self._last = time

    def holds(self, frame: Any) -> bool:
        """Whether a frame is a damaged one."""
        if frame.is_corrupt:
            return True
        if frame.time is None:
            return False
        has_jumped, self._shown = frame.time < self._shown, frame.time
        if self._first is None:
            return False
        if (
            frame.key_frame and (frame.time > self._last or has_jumped)
        ) or frame.time > self._last + _RECOVERY:
            self._first = None
        return self._first is not None and frame.time >= self._first


class _Clock:
    """Turns presentation timestamps into seconds since the start that never go back.

    Attributes:
        now: time of the last frame.
        step: seconds a frame, on average.
        wanted: how long the video says that it is; None where it does not.
    """

    def __init__(self, stream: Any, duration: int | None) -> None:
        import av

        base = float(stream.time_base)
        self.step = 1 / float(stream.average_rate or 25)
        self.now = 0.0
        self.wanted = None
        if stream.duration:
            self.wanted = float(stream.duration) * base
        elif duration:
            self.wanted = duration / av.time_base
        if self.wanted is not None:
            # The duration of some is guessed from the file's size, which is that of what is left of it.
            self.wanted = max(self.wanted, stream.frames * self.step)
        self._start = None if stream.start_time is None else float(stream.start_time) * base
        self._is_first = True

    def advance(self, frame: Any) -> float | None:
        """Go on to a frame; return by how much the clock jumped where it did."""
        before = self.now
        if frame.time is None or not np.isfinite(frame.time):
            elapsed = 0.0 if self._is_first else before + self.step
        else:
            if self._start is None:
                # Streams begin with frames that do not know their time yet.
                self._start = float(frame.time) - (0.0 if self._is_first else before + self.step)
            elapsed = float(frame.time) - self._start
        last = self.wanted if self.wanted is not None else np.inf
        jumped = not self._is_first and (
            elapsed < before - _BACK or (elapsed > last + 1 and elapsed > before + 60)
        )
        if jumped:
            self._start = (self._start or 0.0) + elapsed - before - self.step
            self.now = before + self.step
            return elapsed - before
        self.now = elapsed if self._is_first else max(elapsed, before)
        self._is_first = False
        return None
