"""API keys: the file and its command, and a service that lets in only who has one."""

import base64
import fcntl
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from retrieval.app import main as app
from retrieval.keys import KeyRing, add_key, main, read_keys, remove_key
from tests.retrieval.running_app import running_app
from zoo.errors import UserError


def test_command_makes_lists_and_removes(tmp_path: Path, capsys) -> None:
    file = ["--keys", str(tmp_path / "keys.json")]
    assert main(["add", "Zürich desk", "--scope", "write", *file]) == 0
    secret = capsys.readouterr().out.strip()
    assert len(base64.urlsafe_b64decode(secret + "=")) == 32
    assert secret not in (tmp_path / "keys.json").read_text()
    assert main(["add", "other", *file]) == 0
    assert capsys.readouterr().out.strip() != secret
    assert main(["list", *file]) == 0
    listed = [line.split("\t")[:2] for line in capsys.readouterr().out.splitlines()]
    assert listed == [["Zürich desk", "write"], ["other", "read"]]
    assert main(["add", "other", *file]) == 2
    assert main(["remove", "nobody", *file]) == 2
    assert main(["remove", "other", *file]) == 0
    assert [key.name for key in read_keys(tmp_path / "keys.json")] == ["Zürich desk"]


def test_no_key_is_lost_where_many_are_made_at_once(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    with ThreadPoolExecutor(8) as pool:
        secrets = list(pool.map(lambda number: add_key(path, str(number), "read"), range(40)))
    ring = KeyRing(path)
    found = [ring.find(secret) for secret in secrets]
    assert [key.name for key in found if key is not None] == [str(number) for number in range(40)]
    # Of another process: the lock is the file's, not the program's.
    with open(tmp_path / ".keys.json.lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [sys.executable, "-m", "retrieval.keys", "remove", "7", "--keys", str(path)]
        process = subprocess.Popen(command)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        assert len(read_keys(path)) == 40
    assert process.wait(timeout=60) == 0
    assert len(read_keys(path)) == 39


@pytest.mark.parametrize("content", ["", "{}x", '{"a": 1}', '[{"name": "a"}]', "[1]", "\0"])
def test_what_is_no_key_file_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "keys.json").write_text(content)
    with pytest.raises(UserError, match="not a key file"):
        KeyRing(tmp_path / "keys.json")
    with pytest.raises(UserError, match="no such file"):
        KeyRing(tmp_path / "none.json")


def test_ring_follows_the_file_and_fails_closed(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    first, second = add_key(path, "a", "read"), add_key(path, "b", "write")
    ring = KeyRing(path)
    found = ring.find(second)
    assert found is not None
    assert (found.name, found.scope) == ("b", "write")
    assert ring.find(first + "x") is ring.find("") is ring.find("ü") is None
    remove_key(path, "b")
    assert ring.find(second) is None
    assert ring.find(first) is not None
    path.unlink()
    with pytest.raises(UserError, match="no such file"):
        ring.find(first)


@pytest.fixture(scope="module")
def keyed(gallery_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, str]]:
    """A service on an address that it listens on with keys only: its URL, key file, and a key."""
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    secret = add_key(path, "desk", "read")
    with running_app("--gallery", gallery_folder, "--keys", path, "--host", "127.0.0.2") as url:
        yield url, path, secret


@pytest.mark.parametrize(
    "path",
    ["/", "/config", "/api/openapi.json", "/api/images/none.jpg", "/gradio_api/startup-events", "/metrics"],
)
def test_nothing_is_answered_without_a_key(keyed, path: str) -> None:
    url, _, secret = keyed
    for headers in (
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer x"},
        {"authorization": secret},
        {"authorization": "Basic %%%"},
        {"authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()},
    ):
        answer = httpx.get(url + path, headers=headers, trust_env=False)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert httpx.post(f"{url}/gradio_api/upload", files={"files": b"x"}, trust_env=False).status_code == 401
    assert httpx.options(url + path, trust_env=False).status_code == 401


def test_a_key_opens_the_page_and_the_interface(keyed, images: Path) -> None:
    url, path, secret = keyed
    query = next((images / "image_query").iterdir()).read_bytes()
    bearer = {"Authorization": f"Bearer {secret}"}
    answer = httpx.post(
        f"{url}/api/search", files={"image": query}, headers=bearer, trust_env=False, timeout=30
    )
    assert (answer.status_code, len(answer.json()["results"])) == (200, 10)
    assert httpx.get(url, auth=("anybody", secret), trust_env=False).status_code == 200
    assert httpx.get(f"{url}/health", trust_env=False).status_code == 200
    assert httpx.get(f"{url}/ready", trust_env=False, timeout=30).status_code == 200
    other = add_key(path, "new", "read")
    assert httpx.get(url, auth=("", other), trust_env=False).status_code == 200
    remove_key(path, "new")
    assert httpx.get(url, auth=("", other), trust_env=False).status_code == 401


def test_pages_of_other_sites_are_refused(keyed) -> None:
    """A browser sends the key that was entered here along with their requests."""
    url, _, secret = keyed
    for origin, status in (("http://evil.example", 403), ("null", 403), (url, 200)):
        answer = httpx.get(
            f"{url}/config", auth=("", secret), headers={"origin": origin}, trust_env=False, timeout=30
        )
        assert answer.status_code == status


def test_other_addresses_need_keys(gallery_folder: Path, tmp_path: Path, capsys) -> None:
    arguments = ["--gallery", str(gallery_folder), "--host", "127.0.0.2", "--port", "0"]
    assert app(arguments) == 2
    error = capsys.readouterr().err
    assert "no access control without --keys" in error
    assert len(error.splitlines()) == 1
    assert app([*arguments, "--keys", str(tmp_path / "none.json")]) == 2
    assert "no such file" in capsys.readouterr().err
    (tmp_path / "empty.json").write_text(json.dumps([]))
    assert app([*arguments, "--keys", str(tmp_path / "empty.json")]) == 2
    assert "holds no key" in capsys.readouterr().err
