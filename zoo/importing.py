"""Checkpoints with PAMTRI's key names become models of the zoo: variant inferred, every key accounted for."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.card import Card
from zoo.errors import UserError
from zoo.foreign_checkpoint import Checkpoint, read_foreign_checkpoint
from zoo.hub.cache import models_folder
from zoo.hub.remote import recognise
from zoo.labels import COLORS, TYPES
from zoo.models.densenet121 import POOLED_DIM
from zoo.pose import NUM_KEYPOINTS, NUM_SEGMENTS
from zoo.registry import PRETRAINED, create_model, make_card
from zoo.standard_keys import TRUNK, standard_keys
from zoo.weights import Misfits, compare_keys, has_card, load_weights, read_embedded_card, save_weights

_log = logging.getLogger(__name__)

ARCH = "densenet121"
"""The one architecture that has published checkpoints of this form."""

UNKNOWN_LICENCE = "not stated; ask whoever gave you the checkpoint"

_INPUT_CHANNELS = {
    3 + NUM_KEYPOINTS * heatmaps + NUM_SEGMENTS * segments: {"heatmaps": heatmaps, "segments": segments}
    for heatmaps in (False, True)
    for segments in (False, True)
}
_FEATURE_DIMS = {POOLED_DIM: False, POOLED_DIM + 3 * NUM_KEYPOINTS: True}
_NAME = re.compile(r"[A-Za-z0-9_]+\.[A-Za-z0-9_-]+")


class KeysDoNotFitError(UserError):
    """The checkpoint is not of this architecture, or not whole.

    Attributes:
        misfits: each key that does not fit.
    """

    def __init__(self, message: str, misfits: Misfits) -> None:
        super().__init__(message)
        self.misfits = misfits


@dataclass(frozen=True)
class Imported:
    """An import that went well.

    Attributes:
        path: of the weights; the card is beside them.
        card: of the model.
        remarks: what was renamed, left out or kept, a sentence each.
    """

    path: Path
    card: Card
    remarks: tuple[str, ...]


def import_checkpoint(
    path: str | Path,
    name: str = "",
    out: str | Path | None = None,
    input_size: tuple[int, int] = (256, 256),
    keep_identities: bool = False,
    **fields: Any,
) -> Imported:
    """Convert a checkpoint to weights with a card.

    Args:
        path: see `open_checkpoint`.
        name: `densenet121.TAG`; from the file's name where it is empty.
        out: the `.safetensors` file to write; None for the cache, where `load_model(name)` finds it.
        input_size: (height, width) that the model was trained at; a checkpoint does not tell.
        keep_identities: keeps the identity classifier, for further training on the same vehicles.
        fields: of the card, e.g. `licence`, `source` and `notes`; `colors` and `types` in class order;
            `antialias`, False where nothing else is said, as PAMTRI resized.

    Raises:
        UserError: unreadable or hostile, a name that cannot be used, or a size below 32 pixels.
        KeysDoNotFitError: tells each key that is missing, unexpected or misshapen. Nothing was written.
    """
    path = Path(path)
    name = name or _name_of(path)
    target = _target(name, out)
    if min(input_size) < 32:
        raise UserError(f"--input-size {input_size[0]} {input_size[1]}: at least 32 x 32 pixels are needed")
    model, card, remarks = open_checkpoint(path, name, input_size, keep_identities, **fields)
    return Imported(target, save_weights(model, card, target), tuple(remarks))


def open_checkpoint(
    path: Path, name: str, input_size: tuple[int, int], keep_identities: bool = True, **fields: Any
) -> tuple[nn.Module, Card, list[str]]:
    """Make a checkpoint a model with a card; nothing is written.

    Args:
        path: what `torch.save` wrote: a state dict with PAMTRI's key names, or a dictionary with one in it,
            under any of the names that `zoo.foreign_checkpoint` and `zoo.standard_keys` know. Or a
            `.safetensors` file of such keys.
        name, input_size, keep_identities, fields: see `import_checkpoint`.

    Returns:
        The model, its card, and what was renamed, left out or kept, a sentence each.

    Raises:
        UserError: see `import_checkpoint`.
    """
    checkpoint = read_foreign_checkpoint(path)
    state, remarks = standard_keys(checkpoint.state, str(path))
    if path.suffix == ".safetensors" and not any(key.startswith(TRUNK) for key in state):
        read_embedded_card(path)  # There is none, which is what is wrong with the weights of another network.
    options = infer_options(state)
    # Built without memory: until its keys fit, nothing that the file claims is believed.
    with torch.device("meta"):
        model = create_model(ARCH, **options)
    if misfits := compare_keys(model.state_dict(), state):
        raise KeysDoNotFitError(_summary(path, options, state, misfits), misfits)
    model.load_state_dict(
        {key: value.float() if value.is_floating_point() else value.long() for key, value in state.items()},
        assign=True,
    )
    remarks.insert(0, f"variant: {describe(options)}; all {len(state)} keys fit")
    remarks += _identities(options, keep_identities)
    if checkpoint.entry not in ("", "state_dict"):
        remarks.append(f"the weights are those under {checkpoint.entry!r}")
    if checkpoint.left_out:
        remarks.append(f"left out, because they are no weights: {', '.join(checkpoint.left_out)}")
    if not keep_identities:
        options = {**options, "num_ids": 0}
    fields.setdefault("licence", UNKNOWN_LICENCE)
    fields.setdefault("source", f"imported from {path.name}")
    fields.setdefault("antialias", False)
    fields["notes"] = " ".join(filter(None, (fields.get("notes", ""), _facts(checkpoint))))
    names, told = _class_names(options, fields)
    card = make_card(model, name, input_size, options=options, **{**fields, **names})
    return model.eval(), card, remarks + told


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], Card]:
    """Read weights of any origin, with a card: the one road of all commands that take some.

    Weights of ours have a card. So may others', in the `.json` beside them. Without one, the card is what the
    import would write, for 256x256 pixels, and a warning says so.

    Raises:
        UserError: missing, damaged, hostile, or of no network that is known here.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: is a folder; the weights of a training are in {path / 'best.safetensors'}")
    if path.suffix == ".onnx":
        raise UserError(f"{path}: an exported graph; give the weights that it was exported from")
    if has_card(path):
        if path.suffix == ".safetensors":
            state, card = load_weights(path)
        else:
            state, card = read_foreign_checkpoint(path).state, Card.read(path.with_suffix(".json"))
        state, _ = standard_keys(state, str(path))
        return {key: t.float() if t.is_floating_point() else t for key, t in state.items()}, card
    entry = recognise(path)
    if entry is not None and entry.kind == "checkpoint":
        raise UserError(
            f"{path}: is {entry.origin}, under the {entry.source.licence}; bring it in with: "
            f"python -m zoo import {path} --accept-licence"
        )
    model, card, remarks = open_checkpoint(path, _name_of(path), (256, 256))
    _log.warning(
        "%s: a checkpoint without a card, taken for %s at 256x256 (%s); if it was trained otherwise: "
        "python -m zoo import %s --input-size 256 256",
        *(path, ARCH, "; ".join(remarks), path),
    )
    return model.state_dict(), card


def infer_options(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Tell from a checkpoint's shapes with which options its model was built.

    What cannot be inferred stays at the default, so that the comparison of the keys names what is wrong.
    """

    def shape(key: str) -> tuple[int, ...]:
        return tuple(state[key].shape) if key in state else ()

    options: dict[str, Any] = {
        "keypoints": False,
        "multitask": any(
            key.startswith(("fc_vcolor", "fc_vtype", "classifier_vc", "classifier_vt")) for key in state
        ),
    }
    first = shape("base.conv0.weight")
    options |= _INPUT_CHANNELS.get(first[1] if len(first) == 4 else 3, {})
    branches = (("fc_vid", "embedding_dim"), ("fc_vtype", "attribute_dim"), ("fc_vcolor", "attribute_dim"))
    for branch, option in branches:
        weight = shape(f"{branch}.weight")
        if len(weight) == 2:
            options["keypoints"] = _FEATURE_DIMS.get(weight[1], False)
            options[option] = weight[0]
    identities = shape("classifier_vid.weight")
    options["num_ids"] = identities[0] if identities else 0
    for attribute in ("color", "type") if options["multitask"] else ():
        classes = shape(f"classifier_v{attribute}.weight")
        if classes:
            options[f"num_{attribute}s"] = classes[0]
        elif not shape(f"fc_v{attribute}.weight"):
            options[f"num_{attribute}s"] = 0
    return options


def describe(options: Mapping[str, Any]) -> str:
    """Name a variant in a reader's words."""
    names = ("multitask", "keypoints", "heatmaps", "segments")
    return " + ".join(name for name in names if options.get(name)) or "image only, embedding only"


def _target(name: str, out: str | Path | None) -> Path:
    if not _NAME.fullmatch(name) or name.partition(".")[0] != ARCH:
        raise UserError(f"--name {name}: give it the form {ARCH}.TAG, the tag of letters, digits, - and _")
    if out is not None:
        return Path(out)
    if (PRETRAINED / f"{name}.json").exists():
        raise UserError(f"--name {name}: a shipped model has that name; choose another")
    return models_folder() / f"{name}.safetensors"


def _name_of(path: Path) -> str:
    return f"{ARCH}.{re.sub(r'[^A-Za-z0-9_-]+', '-', path.name.partition('.')[0]) or 'imported'}"


def _class_names(
    options: Mapping[str, Any], fields: Mapping[str, Any]
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Name the classes in order: as told, as VeRi's where they are as many, or by numbers, which is told."""
    names: dict[str, tuple[str, ...]] = {}
    remarks = []
    for attribute, known in (("color", COLORS), ("type", TYPES)):
        field = f"{attribute}s"
        count = options.get(f"num_{field}", len(known)) if options["multitask"] else 0
        given = tuple(fields.get(field, ()))
        if given and len(set(given)) != count:
            raise UserError(f"--{field} {' '.join(given)}: the checkpoint tells {count}; name each once")
        names[field] = given or (known if count == len(known) else ())
        if count and not names[field]:
            names[field] = tuple(f"{attribute}-{number + 1}" for number in range(count))
            remarks.append(
                f"its {count} {field} have no names in the file and are called {attribute}-1 and so on; name "
                f"them in the classifier's order with --{field} of `python -m zoo import`"
            )
    return names, remarks


def _identities(options: Mapping[str, Any], keep: bool) -> list[str]:
    if not options["num_ids"]:
        return []
    what = f"the identity classifier of {options['num_ids']} training vehicles"
    return [f"kept: {what}" if keep else f"left out: {what} (--keep-identities keeps it)"]


def _facts(checkpoint: Checkpoint) -> str:
    told = {key: checkpoint.facts[key] for key in ("epoch", "rank1") if key in checkpoint.facts}
    numbers = {key: value for key, value in told.items() if isinstance(value, int | float)}
    values = ", ".join(f"{key} {value:.6g}" for key, value in numbers.items())
    return f"Its checkpoint states {values}; not measured here." if values else ""


def _summary(path: Path, options: Mapping[str, Any], state: Mapping[str, Tensor], misfits: Misfits) -> str:
    counts = (
        f"{len(misfits.missing)} missing, {len(misfits.unexpected)} unexpected, "
        f"{len(misfits.misshapen)} misshapen"
    )
    return (
        f"{path}: {len(misfits)} keys do not fit {ARCH} ({describe(options)}; the file has {len(state)}): "
        f"{counts}, first {misfits.lines()[0]}; nothing was written. Is it a checkpoint of this architecture?"
    )
