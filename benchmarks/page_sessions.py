"""`python -m benchmarks.page_sessions`: the memory and disk that visits of the search page leave behind.

A real service of a small gallery, asked as browsers ask it: each visit has a session of its own, opens its
heartbeat, uploads a picture, searches with it, is shown 100 results, and goes away. In between, the service's
resident memory and what lies in its folder of uploads are read. `--against DIR` measures another checkout.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image
from tqdm import tqdm

from retrieval.ingest import main as ingest
from zoo.errors import UserError, exit_on_user_error

RESULTS = 100


def picture(number: int) -> bytes:
    """A small JPEG, another one for each number."""
    pixels = np.random.default_rng(number).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((320, 240)).save(buffer, "JPEG")
    return buffer.getvalue()


class Page:
    """A search page in a process of its own."""

    def __init__(self, checkout: Path, gallery: Path, encoder: str, scratch: Path) -> None:
        command = [sys.executable, "-m", "retrieval.app", "--gallery", str(gallery), "--encoder", encoder]
        environment = {**os.environ, "PYTHONPATH": str(checkout), "TMPDIR": str(scratch)}
        self.process = subprocess.Popen(
            [*command, "--port", "0", "--json"],
            cwd=checkout,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise UserError(f"{checkout}: its service ended with {self.process.wait()}; see above")
        self._scratch = scratch
        self._http = httpx.Client(base_url=json.loads(line)["url"], timeout=120, trust_env=False)
        config = self._http.get("/config").json()
        self._values = {
            # A browser sends an empty text for a field that nobody has written into.
            part["id"]: "" if part["type"] == "textbox" and value is None else value
            for part in config["components"]
            for value in [part["props"].get("value")]
        }
        self._ids = {part["props"].get("elem_id"): part["id"] for part in config["components"]}
        self._encode = self._event(config, "query", "encode")
        self._search = self._event(config, "k", "search")

    def _event(self, config: dict[str, Any], part: str, name: str) -> dict[str, Any]:
        cause = [self._ids[part], "change"]
        return next(
            each for each in config["dependencies"] if cause in each["targets"] and name in each["api_name"]
        )

    def visit(self, photo: bytes) -> None:
        """Come, upload, search, look at the results, go."""
        session = uuid.uuid4().hex
        with self._http.stream("GET", f"/gradio_api/heartbeat/{session}"):
            files = {"files": ("photo.jpg", photo, "image/jpeg")}
            (path,) = self._http.post("/gradio_api/upload", files=files).raise_for_status().json()
            file = {"path": path, "orig_name": "photo.jpg", "meta": {"_type": "gradio.FileData"}}
            self._run(session, self._encode, {self._ids["query"]: file})
            shown = self._run(session, self._search, {self._ids["k"]: RESULTS})
            if shown.count("data-key") < RESULTS:
                raise UserError(f"a visit was shown too little: {shown[:300]}")

    def _run(self, session: str, event: dict[str, Any], values: dict[int, Any]) -> str:
        told = self._values | values
        body = {"data": [told.get(part) for part in event["inputs"]], "fn_index": event["id"]}
        self._http.post("/gradio_api/queue/join", json={**body, "session_hash": session}).raise_for_status()
        query = {"session_hash": session}
        with self._http.stream("GET", "/gradio_api/queue/data", params=query) as messages:
            for line in messages.iter_lines():
                if line.startswith("data:") and "process_completed" in line:
                    return line
        raise UserError("the page's event did not end")

    def megabytes(self) -> float:
        """The service's resident memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def kept(self) -> tuple[int, float]:
        """Files in its folder, and their megabytes."""
        sizes = [path.stat().st_size for path in self._scratch.rglob("*") if path.is_file()]
        return len(sizes), sum(sizes) / 1e6

    def close(self) -> None:
        """End the service."""
        self._http.close()
        self.process.terminate()
        self.process.wait()


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Fill a gallery, visit, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=5000, help="visits [%(default)s]")
    parser.add_argument("--every", type=int, default=500, help="visits between two readings [%(default)s]")
    parser.add_argument("--encoder", default="osnet_ain.synthetic")
    parser.add_argument("--against", type=Path, default=Path.cwd(), metavar="DIR", help="another checkout")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        images, gallery, scratch = (Path(folder) / name for name in ("images", "gallery", "scratch"))
        images.mkdir()
        scratch.mkdir()
        for number in range(RESULTS + 20):
            (images / f"{number:03}.jpg").write_bytes(picture(number))
        ingest(["--images", str(images), "--gallery", str(gallery), "--encoder", arguments.encoder])
        page = Page(arguments.against.resolve(), gallery, arguments.encoder, scratch)
        try:
            print("sessions", "MB", "files", "MB of files")
            for number in tqdm(range(arguments.sessions + 1), unit="visit"):
                if number % arguments.every == 0:
                    files, size = page.kept()
                    print(number, round(page.megabytes(), 1), files, round(size, 1), flush=True)
                page.visit(picture(10_000 + number))
        finally:
            page.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
