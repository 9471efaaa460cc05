"""A model copied out of the zoo: weights and card, whole and verified."""

import shutil
from pathlib import Path

from zoo.errors import UserError
from zoo.files import replacing
from zoo.hub.cache import Digest, object_path
from zoo.hub.remote import list_remote
from zoo.loading import read_card
from zoo.registry import weights_path


def push_to_folder(name: str, folder: str | Path) -> list[Path]:
    """Copy a model's weights and card, or a fetched file under its own name, into a folder.

    Args:
        name: of a shipped or cached model, the path of a `.safetensors` file, or a fetched file's name.
        folder: made where it is not there; files of the same names are replaced.

    Returns:
        The files written.

    Raises:
        UserError: nothing of that name here, damaged at the source, or the folder cannot be written to.
    """
    folder = Path(folder)
    for entry in list_remote():
        if entry.name == name and entry.kind in ("file", "network"):
            source = object_path(entry.digest)
            if not source.exists():
                raise UserError(f"{name}: not fetched yet; run `python -m zoo fetch {name}`")
            return [_copy(source, folder / Path(entry.path).name, entry.digest)]
    weights = weights_path(name)
    card = read_card(weights)
    if not card.weights_sha256:
        # A card that was read from inside the weights cannot hold their sha256.
        card = card.replace(weights_sha256=Digest("sha256", "").of(weights).value)
    target = folder / weights.name
    # As in save_weights: new weights never lie beside an old card; without one, the card inside counts.
    beside = target.with_suffix(".json")
    _copy(weights, target, Digest("sha256", card.weights_sha256), stale=beside)
    card.write(beside)
    return [target, beside]


def _copy(source: Path, target: Path, digest: Digest, stale: Path | None = None) -> Path:
    if not source.is_file():
        raise UserError(f"{source}: nothing is there to copy; see `python -m zoo list`")
    if target.exists() and target.samefile(source):
        raise UserError(f"{target}: is the original itself; choose another folder")
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
        found = digest.of(temporary)
        if found != digest:
            raise UserError(
                f"{source}: damaged ({found} instead of {digest.value}); nothing was copied. Get it again"
            )
        if stale is not None:
            stale.unlink(missing_ok=True)
    return target
