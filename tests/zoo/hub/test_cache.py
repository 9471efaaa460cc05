"""Digests against the programs that define them, and where the cache lies."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from zoo.hub.cache import Digest, cache_root, models_folder, object_path


def test_git_blob_id_of_known_bytes(tmp_path: Path) -> None:
    # The ids that every git repository has for these contents.
    for content, value in (
        (b"", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
        (b"hello\n", "ce013625030ba8dba906f756967f9e9ca394464a"),
    ):
        path = tmp_path / "file"
        path.write_bytes(content)
        assert Digest.parse(f"git:{value}").matches(path)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_git_blob_id_agrees_with_git(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 20_000)  # more than one chunk
    ran = subprocess.run(
        ["git", "hash-object", path.name], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert Digest("git", "").of(path).value == ran.stdout.strip()
    assert Digest("sha256", "").of(path).value == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "text", ["", "git:", "git:123", "sha256:" + "0" * 40, "md5:" + "0" * 32, "git:" + "G" * 40]
)
def test_other_digests_are_mistakes(text: str) -> None:
    with pytest.raises(ValueError, match="neither git"):
        Digest.parse(text)


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    assert cache_root() == cache
    assert models_folder() == cache / "models"
    assert object_path(Digest("git", "ab")) == cache / "objects" / "git-ab"
    monkeypatch.delenv("VEHICLE_REID_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_root() == Path("/somewhere/vehicle-reid-zoo")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/user")
    assert cache_root() == Path("/home/user/.cache/vehicle-reid-zoo")
