"""A run's training state on disk: `last.ckpt`, and the one before it as `previous.ckpt`.

Tensors as safetensors, all else as JSON in its header, and before both a checksum, because safetensors does
not notice a changed tensor. Nothing is pickled.
"""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from zoo.errors import UserError
from zoo.files import replacing

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"

_MAGIC = b"vehicle-reid training state 1\n"


def write_checkpoint(folder: Path, payload: bytes) -> None:
    """Write what `serialise` made as the last checkpoint; that of before becomes the previous one.

    Killed at any moment, one of the two is whole.

    Raises:
        UserError: the disk is full, or the folder cannot be written to.
    """
    last = folder / LAST
    with replacing(last) as temporary:
        with temporary.open("wb") as file:
            file.write(_MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n")
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        if last.exists():
            _keep(last, folder / PREVIOUS)


def _keep(last: Path, previous: Path) -> None:
    previous.unlink(missing_ok=True)
    try:
        previous.hardlink_to(last)
    except OSError:
        # A file system without hard links: for a moment there is no last one.
        last.replace(previous)


def read_checkpoint(folder: Path) -> bytes | None:
    """Read the newest checkpoint that is whole, for `deserialise`; a damaged one is named on stderr.

    Returns:
        None where there has never been one.

    Raises:
        UserError: there are checkpoints, and all are damaged.
    """
    found = [path for path in (folder / LAST, folder / PREVIOUS) if path.exists()]
    for number, path in enumerate(found):
        try:
            payload = _verified(path)
        except ValueError as error:
            print(f"warning: {path}: refused, {error}", file=sys.stderr)
            continue
        if number or path.name == PREVIOUS:
            print(f"warning: continuing from {path}, the checkpoint before it", file=sys.stderr)
        return payload
    if not found:
        return None
    raise UserError(
        f"{folder}: no checkpoint there can be used ({', '.join(p.name for p in found)} damaged); copy them "
        "again, or start anew with --overwrite"
    )


def _verified(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"it cannot be read ({error.strerror})") from error
    if not data.startswith(_MAGIC):
        raise ValueError("it is damaged or no checkpoint of this project")
    digest, newline, payload = data[len(_MAGIC) :].partition(b"\n")
    if not newline or hashlib.sha256(payload).hexdigest().encode() != digest:
        raise ValueError("it is damaged: the checksum does not match")
    return payload


def serialise(tree: Any) -> bytes:
    """Serialise dicts, lists, tuples, tensors and what JSON knows, nested as they are."""
    tensors: dict[str, Tensor] = {}

    def plain(node: Any) -> Any:
        if isinstance(node, Tensor):
            name = str(len(tensors))
            # A clone, because parts of one storage are refused.
            tensors[name] = node.detach().cpu().clone(memory_format=torch.contiguous_format)
            return {"tensor": name}
        if isinstance(node, dict):
            # As pairs: JSON would turn an optimiser's integer keys into text.
            return {"dict": [[key, plain(value)] for key, value in node.items()]}
        if isinstance(node, list | tuple):
            return {type(node).__name__: [plain(value) for value in node]}
        return node

    text = json.dumps(plain(tree))
    return safetensors.torch.save(tensors, metadata={"tree": text})


def deserialise(payload: bytes) -> Any:
    """The reverse of `serialise`; tensors are on the CPU."""
    tensors = safetensors.torch.load(payload)
    (length,) = (int.from_bytes(payload[:8], "little"),)
    text = json.loads(payload[8 : 8 + length])["__metadata__"]["tree"]

    def nested(node: Any) -> Any:
        if not isinstance(node, dict):
            return node
        ((kind, content),) = node.items()
        if kind == "tensor":
            return tensors[content]
        if kind == "dict":
            return {key: nested(value) for key, value in content}
        values = [nested(value) for value in content]
        return tuple(values) if kind == "tuple" else values

    return nested(json.loads(text))
