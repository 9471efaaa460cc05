"""Checkpoints of others, read with suspicion: `.pth.tar` files are pickles, and a pickle is a program.

Three fences, each alone enough for most attacks: the archive's sizes are checked before anything is unpacked,
the names that the pickle asks for are read without running it and held against a short list, and torch then
loads it with `weights_only`.
"""

import io
import pickle
import pickletools
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from zoo.errors import UserError
from zoo.weights import read_tensors

MAX_BYTES = 2 << 30
"""A DenseNet121 with its optimiser's state is 0.1 GB."""

MAX_PICKLE_BYTES = 16 << 20
"""The pickle holds names and shapes only; a real one has 0.2 MB."""

_OWN_TRAINING_STATE = b"vehicle-reid training state"
_LEGACY_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
_LEGACY_PICKLES = 5  # magic number, protocol, system, the object, storage keys

ENTRIES = (
    *(
        "state_dict",
        "model_state_dict",
        "model_state",
        "model",
        "network",
        "net",
        "params",
        "weights",
        "module",
    ),
    *("state_dict_ema", "ema_state_dict", "model_ema", "ema_model", "ema", "params_ema", "average"),
)
"""What programs call a network's state dict in their checkpoints, averages last; of several, the first."""

_STORAGES = ("Float", "Half", "Double", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
_ALLOWED = {
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch.Size",
    *(f"torch.{name}Storage" for name in _STORAGES),
    # The rank-1 figure beside the weights is often a NumPy scalar.
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "_codecs.encode",
}


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        state: parameter name -> tensor on the CPU, as named in the file.
        facts: the plain values beside the weights, e.g. `epoch` and `rank1`.
        left_out: names of the other entries, e.g. the optimiser's state.
        entry: where in the file the state dict was, e.g. `state_dict`; empty where the file is one.
    """

    state: dict[str, Tensor]
    facts: dict[str, Any]
    left_out: tuple[str, ...]
    entry: str = ""


class _NumpyDtype:
    """Stands in for `numpy.dtype` while unpickling, so that no code of NumPy's runs."""

    def __init__(self, code: Any = "", *_: Any) -> None:
        self.code = code
        self.order = "<"

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] == ">":
            self.order = ">"


class _NumpyScalar:
    """Stands in for a NumPy scalar while unpickling."""

    def __init__(self, dtype: Any = None, data: Any = b"") -> None:
        formats = {"f2": "e", "f4": "f", "f8": "d", "i4": "i", "i8": "q", "b1": "?"}
        code = getattr(dtype, "code", None)
        self.value: Any = None
        if isinstance(code, str) and code in formats and isinstance(data, bytes):
            (self.value,) = struct.unpack(f"{dtype.order}{formats[code]}", data)


_STAND_INS: list[Any] = [
    (_NumpyScalar, "numpy.core.multiarray.scalar"),
    (_NumpyScalar, "numpy._core.multiarray.scalar"),
    (_NumpyDtype, "numpy.dtype"),
]


def read_foreign_checkpoint(path: str | Path) -> Checkpoint:
    """Read a state dict, or a dictionary with one in it, in torch's zip format, the one before it or
    safetensors.

    Raises:
        UserError: missing, truncated, no checkpoint, larger than it can honestly be, or asking for code.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UserError(f"{path}: {size} bytes are more than the limit of {MAX_BYTES} for a checkpoint")
        if path.suffix == ".safetensors":
            return Checkpoint(read_tensors(path), {}, ())
        with path.open("rb") as file:
            _check_pickles(path, file)
            file.seek(0)
            loaded = _load(path, file)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    return _take_apart(path, loaded, size)


def _check_pickles(path: Path, file: IO[bytes]) -> None:
    start = file.read(64)
    file.seek(0)
    if start.startswith(b"version https://git-lfs"):
        raise UserError(
            f"{path}: a Git LFS pointer, not the file itself; run `git lfs pull` where it came from"
        )
    if start.startswith(_OWN_TRAINING_STATE):
        raise UserError(
            f"{path}: a training's state, for training.launch --resume; its weights are beside it, in "
            f" {path.with_name('best.safetensors')}"
        )
    zipped, legacy = start.startswith(b"PK\x03\x04"), start.startswith(_LEGACY_MAGIC)
    try:
        # In memory, because reading from a file makes room for as many bytes as the pickle claims to have.
        stream = io.BytesIO(_zip_pickle(path, file) if zipped else file.read(MAX_PICKLE_BYTES))
        wanted = set[str]().union(*(_globals(stream) for _ in range(_LEGACY_PICKLES if legacy else 1)))
    except UserError:
        raise
    except Exception as error:
        # zipfile and pickletools raise a dozen kinds of errors on damaged bytes.
        reason = " ".join(str(error).split())[:100]
        raise UserError(
            f"{path}: truncated, damaged, or no checkpoint of torch ({reason}); copy it again"
        ) from error
    if foreign := sorted(wanted - _ALLOWED):
        raise UserError(
            f"{path}: refused: beside weights it asks for {', '.join(foreign)[:200]}; nothing was executed. "
            "Ask for a file that holds the state dict alone"
        )
    if not (zipped or legacy):
        raise UserError(f"{path}: a pickle, but no checkpoint that torch wrote; save it with torch.save")


def _zip_pickle(path: Path, file: IO[bytes]) -> bytes:
    """Check an archive's sizes as it states them and read its pickle."""
    archive = zipfile.ZipFile(file)
    entries = archive.infolist()
    size = path.stat().st_size
    stated = sum(entry.file_size for entry in entries)
    if stated > size or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise UserError(
            f"{path}: refused: torch stores without compression, and this archive of {size} bytes claims to "
            f"unpack to {stated}; get the file from its makers again"
        )
    pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError("a zip archive without data.pkl")
    if pickles[0].file_size > MAX_PICKLE_BYTES:
        raise ValueError(f"its data.pkl has {pickles[0].file_size} bytes")
    return archive.read(pickles[0])


def _globals(file: IO[bytes]) -> set[str]:
    """Name all that one pickle wants imported; reads its operations and runs none."""
    found = set()
    for name, text in _import_operations(file):
        # Operations of later protocols take the name from the stack; torch's own never do.
        found.add(text if name in ("GLOBAL", "INST") else f"{text} ({name})")
    return found


def _import_operations(file: IO[bytes]) -> Iterator[tuple[str, str]]:
    strings: list[str] = []
    for operation, argument, _ in pickletools.genops(file):
        if operation.name in ("GLOBAL", "INST"):
            yield operation.name, str(argument).replace(" ", ".")
        elif operation.name == "STACK_GLOBAL" or operation.name.startswith("EXT"):
            yield operation.name, ".".join(strings[-2:])
        elif isinstance(argument, str):
            strings = [*strings[-1:], argument]


def _allowed() -> AbstractContextManager[Any]:
    """Let `weights_only` take the stand-ins; before torch 2.5 it takes plain numbers and tensors alone."""
    allow = getattr(torch.serialization, "safe_globals", None)
    return nullcontext() if allow is None else allow(_STAND_INS)


def _load(path: Path, file: IO[bytes]) -> Any:
    try:
        with _allowed(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        # A damaged or malicious file makes the unpickler fail in any way there is; none is a crash of ours.
        reason = " ".join(str(error).split()) or type(error).__name__
        # torch before 2.5 tells of every failure as of one to unpickle, with its advice first.
        if isinstance(error, pickle.UnpicklingError) and "unsupported" in reason.lower():
            raise UserError(f"{path}: refused, nothing was executed ({reason[:120]})") from error
        reason = reason[-120:] if len(reason) > 400 else reason[:120]
        raise UserError(f"{path}: truncated or damaged ({reason}); copy it again") from error


def _take_apart(path: Path, loaded: Any, size: int) -> Checkpoint:
    if not isinstance(loaded, Mapping):
        raise UserError(f"{path}: holds a {type(loaded).__name__}, not a checkpoint with a state dict")
    places = sorted(_state_dicts(loaded), key=lambda place: _preference(place[0]))
    if not places:
        raise UserError(
            f"{path}: its state dict is empty or none at all{_oddity(loaded)}; a checkpoint is a state dict, "
            "or a dictionary with one in it"
        )
    entry, state = places[0]
    claimed = sum(value.numel() * value.element_size() for value in state.values())
    if claimed > size:
        raise UserError(f"{path}: refused: a file of {size} bytes claims tensors of {claimed} bytes")
    facts: dict[str, Any] = {}
    left_out = []
    for key, value in loaded.items() if entry else ():
        if str(key) == entry[0]:
            continue
        plain = value.value if isinstance(value, _NumpyScalar) else value
        if isinstance(plain, Tensor) and plain.numel() == 1:
            plain = plain.item()
        if isinstance(plain, str | int | float):
            facts[str(key)] = plain
        else:
            left_out.append(str(key))
    return Checkpoint(dict(state), facts, tuple(left_out), ".".join(entry))


def _state_dicts(
    loaded: Mapping[Any, Any], place: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Find what has names and tensors alone, at most three dictionaries deep, each with its place."""
    if loaded and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in loaded.items()):
        yield place, loaded
    elif len(place) < 3:
        for key, value in loaded.items():
            if isinstance(value, Mapping):
                yield from _state_dicts(value, (*place, str(key)))


def _oddity(loaded: Mapping[Any, Any]) -> str:
    """Name the first thing that no state dict has; empty where there is none."""
    for key, value in loaded.items():
        if isinstance(value, Mapping):
            if inside := _oddity(value):
                return inside
        elif not (isinstance(key, str) and isinstance(value, Tensor)):
            return f" ({str(key)[:60]!r} is a {type(value).__name__})"
    return ""


def _preference(place: tuple[str, ...]) -> tuple[int, int]:
    """Sort the model's own state dict before an average of it, and both before what only looks like one."""
    names = [ENTRIES.index(name) for name in place if name in ENTRIES]
    return (max(names, default=0 if not place else len(ENTRIES)), len(place))
