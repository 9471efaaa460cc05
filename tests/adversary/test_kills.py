"""Commands and services that are killed at any moment: nothing acknowledged is lost, and all goes on."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from PIL import Image

from retrieval.galleries import open_gallery
from retrieval.ingest import main as ingest
from retrieval.maintenance import main as maintain
from tests.adversary.conftest import Home, Trials
from tests.retrieval.small_model import write_bundle
from zoo.errors import UserError

Content = dict[str, tuple[bytes, bytes, float | None]]
IMAGES, OLD = 90, 60
"""In a gallery, and those of them that are taken out."""


def content(gallery: Path) -> Content:
    """What a gallery holds; nothing where there is none yet."""
    try:
        with open_gallery(gallery) as opened:
            entries = [entry for part in opened.entries() for entry in part]
    except UserError as error:
        assert "no gallery there" in str(error) or "no such folder" in str(error) or "is empty" in str(error)
        return {}
    return {entry.key: (entry.embedding.tobytes(), entry.picture, entry.time) for entry in entries}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of pictures, one taken each minute, a bundle, another one, a gallery, and its backup."""
    folder = tmp_path_factory.mktemp("world")
    for number in range(IMAGES):
        pixels = random.Random(number).randbytes(48 * 48 * 3)
        Image.frombytes("RGB", (48, 48), pixels).save(folder / f"{number:03}.png")
    rows = [f"{number:03}.png,2026-01-01 {number // 60:02}:{number % 60:02}" for number in range(IMAGES)]
    (folder / "table.csv").write_text("\n".join(["image,time", *rows]) + "\n")
    write_bundle(folder / "bundle")
    write_bundle(folder / "other", gain=5.0)
    assert ingest(_line("--manifest W/table.csv --gallery W/gallery --encoder W/bundle", folder, folder)) == 0
    assert maintain(_line("backup --gallery W/gallery --to W/backup", folder, folder)) == 0
    return folder


def _line(text: str, world: Path, out: Path) -> list[str]:
    """A command of the world W that works in O."""
    return [word.replace("W/", f"{world}/").replace("O/", f"{out}/") for word in text.split()]


COMMANDS: dict[str, tuple[Callable[[list[str]], int], str]] = {
    "ingest": (ingest, "--manifest W/table.csv --gallery O/gallery --encoder W/bundle"),
    "prune": (maintain, "prune --gallery O/gallery --older-than 2026-01-01T01:00"),
    "reembed": (maintain, "reembed --gallery O/gallery --to O/made --encoder W/other"),
    "backup": (maintain, "backup --gallery O/gallery --to O/made"),
    "restore": (maintain, "restore --from W/backup --gallery O/gallery --replace"),
}


def _quiet(main: Callable[[list[str]], int], argv: list[str]) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    os._exit(main(argv))


@pytest.mark.parametrize("name", COMMANDS)
def test_commands(name: str, world: Path, tmp_path: Path, trials: Trials) -> None:
    main, text = COMMANDS[name]
    # Its processes begin with everything imported, so that the kill comes into the work.
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    whole = content(world / "gallery")
    kept = {key: value for key, value in whole.items() if int(key[:3]) >= OLD}
    seconds, killed = None, 0
    for chance in trials(2):
        out = tmp_path / "out"
        out.mkdir()
        if name != "ingest":
            shutil.copytree(world / "gallery", out / "gallery")
        argv = _line(text, world, out)
        if seconds is None:
            began = time.monotonic()
            process = processes.Process(target=_quiet, args=(main, argv))
            process.start()
            process.join()
            assert process.exitcode == 0
            seconds = time.monotonic() - began
            shutil.rmtree(out)
            out.mkdir()
            if name != "ingest":
                shutil.copytree(world / "gallery", out / "gallery")
        process = processes.Process(target=_quiet, args=(main, argv))
        process.start()
        process.join(chance.uniform(0, seconds))
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL

        found = content(out / "gallery")
        if name == "ingest":
            assert found.items() <= whole.items()
        elif name == "prune":
            assert kept.items() <= found.items() <= whole.items()
        else:
            assert found == whole
        # It is done when it is asked for again, whatever was left.
        made = out / "made"
        if name == "backup" and (made / "backup.json").exists():
            made.rename(out / "first")
            assert maintain(["restore", "--from", f"{out / 'first'}", "--gallery", f"{out / 'second'}"]) == 0
            assert content(out / "second") == whole
        if name == "restore":
            # Where it had been done already, the gallery that made way is kept, and has to be moved first.
            shutil.rmtree(out / "gallery.replaced", ignore_errors=True)
        assert main(argv) == 0
        assert content(out / "gallery") == (kept if name == "prune" else whole)
        if name == "reembed":
            assert content(made).keys() == whole.keys()
        shutil.rmtree(out)
    print(f"{killed} were killed")


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_a_service_that_is_written_to(home: Home, tmp_path: Path, trials: Trials) -> None:
    """Every image that it has said to have is there, and none that it has said to have removed."""
    gallery = shutil.copytree(home.gallery, tmp_path / "gallery")
    image = (home.images / "1.jpg").read_bytes()
    there, unsure = set(home.names), set[str]()
    command = [sys.executable, "-m", "retrieval.app", "--port", "0", "--json", "--gallery", str(gallery)]
    answers = 0
    for number, chance in enumerate(trials(2)):
        with subprocess.Popen([*command, "--writable"], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            answers += _change(process, url, chance, f"{number}", image, there, unsure)
        found = set(content(gallery))
        assert there - unsure <= found <= there | unsure
        there, unsure = found, set()
    print(f"{answers} changes were acknowledged")
    assert answers


def _change(
    process: "subprocess.Popen[str]",
    url: str,
    chance: random.Random,
    prefix: str,
    image: bytes,
    there: set[str],
    unsure: set[str],
) -> int:
    """Add and remove until the service is killed; return how often it answered."""
    end, answers = time.monotonic() + chance.uniform(0, 1.5), 0
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        while True:
            adds = len(there) < 5 or chance.random() < 0.7
            key = f"{prefix}-{answers}" if adds else chance.choice(sorted(there))
            if time.monotonic() > end:
                # Amid the request, or before it.
                os.kill(process.pid, signal.SIGKILL)
            try:
                if adds:
                    answer = client.put(f"/api/entries/{key}", files={"image": image})
                else:
                    answer = client.delete(f"/api/entries/{key}")
            except httpx.TransportError:
                unsure.add(key)
                return answers
            assert answer.is_success, answer.text
            there.add(key) if adds else there.remove(key)
            answers += 1
