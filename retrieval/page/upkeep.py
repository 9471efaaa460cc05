"""What visits leave behind, bounded: Gradio keeps the states of 10,000 visits and every uploaded file."""

import asyncio
import contextlib
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import gradio as gr

from retrieval.page.uploads import Uploads

VISITS = 300
"""Whose states are kept; with 100 results shown, a visit holds about 0.7 MB."""

AWAY = timedelta(hours=1)
"""A visit whose page is closed has its states for so long after it last did something."""

KEPT_SECONDS = 12 * 3600.0
"""Uploads and downloads lie on the disk for so long."""

KEPT_BYTES = 2 * 1024**3
"""Of uploads and downloads together; beyond, the oldest go before their time."""

_EVERY = 60.0
"""Seconds between two looks."""


async def keep_in_bounds(page: gr.Blocks, uploads: Uploads) -> None:
    """Look after what a mounted page keeps, again and again, without an end."""
    # What the page says of a query picture holds for Gradio's copy of it too.
    seconds = min(KEPT_SECONDS, 3600 * uploads.hours)
    while True:
        forget_visits(page, datetime.now())
        await asyncio.to_thread(forget_files, page, time.time(), seconds)
        await asyncio.to_thread(uploads.forget)
        await asyncio.sleep(_EVERY)


def forget_visits(page: gr.Blocks, now: datetime) -> None:
    """Let the states of visits go whose page is closed and that did nothing for `AWAY`."""
    holder: Any = page.state_holder
    with holder.lock:
        for name, last_used in list(holder.time_last_used.items()):
            visit = holder.session_data.get(name)
            if visit is None or (visit.is_closed and now - last_used > AWAY):
                holder.session_data.pop(name, None)
                holder.time_last_used.pop(name, None)


def forget_files(page: gr.Blocks, now: float, seconds: float = KEPT_SECONDS) -> None:
    """Take uploads and downloads off the disk that are older than so many seconds or beyond `KEPT_BYTES`."""
    kept = {name for block in page.blocks.values() for name in getattr(block, "keep_in_cache", ())}
    found = []
    for names in page.temp_file_sets:
        for name in list(names - kept):
            with contextlib.suppress(FileNotFoundError):
                status = Path(name).stat()
                found.append((status.st_ctime, status.st_size, name))
                continue
            names.discard(name)
    total = 0
    for changed, size, name in sorted(set(found), reverse=True):
        total += size
        if now - changed <= seconds and total <= KEPT_BYTES:
            continue
        path = Path(name)
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            # Each file has a folder of its own.
            path.parent.rmdir()
        for names in page.temp_file_sets:
            names.discard(name)
