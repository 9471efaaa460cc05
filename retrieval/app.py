"""The search page and the REST interface on one port: `python -m retrieval.app --gallery DIR`."""

import argparse
import asyncio
import json
import math
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from retrieval.cases.store import CaseStore
from retrieval.cases.watch import FALSE_ALARMS, Watcher, watch
from retrieval.centring import add_centring, warn_of_traffic
from retrieval.detector_options import add_detector, open_detector
from retrieval.galleries import open_gallery, open_gallery_encoder
from retrieval.gallery.base import Gallery
from retrieval.gallery.clock import parse_zone
from retrieval.keys import KeyRing, read_keys
from retrieval.query.sameness import add_false_match_rate, check_false_match_rate
from retrieval.query.searcher import Searcher
from retrieval.service.access import Access
from retrieval.service.answer_log import FORMS, LEVELS, AnswerLog
from retrieval.service.audit import Audit
from retrieval.service.limits import LOOPBACK, Limits
from retrieval.service.prometheus import Measured, Metrics
from retrieval.service.rates import RateLimit, Rates
from retrieval.sources.detector import Detector
from retrieval.sources.folder import list_images
from retrieval.sources.originals import Originals
from serving.encoders.trace import start_tracing
from zoo.command_line import CommandParser
from zoo.decoding_memory import give_back_at_once
from zoo.errors import UserError, built_for_good, exit_on_user_error
from zoo.preprocess import MAX_BYTES

DEFAULT_PORT = 7860
DEFAULT_RATE = 20.0
EXAMPLES = 8


@asynccontextmanager
async def alongside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Let work that has no end go on until the service's."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def build_app(
    searcher: Searcher,
    examples: list[Path],
    keys: KeyRing | None,
    rates: Rates | None,
    audit: Audit,
    detector: Detector | None = None,
    log: AnswerLog | None = None,
    keep_uploads: float = 24.0,
    false_alarms: float = FALSE_ALARMS,
    time_zone: str = "",
    originals: Originals | None = None,
) -> Measured:
    """Put the page and the REST interface together, behind the keys and the limits."""
    from retrieval.page.stubs import unwritten

    with unwritten():
        import gradio as gr

    from fastapi import FastAPI
    from gradio.utils import get_upload_folder

    from retrieval.page.audited_searcher import AuditedSearcher
    from retrieval.page.events.page import PageEvents
    from retrieval.page.guard import UNKNOWN_FUNCTION
    from retrieval.page.page import STREAM_SCRIPT, build_page
    from retrieval.page.theme import STYLE_SHEET, build_theme
    from retrieval.page.upkeep import VISITS, keep_in_bounds
    from retrieval.page.uploads import Uploads
    from retrieval.service.rest import add_rest

    metrics = Metrics(searcher.gallery)
    uploads = Uploads(Path(get_upload_folder()) / "queries", keep_uploads)
    audited = AuditedSearcher(searcher, metrics, audit, log)
    page = build_page(PageEvents(audited, examples, uploads, false_alarms, time_zone, originals, detector))
    page.state_session_capacity = VISITS
    gallery = searcher.gallery

    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        async with AsyncExitStack() as kept:
            await kept.enter_async_context(alongside(keep_in_bounds(page, uploads)))
            if gallery.owns_folder:
                watcher = Watcher(gallery, CaseStore(gallery.folder))
                await kept.enter_async_context(alongside(watch(watcher)))
            yield

    # FastAPI's own documentation pages load scripts from elsewhere; the description itself stays.
    app = FastAPI(
        title="Vehicle search",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lambda _: running(),
    )
    add_rest(app, searcher, metrics, audit, detector, originals)
    # Gradio checks the files that it serves only once a page counts as launched, and mounting does not count.
    page.has_launched = True
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        app_kwargs={"exception_handlers": UNKNOWN_FUNCTION},
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        show_error=False,
        max_file_size=MAX_BYTES,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        theme=build_theme(),
        css=STYLE_SHEET.read_text(encoding="utf-8"),
        head=f"<script>{STREAM_SCRIPT.read_text(encoding='utf-8')}</script>",
    )
    # With keys, a proxy on this machine may pass on whatever name it goes by.
    hosts = LOOPBACK if keys is None else None
    return Measured(Limits(Access(RateLimit(app, rates), keys), hosts), metrics, log)


def choose_examples(folder: Path | None, gallery: Gallery, scratch: Path) -> list[Path]:
    """Put query images to offer into `scratch`: spread over `folder`, or pictures of the gallery without one.

    Raises:
        UserError: no such folder, or no image in it.
    """
    if folder is not None:
        files = [file.path for file in list_images(folder)]
        count = min(EXAMPLES, len(files))
        chosen = [files[number * len(files) // count] for number in range(count)]
        return [Path(shutil.copy(path, scratch / f"{n}-{path.name}")) for n, path in enumerate(chosen, 1)]
    paths = []
    for number, key in enumerate(gallery.sample_keys(EXAMPLES), 1):
        picture = gallery.picture(key)
        if picture:
            paths.append(scratch / f"example-{number}.jpg")
            paths[-1].write_bytes(picture)
    return paths


def listen(host: str, port: int, has_keys: bool) -> socket.socket:
    """Bind a port, 0 for a free one.

    Raises:
        UserError: another address than loopback without keys, or a port that cannot be had.
    """
    if host not in LOOPBACK and not has_keys:
        raise UserError(
            f"--host {host}: this service has no access control without --keys and then listens on the "
            "loopback address only; make keys with `python -m retrieval.keys add NAME`"
        )
    if not 0 <= port <= 65535:
        raise UserError(f"--port {port}: a number from 0 (any free port) to 65535 is expected")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((host, port))
    except OSError as error:
        server.close()
        reason = (error.strerror or str(error)).lower()
        raise UserError(
            f"port {port} on {host}: {reason}; choose another with --port, or 0 for a free one"
        ) from None
    return server


def serve(app: Measured, server: socket.socket, host: str, as_json: bool) -> None:
    """Answer until SIGINT or SIGTERM; print the address when the page can be opened."""
    import uvicorn

    from retrieval.service.connections import GuardedProtocol, log_sparingly, raise_file_limit

    port = server.getsockname()[1]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    class Announced(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                print(json.dumps({"url": url}) if as_json else f"Search page: {url}", flush=True)

    # Open pages hold event streams that never end by themselves.
    config = uvicorn.Config(
        app,
        http=GuardedProtocol,
        ws="none",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    raise_file_limit()
    log_sparingly()
    try:
        Announced(config).run([server])
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = CommandParser(
        module="retrieval.app",
        section="app",
        examples=[
            "--gallery build/gallery",
            "--gallery build/gallery --host 0.0.0.0 --keys keys.json --audit audit.jsonl",
        ],
        description="Serve the search page and the REST interface of a gallery.",
    )
    parser.add_argument(
        "--gallery",
        required=True,
        metavar="GALLERY",
        help="a folder, milvus[+tls]://HOST:PORT/NAME, or milvus:FILE.db",
    )
    parser.add_argument(
        "--encoder",
        metavar="SPEC",
        help="a model's name, a bundle, or triton:grpc://HOST:PORT (default: the gallery's own)",
    )
    parser.add_argument(
        "--examples", type=Path, metavar="DIR", help="query images to offer (default: some of the gallery's)"
    )
    parser.add_argument(
        "--originals",
        type=Path,
        metavar="DIR",
        help="where the files may be that it was filled from: whoever may search sees whole scenes",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="other than loopback with --keys only (default: 127.0.0.1)"
    )
    parser.add_argument(
        "--keys", type=Path, metavar="FILE", help="let in only who has a key; made by retrieval.keys"
    )
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help=f"0 for a free one (default: {DEFAULT_PORT})"
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=DEFAULT_RATE,
        metavar="N",
        help=f"requests a second that each key may make, 0 for any number (default: {DEFAULT_RATE:g})",
    )
    parser.add_argument(
        "--writable",
        action="store_true",
        help="add and remove over REST; no other process can write to the gallery meanwhile",
    )
    parser.add_argument(
        "--keep-uploads",
        type=float,
        default=24.0,
        metavar="HOURS",
        help="after which the page forgets a picture that was searched with (default: %(default)g)",
    )
    parser.add_argument(
        "--false-alarms",
        type=float,
        default=FALSE_ALARMS,
        metavar="N",
        help="a day, that the watch on a case may raise; the page proposes it (default: %(default)g)",
    )
    parser.add_argument(
        "--time-zone",
        default="",
        metavar="ZONE",
        help="of the page's times, such as Europe/Berlin (default: each browser's own)",
    )
    add_detector(parser.add_argument_group("of whole scenes in a query"))
    add_centring(parser)
    add_false_match_rate(parser)
    parser.add_argument(
        "--audit", type=Path, metavar="FILE", help="append a JSON line for every search (default: no log)"
    )
    parser.add_argument(
        "--log",
        choices=LEVELS,
        default="off",
        help="write a line to stderr for each answer: failures alone, all, or also those to supervisors and "
        "of the page's parts (default: off)",
    )
    parser.add_argument(
        "--log-form", choices=FORMS, default="text", help="of those lines (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help='print {"url": ..} when ready')
    return parser


@exit_on_user_error
def main(argv: list[str] | None = None) -> int:
    """Run the service until it is stopped, which is success."""
    args = build_parser().parse_args(argv)
    give_back_at_once()
    start_tracing("vehicle-reid-app")
    signal.signal(signal.SIGTERM, _interrupt)
    keys = None if args.keys is None else KeyRing(args.keys)
    if args.keys is not None and not read_keys(args.keys):
        raise UserError(
            f"{args.keys}: holds no key; make one with `python -m retrieval.keys add NAME --keys {args.keys}`"
        )
    if args.rate < 0 or not math.isfinite(args.rate):
        raise UserError(f"--rate {args.rate:g}: requests a second from 0 (no limit) are expected")
    if not 0 < args.keep_uploads < math.inf:
        raise UserError(f"--keep-uploads {args.keep_uploads:g}: hours above 0 are expected, such as 24")
    if not 0 <= args.false_alarms <= 1000:
        raise UserError(f"--false-alarms {args.false_alarms:g}: 0 to 1000 a day are expected, such as 1")
    if args.time_zone:
        parse_zone(args.time_zone)
    check_false_match_rate(args.false_match_rate)
    rates = Rates(args.rate) if keys is not None and args.rate else None
    detector = open_detector(args)
    originals = None if args.originals is None else Originals(args.originals)
    audit = Audit(args.audit)
    log = AnswerLog(args.log, args.log_form)
    with (
        listen(args.host, args.port, keys is not None) as server,
        tempfile.TemporaryDirectory(prefix="vehicle-search-") as scratch,
    ):
        # Uploads lie here and nowhere else, and go when the service ends; Gradio reads both when imported.
        os.environ["GRADIO_TEMP_DIR"] = scratch
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        encoder, model = open_gallery_encoder(args.gallery, args.encoder)
        try:
            with open_gallery(
                args.gallery, model=model, writable=args.writable, camera_centring=args.camera_centring
            ) as gallery:
                warn_of_traffic(gallery)
                examples = choose_examples(args.examples, gallery, Path(scratch))
                searcher = Searcher(gallery, encoder, args.false_match_rate)
                with built_for_good():
                    app = build_app(
                        searcher,
                        examples,
                        keys,
                        rates,
                        audit,
                        detector,
                        log,
                        args.keep_uploads,
                        args.false_alarms,
                        args.time_zone,
                        originals,
                    )
                serve(app, server, args.host, args.json)
        finally:
            encoder.close()
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End as Ctrl-C does, so that everything that is open is closed."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
