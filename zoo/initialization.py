"""What a training starts from: ImageNet's trunk, an earlier model's weights, or chance."""

import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from zoo.errors import UserError
from zoo.foreign_checkpoint import read_foreign_checkpoint
from zoo.importing import read_weights
from zoo.labels import COLORS, TYPES
from zoo.models.layers import InstanceBatchNorm2d
from zoo.models.network import ImageNetTrunk
from zoo.standard_keys import TRUNK, standard_keys
from zoo.weights import apply_weights


def initialize(
    model: nn.Module, init: str, colors: Sequence[str] = COLORS, types: Sequence[str] = TYPES
) -> bool:
    """Give a fresh model its first weights; True where they are an earlier model's.

    An earlier model's colours and types are taken over by name; the others start from chance.

    Args:
        model: from `zoo.registry.create_model`; changed in place.
        colors, types: the names of its classes, in order.
        init: `imagenet` (torchvision's weights, or a package's where the architecture has one), `none`, the
            name of a model of the zoo, any file that `zoo.importing.read_weights` takes (its identity
            classifier is left out where the identities differ in number), or torchvision's file.

    Raises:
        UserError: the weights cannot be had or do not fit; the message tells the way on.
    """
    if init == "none":
        return False
    if init == "imagenet":
        # An architecture that torchvision does not have may find its weights in a package.
        from_package = getattr(model, "load_imagenet_package", None)
        if callable(from_package):
            from_package()
        else:
            load_imagenet_trunk(model)
    elif _is_torchvisions(Path(init)):
        load_imagenet_trunk(model, init)
    else:
        _load_earlier_model(model, init, colors, types)
        return True
    return False


def load_imagenet_trunk(model: nn.Module, path: str | Path | None = None) -> None:
    """Load torchvision's ImageNet weights into a model's trunk; input channels beyond RGB stay as they are.

    Args:
        model: whose class names its trunk in `trunk`, with torchvision's names inside.
        path: of torchvision's file; None for the cache that torch keeps, which is filled from the network.

    Raises:
        UserError: no such weights, no file and no network, a damaged file, or another network's weights.
    """
    known: ImageNetTrunk | None = getattr(model, "imagenet", None)
    if known is None:
        raise UserError(
            f"{type(model).__name__}: torchvision has no ImageNet weights of this trunk; start from chance "
            "(--init none) or from an earlier model's weights"
        )
    source = imagenet_cache(known.url) if path is None else Path(path)
    if path is None and not source.exists():
        _download(known.url, source)
    try:
        state, _ = standard_keys(read_foreign_checkpoint(source).state, str(source))
    except UserError as error:
        raise UserError(
            f"{error}; torchvision's own file is {known.url}; or start without it: --init none"
        ) from error
    trunk = getattr(model, str(model.trunk))
    own = trunk.state_dict()
    fitted = {
        key.removeprefix(known.prefix): value
        for key, value in state.items()
        if key.startswith(known.prefix) and not key.startswith(known.leaves_out)
    }
    first = own[known.first]
    rgb, extra = first[:, :3], first[:, 3:]
    if known.first in fitted and fitted[known.first].shape == rgb.shape:
        fitted[known.first] = torch.cat((fitted[known.first].to(extra), extra), dim=1)
    for name, module in trunk.named_modules():
        if isinstance(module, InstanceBatchNorm2d) and f"{name}.running_var" in fitted:
            module.share_out(fitted, name)
    apply_weights(trunk, fitted, str(source))


def _is_torchvisions(path: Path) -> bool:
    """Whether a file is a checkpoint of another make than PAMTRI's: taken for ImageNet weights."""
    if path.suffix == ".safetensors" or not path.is_file() or path.with_suffix(".json").exists():
        return False
    state, _ = standard_keys(read_foreign_checkpoint(path).state, str(path))
    return not any(key.startswith(TRUNK) for key in state)


def imagenet_cache(url: str) -> Path:
    """Name the file where torch keeps torchvision's weights, whether or not it exists."""
    return Path(torch.hub.get_dir()) / "checkpoints" / os.path.basename(url)


def _download(url: str, target: Path) -> None:
    sha256_prefix = target.stem.rpartition("-")[2]
    # torch.hub gives no way to set a timeout, and without one a silent network keeps the user waiting.
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(15)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(target), hash_prefix=sha256_prefix)
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"ImageNet weights cannot be fetched ({reason}); put {url} at {target}, "
            "or start without them: --init none"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)


def _load_earlier_model(
    model: nn.Module, name_or_path: str, colors: Sequence[str], types: Sequence[str]
) -> None:
    from zoo.registry import weights_path

    path = weights_path(name_or_path)
    state, card = read_weights(path)
    own = model.state_dict()
    if 2 * len(own.keys() & state.keys()) < len(own):
        raise UserError(
            f"{name_or_path}: are weights of {card.name}, another architecture than the recipe's; give "
            "weights of that one, or --init imagenet or none"
        )
    for branch, names, earlier in (("vcolor", colors, card.colors), ("vtype", types, card.types)):
        _fit_branch(state, own, branch, names, earlier)
    classifier = f"{getattr(model, 'identity_classifier', None)}."

    def same_identities(key: str, value: Tensor) -> bool:
        return key in own and own[key].shape == value.shape

    kept = {k: v for k, v in state.items() if not k.startswith(classifier) or same_identities(k, v)}
    fresh = {k: v for k, v in own.items() if k.startswith(classifier) and k not in kept}
    apply_weights(model, {**kept, **fresh}, str(path))


def _fit_branch(
    state: dict[str, Tensor],
    own: Mapping[str, Tensor],
    branch: str,
    names: Sequence[str],
    earlier: Sequence[str],
) -> None:
    """Fit an earlier model's branch of colour or type to the classes of a new one.

    Args:
        state: the earlier weights; changed in place.
        own: the new model's.
        branch: of the keys.
        names: the new classes, in order.
        earlier: the earlier ones.
    """
    parts = (f"fc_{branch}.", f"classifier_{branch}.")
    have, had = ({key for key in keys if key.startswith(parts)} for keys in (own, state))
    if not have or not had:
        for key in had:
            del state[key]
        state.update({key: own[key] for key in have})
        return
    if tuple(names) == tuple(earlier):
        return
    for key in (f"classifier_{branch}.weight", f"classifier_{branch}.bias"):
        rows = own[key].clone()
        if rows.shape[1:] != state[key].shape[1:]:
            continue  # Of another width: the comparison of all keys will name it.
        for index, name in enumerate(names):
            if name in earlier:
                rows[index] = state[key][earlier.index(name)]
        state[key] = rows
