"""What visits leave behind: states and files go in time, and never those that are still of use."""

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import gradio as gr
import httpx
import pytest
from fastapi import FastAPI

from retrieval.app import alongside
from retrieval.page import upkeep
from retrieval.page.uploads import Uploads
from tests.retrieval.service.serving_thread import served


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def mounted(uploads: Path) -> Iterator[tuple[gr.Blocks, httpx.Client]]:
    """A mounted page, as the service has one, with an example that it always offers."""
    example = uploads / "example.png"
    example.write_bytes(b"\x89PNG")
    with gr.Blocks(analytics_enabled=False) as page:
        gr.File(str(example))
    app = FastAPI(lifespan=lambda _: alongside(upkeep.keep_in_bounds(page, Uploads(uploads / "queries"))))
    gr.mount_gradio_app(app, page, path="/", ssr_mode=False)
    with served(app) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield page, client


def test_uploads_go_when_they_are_old_or_too_many(
    mounted: tuple[gr.Blocks, httpx.Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    page, client = mounted

    def upload(name: str) -> Path:
        (path,) = client.post("/gradio_api/upload", files={"files": (name, name.encode() * 100)}).json()
        return Path(path)

    first, second = upload("a.jpg"), upload("b.jpg")
    now = max(first.stat().st_ctime, second.stat().st_ctime)
    upkeep.forget_files(page, now + 60)
    assert first.exists() and second.exists()
    monkeypatch.setattr(upkeep, "KEPT_BYTES", 900)
    os.utime(second)
    upkeep.forget_files(page, now + 60)
    assert second.exists() and not first.parent.exists()
    upkeep.forget_files(page, now + upkeep.KEPT_SECONDS + 60)
    assert not second.exists()
    examples = {name for block in page.blocks.values() for name in getattr(block, "keep_in_cache", ())}
    assert examples and all(Path(name).exists() for name in examples)
    assert not page.upload_file_set


def test_visits_that_went_away_are_forgotten(mounted: tuple[gr.Blocks, httpx.Client]) -> None:
    page, _ = mounted
    holder = page.state_holder
    assert holder["open"] and holder["gone"]
    holder.session_data["gone"].is_closed = True
    later = datetime.now() + upkeep.AWAY
    upkeep.forget_visits(page, later - timedelta(minutes=5))
    assert {"open", "gone"} <= set(holder.session_data)
    upkeep.forget_visits(page, later + timedelta(minutes=5))
    assert "open" in holder.session_data
    assert "gone" not in holder.session_data and "gone" not in holder.time_last_used
