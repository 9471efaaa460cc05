"""Key names of the wild: what wrappers, averages and old releases made of them is taken back."""

import re
from collections import Counter
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from zoo.errors import UserError

TRUNK = "base."
"""Every network of the zoo keeps its trunk there; what stands before it in all keys is somebody's wrapper."""

_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
_STATISTICS, _COUNTER = "running_mean", "num_batches_tracked"
_AVERAGE_COUNTER = "n_averaged"


def standard_keys(state: Mapping[str, Tensor], source: str) -> tuple[dict[str, Tensor], list[str]]:
    """Give a state dict the names that the zoo's networks have; tensors stay as they are.

    Taken back are: the prefixes of DataParallel (`module.`), torch.compile (`_orig_mod.`), FSDP and of a
    class around the network, however many; `n_averaged` of torch's AveragedModel; DenseNet's names of before
    2018 (`norm.1` for `norm1`); PAMTRI's `fc` of the variants with keypoints and without multitask. The batch
    counters of BatchNorm, which files of before torch 0.4.1 lack, become 0: they count, and no more.

    Args:
        state: as it was saved.
        source: what error messages call the weights.

    Returns:
        The state dict, and what was done, a sentence each.

    Raises:
        UserError: two keys that become one.
    """
    found, remarks = dict(state), []
    if found.pop(_AVERAGE_COUNTER, None) is not None:
        remarks.append(f"left out: `{_AVERAGE_COUNTER}`, which counts the averaged steps")
    found, changes = _renamed(found, lambda key: _WRAPPERS.sub("", key), source)
    taken = Counter("".join(_WRAPPERS.findall(old)) for old in changes)
    around = next((key.partition(TRUNK)[0] for key in found if f".{TRUNK}" in key), "")
    if around and all(key.startswith(around) for key in found):
        found, changes = _renamed(found, lambda key: key.removeprefix(around), source)
        taken[around] += len(changes)
    for prefix, count in taken.items():
        many = f"all {count}" if count == len(found) else f"{count} of {len(found)}"
        remarks.append(f"`{prefix}` was taken off {many} keys")
    found, changes = _renamed(found, lambda key: _OLD_DENSENET.sub(r"\1\2", key), source)
    if changes:
        remarks.append(f"{len(changes)} keys had DenseNet's old names, such as {next(iter(changes))}")
    if any(key.startswith(TRUNK) for key in found) and "fc_vid.weight" not in found:
        found, changes = _renamed(found, lambda key: re.sub(r"^fc\.", "fc_vid.", key), source)
        remarks += ["`fc` is called `fc_vid` here"] if changes else []
    counters = [f"{key.removesuffix(_STATISTICS)}{_COUNTER}" for key in found if key.endswith(_STATISTICS)]
    lacking = [key for key in counters if key not in found]
    found |= {key: torch.tensor(0) for key in lacking}
    if lacking:
        remarks.append(f"{len(lacking)} batch counters are not in the file; they start at 0")
    return found, remarks


def _renamed(
    state: Mapping[str, Tensor], rename: Callable[[str], str], source: str
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The state dict under new names, and the names that changed."""
    names = {key: rename(key) for key in state}
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        both = " and ".join(key for key, name in names.items() if name == twice[0])
        raise UserError(f"{source}: {both} are both {twice[0]}; save the network alone, once")
    return (
        {names[key]: value for key, value in state.items()},
        {key: name for key, name in names.items() if key != name},
    )
