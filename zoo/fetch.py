"""From an entry of the registry to verified bytes in the cache, and from there to a model."""

import contextlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from zoo.card import Card
from zoo.errors import UserError
from zoo.hub.cache import Digest, models_folder, networks_folder, object_path, verify_weights
from zoo.hub.download import DownloadError, download
from zoo.hub.remote import RemoteFile
from zoo.processes import own_module


def fetch(entry: RemoteFile, accept_licence: bool = False, offline: bool = False) -> tuple[Path, list[str]]:
    """Bring an entry into the cache: its bytes verified, a checkpoint a model, a network a bundle.

    Args:
        entry: from `zoo.hub.remote`.
        accept_licence: the user keeps to the licence; needed for non-commercial material.
        offline: takes what the cache holds and asks no network.

    Returns:
        The model's weights, the bundle, or the file itself, and remarks on what was done.

    Raises:
        UserError: the licence is not accepted, the network refuses (with the steps by hand), the bytes are
            wrong (they are removed), or the checkpoint or network does not fit.
    """
    entry.check_licence(accept_licence)
    if entry.kind == "file":
        return _fetch_object(entry, offline), []
    if entry.kind == "network":
        return _fetch_network(entry, offline)
    weights = models_folder() / f"{entry.name}.safetensors"
    if weights.exists() and weights.with_suffix(".json").exists():
        card = Card.read(weights.with_suffix(".json"))
        if entry.digest.value in card.source:
            # Damaged since then: it is imported once more.
            with contextlib.suppress(UserError):
                verify_weights(weights, card.weights_sha256)
                return weights, ["already imported"]
    from zoo.importing import import_checkpoint

    source = _fetch_object(entry, offline)
    imported = import_checkpoint(source, entry.name, input_size=entry.input_size, **card_fields(entry))
    return imported.path, list(imported.remarks)


def card_fields(entry: RemoteFile) -> dict[str, Any]:
    """Say in a card where a model comes from."""
    return {
        "licence": entry.source.licence,
        "source": f"{entry.origin}, {entry.digest}",
        "notes": entry.notes,
    }


def _fetch_network(entry: RemoteFile, offline: bool) -> tuple[Path, list[str]]:
    bundle = networks_folder() / entry.name
    if _is_whole(bundle, entry):
        return bundle, ["already made into a bundle"]
    file = _fetch_object(entry, offline)
    # Of another release or damaged, and the cache's own.
    shutil.rmtree(bundle, ignore_errors=True)
    height, width = map(str, entry.input_size)
    fields = card_fields(entry)
    command = [
        *("serving.export", "--onnx", str(file), "--size", height, width, *entry.pixels.split()),
        *("--name", entry.name, "--out", str(bundle)),
        *(part for field, text in fields.items() for part in (f"--{field}", text)),
    ]
    # A process, because the zoo knows nothing of what is built on it.
    command, environment = own_module(*command)
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise UserError(
            f"{entry.name}: serving.export made no bundle of {file} (exit code {done.returncode}); its "
            "message stands above"
        )
    return bundle, done.stdout.splitlines()


def _is_whole(bundle: Path, entry: RemoteFile) -> bool:
    """Whether a bundle is there, of the entry's file, and its model what it was measured with."""
    try:
        report = json.loads((bundle / "parity.json").read_text(encoding="utf-8"))
        card = Card.read(bundle / "card.json")
        found = Digest("sha256", "").of(bundle / "model.onnx")
    except (OSError, ValueError, UserError):
        return False
    return entry.digest.value in card.source and found.value == report.get("model_hash")


def _fetch_object(entry: RemoteFile, offline: bool) -> Path:
    target = object_path(entry.digest)
    if target.exists():
        _verify(entry, target, "the cache's copy")
        return target
    # The steps by hand end there, so the folder should exist.
    with contextlib.suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
    if offline:
        raise UserError(
            f"{entry.name}: not in the cache, and --offline asks no network; {entry.manual_steps()}"
        )
    part = target.with_name(f"{target.name}.part")
    try:
        download(entry.url, part)
    except DownloadError as error:
        raise UserError(
            f"{entry.name}: {entry.url} cannot be fetched ({error}); {entry.manual_steps()}"
        ) from error
    _verify(entry, part, entry.url)
    part.replace(target)
    return target


def _verify(entry: RemoteFile, path: Path, what: str) -> None:
    """Remove a file that is not the entry's, and say so."""
    found = entry.digest.of(path)
    if found == entry.digest:
        return
    size = path.stat().st_size
    path.unlink()
    raise UserError(
        f"{entry.name}: {what} is not the file that was asked for ({size} bytes of {found} instead of "
        f"{entry.digest.value}); it was removed. Run the same command again; if it is wrong again, "
        f"{entry.manual_steps()}"
    )
