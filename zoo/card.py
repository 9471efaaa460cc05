"""The card that travels with a model: what it takes, what it gives, where it comes from, what it measured."""

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from zoo.errors import UserError
from zoo.files import parse_json, write_text
from zoo.labels import COLORS, TYPES

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Card:
    """A model's card.

    Attributes:
        name: `arch.tag`, e.g. `densenet121.synthetic`.
        input_size: (height, width) in pixels.
        mean: per channel in 0..1, in `channels` order.
        std: per channel in 0..1, in `channels` order.
        channels: channel order of the image input.
        antialias: how images are resized to the input: see `zoo.preprocess.resize`.
        pose_inputs: name of each pose input -> its shape without the batch axis; empty for an RGB-only model.
        outputs: name of each output -> its dimension.
        metric: how embeddings are compared; `cosine` for models that give normalised embeddings.
        colors: colour names in class order; none where the model tells no colours.
        types: type names in class order, likewise.
        temperature: what `color` and `type` logits are divided by before softmax, so that a probability says
            how often it is right (Guo et al., ICML 2017); `training.calibrate` fits it.
        options: what the architecture's builder was called with.
        recipe: name of the training recipe; empty for weights that no recipe of ours made.
        command: the command that made the weights.
        metrics: measured figures, each entry with `dataset`, `device` and the figures by name.
        parameters: of the deployed model, the identity classifier left out; 0 where nobody counted.
        costs: one entry for each input `size` (height, width): `macs` of one image (1 MAC is 2 FLOPs), the
            `device`, and `latency` by `threads` and `batch` in ms a batch.
        source: where the weights come from.
        licence: SPDX identifier or a plain sentence.
        notes: what the model is good for, and what it is not.
        sameness: the sameness calibration, see `zoo.sameness`; empty where there is none. Only a card that
            lies beside weights or graph has it: it is made afterwards, and changes neither.
        weights_sha256: of the safetensors file that this card lies beside; empty before weights exist.
    """

    name: str
    input_size: tuple[int, int]
    outputs: dict[str, int]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    channels: Literal["RGB", "BGR"] = "RGB"
    antialias: bool = True
    pose_inputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    metric: Literal["euclidean", "cosine"] = "euclidean"
    colors: tuple[str, ...] = COLORS
    types: tuple[str, ...] = TYPES
    temperature: dict[str, float] = field(default_factory=lambda: {"color": 1.0, "type": 1.0})
    options: dict[str, Any] = field(default_factory=dict)
    recipe: str = ""
    command: str = ""
    metrics: list[dict[str, Any]] = field(default_factory=list)
    parameters: int = 0
    costs: list[dict[str, Any]] = field(default_factory=list)
    source: str = ""
    licence: str = ""
    notes: str = ""
    weights_sha256: str = ""
    sameness: dict[str, Any] = field(default_factory=dict)

    def replace(self, **changes: Any) -> "Card":
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to_json(self) -> str:
        """Serialise; `from_json` gives an equal card back."""
        values = dataclasses.asdict(self)
        if self.antialias:
            # As it was before there was a choice: a model's hash, of which the card is part, stays the same.
            del values["antialias"]
        if not self.sameness:
            # Programs from before sameness calibration know no such field.
            del values["sameness"]
        return json.dumps(values, indent=2, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, source: str = "card") -> "Card":
        """Read a card; `source` names it in error messages.

        Raises:
            UserError: not JSON, an unknown field, a missing one, or a temperature that is none.
        """
        try:
            values = parse_json(text, source)
        except UserError as error:
            raise UserError(f"{source}: not a card (broken JSON: {error.__cause__})") from error
        if not isinstance(values, dict):
            raise UserError(f"{source}: not a card (a JSON object is expected)")
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise UserError(
                f"{source}: the card has unknown fields {unknown}; was it written by a newer version?"
            )
        for name, is_fine in _CHECKS.items():
            if name in values and not is_fine(values[name]):
                shown = repr(values[name])
                shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
                raise UserError(f"{source}: not a card ({name} is {shown}); copy it again")
        for name in ("input_size", "mean", "std", "colors", "types"):
            if name in values:
                values[name] = tuple(values[name])
        if "pose_inputs" in values:
            values["pose_inputs"] = {name: tuple(shape) for name, shape in values["pose_inputs"].items()}
        if "temperature" in values and not _are_temperatures(values["temperature"]):
            raise UserError(
                f"{source}: the temperature must be a positive number each for color and type, "
                f"not {values['temperature']!r}"
            )
        try:
            card = cls(**values)
        except TypeError as error:
            raise UserError(f"{source}: the card is incomplete ({error})") from error
        for output, names in (("color_probs", card.colors), ("type_probs", card.types)):
            if card.outputs.get(output, len(names)) != len(names):
                raise UserError(
                    f"{source}: the card names {len(names)} classes for the {card.outputs[output]} of "
                    f"{output}; each needs its own name"
                )
        return card

    def write(self, path: str | Path) -> None:
        """Write the card as JSON, whole or not at all."""
        write_text(path, self.to_json() + "\n")

    @classmethod
    def read(cls, path: str | Path) -> "Card":
        """Read a card file.

        Raises:
            UserError: missing or unreadable.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: no card can be read there ({error})") from error
        return cls.from_json(text, str(path))


_MAX_SIDE, _MAX_WIDTH, _SHOWN = 8192, 65536, 60


def _is_whole(value: Any, largest: int) -> bool:
    return type(value) is int and 0 < value <= largest


def _are_numbers(value: Any, lowest: float) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 3
        and all(isinstance(n, int | float) and math.isfinite(n) and n >= lowest for n in value)
    )


def _are_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)


def _is_size(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(_is_whole(n, _MAX_SIDE) for n in value)


def _are_tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _are_widths(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_whole(n, _MAX_WIDTH) for n in value.values())


def _are_shapes(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(shape, list | tuple) and all(_is_whole(n, _MAX_SIDE) for n in shape)
        for shape in value.values()
    )


def _are_options(value: Any) -> bool:
    # A width of millions asks for gigabytes before a single weight is compared.
    return isinstance(value, dict) and not any(
        isinstance(option, int | float) and not abs(option) <= _MAX_WIDTH for option in value.values()
    )


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "input_size": _is_size,
    "outputs": _are_widths,
    "mean": lambda value: _are_numbers(value, -math.inf),
    "std": lambda value: _are_numbers(value, 1e-6),
    "channels": lambda value: value in ("RGB", "BGR"),
    "pose_inputs": _are_shapes,
    "metric": lambda value: value in ("euclidean", "cosine"),
    "colors": _are_names,
    "types": _are_names,
    "options": _are_options,
    "metrics": _are_tables,
    "costs": _are_tables,
    "parameters": lambda value: type(value) is int and value >= 0,
} | {
    name: lambda value: isinstance(value, str)
    for name in ("name", "recipe", "command", "source", "licence", "notes", "weights_sha256")
}
"""What a card's values have to be, beyond being JSON."""


def _are_temperatures(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"color", "type"}
        and all(isinstance(t, int | float) and 0 < t < math.inf for t in value.values())
    )
