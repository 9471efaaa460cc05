"""A real HTTP server for downloads: ranges, and the faults that networks have."""

import contextlib
import http.server
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path


class RangeServer(http.server.ThreadingHTTPServer):
    """Serves a folder.

    Attributes:
        requests: the path and Range header of each request so far.
        ranges: whether ranges are honoured.
        drop_after: bytes of an answer's body after which the connection breaks off; 0 for never.
        pause: seconds between pieces of 64 KiB.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.requests: list[tuple[str, str | None]] = []
        self.ranges = True
        self.drop_after = 0
        self.pause = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: RangeServer

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.requests.append((self.path, asked))
        file = self.server.folder / self.path.lstrip("/")
        if not file.is_file():
            self.send_error(404)
            return
        data = file.read_bytes()
        match = re.fullmatch(r"bytes=(\d+)-", asked or "") if self.server.ranges else None
        start = int(match[1]) if match else 0
        if match and start >= len(data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if match else 200)
        if match:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        end = start + self.server.drop_after if self.server.drop_after else len(data)
        with contextlib.suppress(ConnectionError):
            for position in range(start, min(end, len(data)), 1 << 16):
                self.wfile.write(data[position : min(position + (1 << 16), end)])
                time.sleep(self.server.pause)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[RangeServer]:
    """Run a server on a free port of this machine for the length of a block."""
    server = RangeServer(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
