"""One file over HTTP, continued where an earlier attempt broke off."""

import fcntl
import http.client
import re
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from tqdm import tqdm

from zoo.errors import UserError

MAX_BYTES = 2 << 30
"""No weights of this field come near; a server that sends on and on is cut off here."""

_ATTEMPTS = 8
_CHUNK = 1 << 18
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+)")


class DownloadError(Exception):
    """The network or the server refuses; the message is the reason alone."""


def download(url: str, part: Path, timeout: float = 20) -> None:
    """Fetch all of a file's bytes into `part`, after those that it already has.

    What came stays in `part` whatever happens, and the next call goes on from there. Whether the bytes are
    the right ones is for the caller to check.

    Args:
        url: http or https.
        part: created where it is not there.
        timeout: of silence, in seconds.

    Raises:
        DownloadError: unreachable, refused, or interrupted again and again.
        UserError: the disk is full, or another process fetches the same file.
    """
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _fetch_all(url, file, timeout)
    except BlockingIOError as error:
        raise UserError(f"{part}: another process is fetching this file; wait for it") from error
    except OSError as error:
        raise UserError(
            f"{part}: cannot be written ({error.strerror or error}); free some space or choose another "
            "folder with VEHICLE_REID_CACHE, and run the same command to go on"
        ) from error


def _fetch_all(url: str, file: IO[bytes], timeout: float) -> None:
    for _ in range(_ATTEMPTS):
        before = file.seek(0, 2)
        try:
            if _attempt(url, file, timeout):
                return
            reason = "the connection broke off"
        except urllib.error.HTTPError as error:
            raise DownloadError(f"the server answers {error.code} {error.reason}") from error
        except _NETWORK_ERRORS as error:
            reason = " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__
        if file.seek(0, 2) == before:
            break
    kept = f"; the {file.tell()} bytes that came are kept" if file.tell() else ""
    raise DownloadError(f"{reason}{kept}")


# Reading and connecting raise these; an OSError of the disk has to stay one.
_NETWORK_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,
    ssl.SSLError,
    ConnectionError,
    TimeoutError,
)


def _attempt(url: str, file: IO[bytes], timeout: float) -> bool:
    """Make one request for what is missing; tell whether the file is whole afterwards."""
    start = file.tell()
    request = urllib.request.Request(url)
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not start:
            raise
        # Nothing lies beyond what is here: it is whole, or it was never a part of this file.
        match = _CONTENT_RANGE.fullmatch(error.headers.get("Content-Range", ""))
        if match and int(match[2]) == start:
            return True
        file.truncate(0)
        file.seek(0)
        return _attempt(url, file, timeout)
    with response:
        total = _total(response, file, start)
        with tqdm(
            total=total,
            initial=file.tell(),
            unit="B",
            unit_scale=True,
            desc=url.rpartition("/")[2],
            leave=False,
        ) as bar:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                # A process that is killed must not take with it what had come.
                file.flush()
                bar.update(len(chunk))
                if file.tell() > MAX_BYTES:
                    raise DownloadError(f"more than the limit of {MAX_BYTES} bytes came")
        return total is None or file.tell() >= total


def _total(response: http.client.HTTPResponse, file: IO[bytes], start: int) -> int | None:
    """Read the whole file's size from the answer's headers; start anew where the server ignores the range."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status == 206 and match and match[1] and int(match[1]) == start:
        total: int | None = int(match[2])
    elif response.status == 206:
        raise DownloadError("the server answers with another range than the one asked for")
    else:
        file.truncate(0)
        file.seek(0)
        length = response.headers.get("Content-Length")
        total = int(length) if length else None
    if total is not None and total > MAX_BYTES:
        raise DownloadError(f"its {total} bytes are more than the limit of {MAX_BYTES}")
    return total
