"""Weights on disk: safetensors with the card inside, and the card once more as JSON beside it."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from zoo.card import Card
from zoo.errors import UserError
from zoo.files import replacing
from zoo.hub.cache import verify_weights

_NAMED = 10
"""So many keys of a kind are named in a message."""

_DTYPES = {"float32": torch.float32, "float16": torch.float16}


def save_weights(
    model: nn.Module, card: Card, path: str | Path, dtype: Literal["float32", "float16"] = "float32"
) -> Card:
    """Write a model's weights and card, whole or not at all.

    The identity classifier is written only where the card's options have `num_ids`: a released model is saved
    with a card that has none.

    Args:
        model: on any device, in any float type.
        card: its `weights_sha256` is filled in, in the JSON beside the weights and in the card returned.
        path: ends in `.safetensors`; the card goes to the same name with `.json`.
        dtype: of the file. BatchNorm's running statistics stay float32: they exceed half precision's range.

    Raises:
        UserError: the disk is full, the folder cannot be written to, or a weight is not finite.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise UserError(f"{path}: weights are written as .safetensors; give the file that ending")
    state = {}
    classifier = f"{getattr(model, 'identity_classifier', None)}."
    for key, value in model.state_dict().items():
        if key.startswith(classifier) and not card.options.get("num_ids"):
            continue
        tensor = value.detach().cpu().contiguous()
        if tensor.is_floating_point():
            keep = key.endswith((".running_mean", ".running_var"))
            tensor = tensor.to(torch.float32 if keep else _DTYPES[dtype])
            if not torch.isfinite(tensor).all():
                raise UserError(
                    f"{path}: {key} has values that are not finite in {dtype}; nothing was written"
                )
        state[key] = tensor
    card = card.replace(weights_sha256="", sameness={})
    # Serialised in memory: safetensors reports a full disk as an error of its own kind, Python as an OSError.
    data = safetensors.torch.save(state, metadata={"card": card.to_json()})
    beside = path.with_suffix(".json")
    with replacing(path) as temporary:
        temporary.write_bytes(data)
        # Killed between the two renames, the new weights must not lie beside the old card: without one,
        # the card inside counts.
        beside.unlink(missing_ok=True)
    card = card.replace(weights_sha256=hashlib.sha256(data).hexdigest())
    card.write(beside)
    return card


def load_weights(path: str | Path) -> tuple[dict[str, Tensor], Card]:
    """Read weights and card; the JSON beside the weights counts before the card inside.

    Returns:
        The state dict, its floats as float32, and the card.

    Raises:
        UserError: missing, damaged, not the file that the card beside it describes, or without any card.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no weights there; check the path, or see `python -m zoo list`")
    beside = path.with_suffix(".json")
    card = Card.read(beside) if beside.exists() else read_embedded_card(path)
    verify_weights(path, card.weights_sha256)
    state = read_tensors(path)
    return {key: t.float() if t.is_floating_point() else t for key, t in state.items()}, card


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a `.safetensors` file, whoever wrote it.

    Raises:
        UserError: damaged.
    """
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def read_embedded_card(path: str | Path) -> Card:
    """Read the card inside a `.safetensors` file.

    Raises:
        UserError: missing or damaged, or written by another program and without a card.
    """
    if (text := _embedded_text(Path(path))) is None:
        raise UserError(f"{path}: no card inside; put one beside it as {Path(path).stem}.json")
    return Card.from_json(text, f"the card inside {path}")


def has_card(path: Path) -> bool:
    """Whether a card lies beside some weights, or inside.

    Raises:
        UserError: missing or damaged.
    """
    if path.with_suffix(".json").exists():
        return True
    return path.suffix == ".safetensors" and _embedded_text(path) is not None


def _embedded_text(path: Path) -> str | None:
    if not path.is_file():
        raise UserError(f"{path}: no weights there; check the path, or see `python -m zoo list`")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            text: str | None = (file.metadata() or {}).get("card")
            return text
    except (safetensors.SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


@dataclass(frozen=True)
class Misfits:
    """The keys of a state dict that do not fit a model, sorted."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.missing) + len(self.unexpected) + len(self.misshapen)

    def lines(self) -> list[str]:
        """Tell of each key in a line of its own."""
        kinds = (("missing", self.missing), ("unexpected", self.unexpected), ("misshapen", self.misshapen))
        return [f"{kind}: {key}" for kind, keys in kinds for key in keys]


def compare_keys(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Misfits:
    """Hold a state dict against a model's own."""
    return Misfits(
        missing=tuple(sorted(own.keys() - state.keys())),
        unexpected=tuple(sorted(state.keys() - own.keys())),
        misshapen=tuple(
            f"{key} {list(state[key].shape)} instead of {list(own[key].shape)}"
            for key in sorted(own.keys() & state.keys())
            if own[key].shape != state[key].shape
        ),
    )


def apply_weights(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load a state dict into a model, all of it or nothing.

    Args:
        model: changed in place, only when every key fits.
        state: of the model's keys and shapes, in any float type.
        source: what error messages call the weights.

    Raises:
        UserError: names missing, unexpected and misshapen keys, or a weight that is not finite.
    """
    misfits = compare_keys(model.state_dict(), state)
    if misfits:
        faults = [f"{kind}: {_first(keys)}" for kind, keys in dataclasses.asdict(misfits).items() if keys]
        raise UserError(f"{source}: the weights do not fit the model; {'; '.join(faults)}")
    for key, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise UserError(
                f"{source}: {key} has values that are not finite; the file is damaged, or its training went "
                "wrong: take other weights"
            )
    model.load_state_dict(state)


def _first(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return ", ".join(keys[:_NAMED]) + more


def _damaged(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split())
    return UserError(f"{path}: damaged or not a safetensors file ({reason}); copy it again")
