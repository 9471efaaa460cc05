"""Small servers that stand in for cameras: they send numbered frames, and break off again and again."""

import base64
import io
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import av
import numpy as np

RATE = 10


def encoded(first: int, count: int, frame_of, format: str) -> list[bytes]:
    """Frames as one piece of bytes each: those of an elementary stream, or of a container that flushes."""
    buffer = io.BytesIO()
    options = {"preset": "ultrafast", "tune": "zerolatency", "g": "1", "x264-params": "repeat-headers=1"}
    pieces = []
    with av.open(buffer, "w", format=format, options={"flush_packets": "1"}) as container:
        stream = container.add_stream("libx264", rate=RATE, options=options)
        pixels = frame_of(first)
        stream.height, stream.width = pixels.shape[:2]
        stream.pix_fmt = "yuv420p"
        for number in range(first, first + count):
            frame = av.VideoFrame.from_ndarray(frame_of(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
            pieces.append(buffer.getvalue())
            buffer.seek(0)
            buffer.truncate()
        container.mux(stream.encode(None))
    pieces[-1] += buffer.getvalue()
    return pieces


class Camera:
    """Sends `frame_of(number)`, the numbers in order, over all connections that it gets.

    Each connection gets a few frames and is dropped; the last one stays open and silent.

    Attributes:
        sent: numbers of the frames that went out whole.
        connections: how many there were.
    """

    def __init__(self, frame_of, drops: int, seed: int, frames: tuple[int, int] = (4, 8)) -> None:
        self.sent: list[int] = []
        self.connections = 0
        self._frame_of, self._drops, self._frames = frame_of, drops, frames
        self._rng = np.random.default_rng(seed)
        self._over = threading.Event()

    def serve(self, server: socket.socket) -> None:
        """Answer until it is told to stop."""
        while not self._over.is_set():
            try:
                peer, _ = server.accept()
            except OSError:
                return
            with peer:
                try:
                    self._answer(peer)
                except OSError:
                    continue

    def stop(self) -> None:
        """Let the last connection go."""
        self._over.set()

    def _answer(self, peer: socket.socket) -> None:
        self.connections += 1
        count = int(self._rng.integers(*self._frames))
        self._send(peer, count)
        if self.connections > self._drops:
            self._over.wait(60)

    def _send(self, peer: socket.socket, count: int) -> None:
        """As a plain HTTP answer without a length; sometimes a part of one more frame before the drop."""
        while b"\r\n\r\n" not in peer.recv(65536):
            pass
        peer.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n\r\n")
        first = len(self.sent)
        pieces = encoded(first, count + 1, self._frame_of, "mpegts")
        for number, piece in enumerate(pieces[:count], first):
            peer.sendall(piece)
            self.sent.append(number)
        if self.connections % 2:
            peer.sendall(pieces[count][:200])


class RtspCamera(Camera):
    """The same over RTSP, RTP inside of its TCP connection (RFC 2326, 3550, 6184)."""

    def _send(self, peer: socket.socket, count: int) -> None:
        first = len(self.sent)
        pieces = [_nals(piece) for piece in encoded(first, count, self._frame_of, "h264")]
        sets = b",".join(base64.b64encode(nal) for nal in pieces[0] if nal[0] & 31 in (7, 8)).decode()
        description = (
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
            f"a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}\r\n"
            f"a=framerate:{RATE}\r\na=control:track0\r\n"
        )
        reader = peer.makefile("rb")
        for method, sequence in _requests(reader):
            headers = f"RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\nSession: 1\r\n"
            body = ""
            if method == "OPTIONS":
                headers += "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
            elif method == "DESCRIBE":
                body = description
                headers += f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
            elif method == "SETUP":
                headers += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
            peer.sendall(f"{headers}\r\n{body}".encode())
            if method == "PLAY":
                break
        sequence = 0
        for number, nals in enumerate(pieces, first):
            for place, nal in enumerate(nals):
                for payload, is_last in _packets(nal):
                    marker = 0x80 if is_last and place == len(nals) - 1 else 0
                    header = struct.pack(
                        ">BBHII", 0x80, 96 | marker, sequence & 0xFFFF, number * 90000 // RATE, 7
                    )
                    packet = header + payload
                    peer.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
                    sequence += 1
            self.sent.append(number)


def _requests(reader: io.BufferedReader) -> Iterator[tuple[str, str]]:
    while line := reader.readline().decode():
        method, sequence = line.split(" ")[0], ""
        while (header := reader.readline().decode().strip()) != "":
            name, _, value = header.partition(":")
            if name.lower() == "cseq":
                sequence = value.strip()
        yield method, sequence


def _nals(stream: bytes) -> list[bytes]:
    """The units of H.264's byte stream."""
    parts = stream.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")
    return [part for part in parts if part]


def _packets(nal: bytes, size: int = 1200) -> Iterator[tuple[bytes, bool]]:
    """The payloads that a unit travels in, and which of them is the last (RFC 6184, 5.6 and 5.8)."""
    if len(nal) <= size:
        yield nal, True
        return
    indicator, kind = nal[0] & 0xE0 | 28, nal[0] & 31
    parts = [nal[start : start + size] for start in range(1, len(nal), size)]
    for place, part in enumerate(parts):
        flags = (0x80 if place == 0 else 0) | (0x40 if place == len(parts) - 1 else 0)
        yield bytes([indicator, flags | kind]) + part, place == len(parts) - 1


@contextmanager
def running(camera: Camera) -> Iterator[int]:
    """Let a camera answer on a port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=camera.serve, args=(server,), daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            camera.stop()
            server.close()
            thread.join(10)
