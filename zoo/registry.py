"""The models by name: an architecture is one file with one decorator, a shipped model is weights and card.

Names are `arch.tag`. Listing and showing read cards only; torch is imported when a model is built.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import logging
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import zoo.models
from zoo.card import Card
from zoo.errors import UserError
from zoo.hub.cache import models_folder, networks_folder
from zoo.hub.remote import list_remote
from zoo.labels import COLORS, TYPES

if TYPE_CHECKING:
    from torch import nn

_log = logging.getLogger(__name__)

PRETRAINED = Path(__file__).parent / "pretrained"
"""Where the shipped weights and cards are."""

MEASURED = Path(__file__).parent / "measured"
"""Cards without weights: models that were trained and measured side by side, and are not shipped."""


@dataclass(frozen=True)
class _Architecture:
    builder: Callable[..., nn.Module]
    options: type


_architectures: dict[str, _Architecture] = {}

Builder = TypeVar("Builder", bound="Callable[..., nn.Module]")


def register(arch: str, options: type) -> Callable[[Builder], Builder]:
    """Make a class or function the builder of an architecture.

    Args:
        arch: its name.
        options: a dataclass; the builder's keyword arguments, and the card's `options`, are its fields.
    """

    def decorate(builder: Builder) -> Builder:
        if arch in _architectures:
            raise ValueError(f"two builders for the architecture {arch!r}")
        _architectures[arch] = _Architecture(builder, options)
        return builder

    return decorate


def list_archs() -> list[str]:
    """Name the registered architectures, sorted. Imports torch."""
    for module in pkgutil.iter_modules(zoo.models.__path__):
        importlib.import_module(f"{zoo.models.__name__}.{module.name}")
    return sorted(_architectures)


def default_options(arch: str) -> dict[str, Any]:
    """Name the options that an architecture knows, with their defaults.

    Raises:
        UserError: no such architecture.
    """
    return {field.name: field.default for field in dataclasses.fields(_find_architecture(arch).options)}


def _find_architecture(arch: str) -> _Architecture:
    archs = list_archs()
    if arch not in archs:
        raise UserError(f"{arch}: no such architecture; known are {', '.join(archs)}")
    return _architectures[arch]


def create_model(model: str | Card, **options: Any) -> nn.Module:
    """Build a model with fresh weights.

    Args:
        model: an architecture's name, or a card, which names the architecture and its options.
        options: of the architecture; over those of a card.

    Raises:
        UserError: no such architecture or option, or a value that an option does not take.
    """
    arch = model
    if isinstance(model, Card):
        arch = model.name.split(".")[0]
        options = {**model.options, **options}
    known = default_options(str(arch))
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
            raise UserError(f"{arch}: the architecture has no option {name!r}; {hint}")
    try:
        return _find_architecture(str(arch)).builder(**options)
    except ValueError as error:
        raise UserError(f"{arch}: {error}") from error


def make_card(model: Any, name: str, input_size: tuple[int, int], **fields: Any) -> Card:
    """Write the card of a model that `create_model` built.

    Args:
        model: the model; it tells its options, pose inputs, outputs and metric.
        name: `arch.tag`.
        input_size: (height, width).
        fields: any others of the card's, e.g. `recipe`, `command`, `metrics`, `licence`; `colors` and `types`
            where the model tells others than VeRi's.

    Raises:
        ValueError: there are more or fewer names than classes.
    """
    outputs = model.outputs()
    fields = {"options": dict(model.options), "colors": COLORS, "types": TYPES, **fields}
    for names, output in (("colors", "color_probs"), ("types", "type_probs")):
        if output not in outputs:
            fields[names] = ()
        elif len(fields[names]) != outputs[output]:
            raise ValueError(f"{name}: {len(fields[names])} {names} for {outputs[output]} classes")
    return Card(
        name=name,
        input_size=input_size,
        outputs=outputs,
        pose_inputs=model.pose_inputs(input_size),
        metric=model.metric,
        **fields,
    )


def list_models(folder: Path | None = None) -> list[Card]:
    """Read the cards of all shipped models, or of those in another folder, sorted by name."""
    paths = (PRETRAINED if folder is None else folder).glob("*.json")
    return sorted(_readable(paths), key=lambda card: card.name)


def list_networks() -> list[Card]:
    """Read the cards of others' networks that were fetched, sorted by name."""
    return sorted(_readable(networks_folder().glob("[!.]*/card.json")), key=lambda card: card.name)


def _readable(paths: Iterable[Path]) -> Iterator[Card]:
    """The cards that can be read: a bad one must not take the others with it."""
    for path in paths:
        try:
            yield Card.read(path)
        except UserError as error:
            _log.warning("%s; it is passed over", error)


def network_folder(name: str | Path) -> Path | None:
    """Find the bundle of a fetched network by its name; None for any other name, and for what lies at a path.

    Raises:
        UserError: it can be fetched, and was not yet.
    """
    if Path(name).exists() or "/" in str(name):
        return None
    folder = networks_folder() / str(name)
    if (folder / "card.json").exists():
        return folder
    if str(name) in (entry.name for entry in list_remote() if entry.kind == "network"):
        raise UserError(f"{name}: not fetched yet; run `python -m zoo fetch {name}`")
    return None


def weights_path(name_or_path: str | Path) -> Path:
    """Find the weights of a shipped or cached model, or take the path of a `.safetensors` file as it is.

    Raises:
        UserError: no model here has that name; the message tells where one has to be fetched first.
    """
    path = Path(name_or_path)
    if path.suffix == ".safetensors" or path.exists():
        return path
    name = str(name_or_path)
    if (bundle := network_folder(name)) is not None:
        raise UserError(
            f"{name}: a network in ONNX, without weights of ours; use its name as an encoder, or the file "
            f"{bundle / 'model.onnx'}"
        )
    folders = (PRETRAINED, models_folder())
    for folder in folders:
        # By its name alone: whatever else lies there.
        if "/" not in name and (folder / f"{name}.json").is_file():
            return folder / f"{name}.safetensors"
    found = {card.name: folder for folder in reversed(folders) for card in list_models(folder)}
    if name not in found:
        if name in (entry.name for entry in list_remote()):
            raise UserError(f"{name}: not fetched yet; run `python -m zoo fetch {name}`")
        names = sorted(found)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(names) or 'none'}"
        raise UserError(f"{name}: neither a model of the zoo nor a .safetensors file; {hint}")
    return found[name] / f"{name}.safetensors"
