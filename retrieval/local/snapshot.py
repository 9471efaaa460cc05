"""What is derived from a gallery's SQLite file, written down so that a start does not derive it again.

`derived/current.json` names the files of one snapshot and says which state of the database they are of. It
is written last and renamed into place; what it does not name is debris of a write that was cut short. The
vector file is only appended to. It has a checksum of itself and of the other files, and the table has one of
each vector. All of `derived/` may be deleted at any time: SQLite is the truth.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from retrieval.local import checksums
from retrieval.local.approximate import ApproximateIndex, Effort
from retrieval.local.checksums import DamagedError
from retrieval.local.keys import Keys
from retrieval.local.reader import State
from retrieval.local.table import ALWAYS, COLUMNS, Table, has_values
from retrieval.local.vectors import Vectors
from zoo.camera_means import CameraMeans, CameraSums
from zoo.errors import UserError
from zoo.files import replacing, write_text

FOLDER, MANIFEST = "derived", "current.json"
FORMAT = 4
"""Since 4 a column without any value is left out."""

_KNOWN = (3, FORMAT)
"""Since 3 there are checksums; what has none is made anew."""


@dataclass(frozen=True)
class Derived:
    """Everything in memory that is made of the database, row by row in the same positions.

    What searches look at: another one takes its place when the gallery changes. The index alone is shared
    between them; it may lag behind the table.

    Attributes:
        sums: what camera centring goes by, of just these rows; None where the gallery does not centre.
    """

    table: Table
    vectors: Vectors
    index: ApproximateIndex | None = None
    state: State = field(default_factory=State)
    sums: CameraSums | None = None

    @property
    def means(self) -> CameraMeans | None:
        """The camera means of these rows; None where the gallery does not centre."""
        return None if self.sums is None else self.sums.means

    @property
    def usable_index(self) -> ApproximateIndex | None:
        """The index, where it is of vectors that are centred or not as they are compared."""
        index = self.index
        return None if index is None or (index.means is None) != (self.sums is None) else index

    @cached_property
    def drifted(self) -> np.ndarray:
        """Positions, ascending, that the index misplaces: their cameras' means have moved since."""
        index = self.usable_index
        cameras = [] if index is None or self.means is None else index.drifted_cameras(self.means)
        if not cameras:
            return np.zeros(0, np.int64)
        return np.flatnonzero(np.isin(self.table["camera"], cameras) & self.table["alive"])


def write(folder: Path, gallery_id: str, derived: Derived) -> Derived:
    """Write a snapshot and take the files of the one before away.

    Returns:
        the same, whose vectors are all read from the file.

    Raises:
        UserError: the disk is full, or cannot be written to; the snapshot before still stands.
        DamagedError: a vector that is in the file already is not what was written.
    """
    with _faults_told(folder):
        return _write(folder / FOLDER, gallery_id, derived)


def with_vectors_written(folder: Path, derived: Derived) -> Derived:
    """The same, whose vectors are all read from the file: what a process holds in memory stays small.

    The snapshot that stands knows nothing of them, and whoever goes on from it writes over them.

    Raises:
        UserError, DamagedError: as `write`.
    """
    with _faults_told(folder):
        path = folder / FOLDER / f"vectors-{uuid.uuid4().hex[:12]}.f32"
        return replace(derived, vectors=derived.vectors.written(path))


@contextmanager
def _faults_told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{folder / FOLDER}: the snapshot cannot be written ({error.strerror}); nothing of the gallery "
            "is lost. Free some space or mend the permissions"
        ) from error


def _write(target: Path, gallery_id: str, derived: Derived) -> Derived:
    name = uuid.uuid4().hex[:12]
    target.mkdir(exist_ok=True)
    vectors = derived.vectors.written(target / f"vectors-{name}.f32")
    vectors_name = "" if vectors.path is None else vectors.path.name
    keys = derived.table.keys
    rows = len(keys)
    with replacing(target / f"table-{name}.npz") as temporary, open(temporary, "wb") as file:
        arrays: dict[str, Any] = derived.table.filled
        arrays["keys"], arrays["lengths"] = keys.packed, keys.lengths
        arrays["vector_checksums"] = vectors.checksums
        if derived.sums is not None:
            arrays |= {f"sums_{name}": array for name, array in derived.sums.to_arrays().items()}
        index_means = None if derived.index is None else derived.index.means
        if index_means is not None:
            arrays |= {f"means_{name}": np.asarray(value) for name, value in vars(index_means).items()}
        np.savez(file, **arrays)
    content: dict[str, Any] = {
        "format": FORMAT,
        "gallery_id": gallery_id,
        "rows": rows,
        "dimension": derived.vectors.dimension,
        "last_key": keys[rows - 1] if rows else "",
        "vectors": vectors_name,
        "table": f"table-{name}.npz",
        "table_checksum": checksums.of_file(target / f"table-{name}.npz"),
        **asdict(derived.state),
    }
    if derived.index is not None:
        content["index"] = {
            "file": f"index-{name}.faiss",
            "factory": derived.index.factory,
            "built_rows": derived.index.built_rows,
            "effort": asdict(derived.index.effort),
        }
        with replacing(target / f"index-{name}.faiss") as temporary:
            derived.index.write(temporary)
        content["index"]["checksum"] = checksums.of_file(target / f"index-{name}.faiss")
    content["checksum"] = _checksum(content)
    write_text(target / MANIFEST, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    named = {MANIFEST, vectors_name, content["table"], content.get("index", {}).get("file")}
    for path in target.iterdir():
        if path.name not in named:
            with suppress(OSError):
                path.unlink()
    return replace(derived, vectors=vectors)


def stamp(folder: Path) -> tuple[int, int]:
    """What changes whenever a snapshot is written."""
    try:
        found = (folder / FOLDER / MANIFEST).stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_ino)


def read(folder: Path, gallery_id: str, dimension: int) -> tuple[Derived, str] | None:
    """Read the snapshot; None where there is none that is whole and of this gallery.

    Returns:
        what it holds, and the key of its last row.
    """
    target = folder / FOLDER
    content = _read(target)
    if content is None or (content["gallery_id"], content["dimension"]) != (gallery_id, dimension):
        return None
    try:
        _check(target / content["table"], content["table_checksum"])
        with np.load(target / content["table"], allow_pickle=False) as arrays:
            keys = Keys(arrays["keys"], np.cumsum(arrays["lengths"], dtype=np.int64))
            vector_checksums = arrays["vector_checksums"]
            columns = {name: arrays[name] for name in COLUMNS if name in ALWAYS or name in arrays}
            if content["format"] != FORMAT:
                columns = {n: column for n, column in columns.items() if n in ALWAYS or has_values(n, column)}
            sums = _named(arrays, "sums_")
            means = _named(arrays, "means_")
        rows = int(content["rows"])
        if any(len(column) != rows for column in (keys, vector_checksums, *columns.values())):
            return None
        found = content.get("index")
        index = None
        if found is not None:
            _check(target / found["file"], found["checksum"])
            effort = Effort(**found["effort"])
            index = ApproximateIndex.read(
                target / found["file"],
                found["factory"],
                found["built_rows"],
                effort,
                _means(means) if means else None,
            )
            if len(index) > rows:
                return None
        state = State(int(content["last_id"]), int(content["last_removal"]))
        derived = Derived(
            Table(columns, keys),
            Vectors.read(dimension, target / content["vectors"], vector_checksums),
            index,
            state,
            CameraSums.from_arrays(sums) if sums else None,
        )
        return derived, str(content["last_key"])
    except (DamagedError, OSError, ValueError, RuntimeError, EOFError, BadZipFile):
        # Damaged, or another process has just replaced it: either way the database has it all.
        return None


def _check(path: Path, checksum: int) -> None:
    if checksums.of_file(path) != checksum:
        raise DamagedError(path)


def _checksum(content: Mapping[str, Any]) -> int:
    """Of what the manifest says besides this."""
    rest = {name: value for name, value in content.items() if name != "checksum"}
    return checksums.of_values(json.dumps(rest, sort_keys=True))


def _named(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}


def _means(arrays: dict[str, Any]) -> CameraMeans:
    within = float(arrays.pop("within"))
    return CameraMeans(**arrays, within=within)


def _read(target: Path) -> dict[str, Any] | None:
    try:
        content = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    is_known = isinstance(content, dict) and content.get("format") in _KNOWN
    return content if is_known and content.get("checksum") == _checksum(content) else None
