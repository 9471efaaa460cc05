"""From an entry of the registry to verified bytes in the cache, and from there to a model."""

import contextlib
from pathlib import Path
from typing import Any

from zoo.card import Card
from zoo.errors import UserError
from zoo.hub.cache import models_folder, object_path, verify_weights
from zoo.hub.download import DownloadError, download
from zoo.hub.remote import RemoteFile


def fetch(entry: RemoteFile, accept_licence: bool = False, offline: bool = False) -> tuple[Path, list[str]]:
    """Bring an entry into the cache: its bytes verified, a checkpoint imported as a model.

    Args:
        entry: from `zoo.hub.remote`.
        accept_licence: the user keeps to the licence; needed for non-commercial material.
        offline: takes what the cache holds and asks no network.

    Returns:
        The model's weights, or the file itself, and remarks on what was done.

    Raises:
        UserError: the licence is not accepted, the network refuses (with the steps by hand), the bytes are
            wrong (they are removed), or the checkpoint does not fit.
    """
    entry.check_licence(accept_licence)
    if entry.kind == "file":
        return _fetch_object(entry, offline), []
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
