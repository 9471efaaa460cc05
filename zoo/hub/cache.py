"""Where fetched files and imported models are kept, and how their contents are told apart.

`objects/` is content-addressed: a file's name is its digest, so two entries of the same bytes are one file,
and a file that is not what its name says is damaged. `models/` holds what `load_model` finds by name,
`networks/` the bundles that `open_encoder` finds by name.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from zoo.errors import UserError

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Digest:
    """What a file's bytes have to be.

    Attributes:
        algorithm: `git` is a git blob id, sha1 of `blob <size>\\0` and the bytes.
        value: lower-case hexadecimal.
    """

    algorithm: Literal["git", "sha256"]
    value: str

    @classmethod
    def parse(cls, text: str) -> "Digest":
        """Read `git:<40 digits>` or `sha256:<64 digits>`."""
        algorithm, _, value = text.partition(":")
        lengths = {"git": 40, "sha256": 64}
        if len(value) != lengths.get(algorithm) or set(value) - set("0123456789abcdef"):
            raise ValueError(f"{text!r} is neither git:<40 hexadecimal digits> nor sha256:<64>")
        return cls("git" if algorithm == "git" else "sha256", value)

    def of(self, path: Path) -> "Digest":
        """Compute the digest of the same kind of a file."""
        with path.open("rb") as file:
            if self.algorithm == "git":
                size = os.fstat(file.fileno()).st_size
                state = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
            else:
                state = hashlib.sha256()
            while chunk := file.read(_CHUNK):
                state.update(chunk)
        return Digest(self.algorithm, state.hexdigest())

    def matches(self, path: Path) -> bool:
        """Tell whether a file has this digest."""
        return self.of(path) == self

    def __str__(self) -> str:
        name = "git blob id" if self.algorithm == "git" else "sha256"
        return f"{name} {self.value}"


def verify_weights(path: Path, sha256: str) -> None:
    """Hold a model's weights against what its card says of them.

    Args:
        path: of the weights.
        sha256: the card's `weights_sha256`; a card that was read from inside the weights has none.

    Raises:
        UserError: no file, or another one.
    """
    if not path.is_file():
        raise UserError(f"{path}: no weights there; check the path, or see `python -m zoo list`")
    if sha256 and (found := Digest("sha256", "").of(path).value) != sha256:
        raise UserError(
            f"{path}: damaged, or not the weights of {path.with_suffix('.json').name} "
            f"(sha256 {found[:12]}..., the card has {sha256[:12]}...); copy both files again"
        )


def cache_root() -> Path:
    """Name the cache's folder: `$VEHICLE_REID_CACHE`, or `vehicle-reid-zoo` in the user's cache folder."""
    if chosen := os.environ.get("VEHICLE_REID_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "vehicle-reid-zoo"


def object_path(digest: Digest) -> Path:
    """Name the file that holds the bytes of this digest, whether or not it exists."""
    return cache_root() / "objects" / f"{digest.algorithm}-{digest.value}"


def networks_folder() -> Path:
    """Name the folder of bundles of others' networks, whether it is there or not."""
    return cache_root() / "networks"


def models_folder() -> Path:
    """Name the folder of imported models, whether or not it exists."""
    return cache_root() / "models"
