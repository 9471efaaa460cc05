"""The service that tests of its interface share."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from retrieval.keys import add_key
from tests.retrieval.running_app import running_app
from tests.retrieval.service.writing_service import Service


@pytest.fixture(scope="module")
def writable(gallery_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    root = tmp_path_factory.mktemp("writable")
    shutil.copytree(gallery_folder, root / "gallery")
    read, write = (
        add_key(root / "keys.json", "reader", "read"),
        add_key(root / "keys.json", "writer", "write"),
    )
    options = ("--keys", root / "keys.json", "--writable", "--rate", "0", "--audit", root / "audit.jsonl")
    with running_app("--gallery", root / "gallery", *options) as url:

        def client(key: str) -> httpx.Client:
            bearer = {"Authorization": f"Bearer {key}"}
            return httpx.Client(base_url=url, headers=bearer, timeout=30, trust_env=False)

        with client(read) as reader, client(write) as writer:
            yield Service(reader, writer, root / "gallery", root / "audit.jsonl")
