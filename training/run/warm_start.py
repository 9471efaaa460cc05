"""The weights that a training starts from."""

import sys
from collections.abc import Mapping
from pathlib import Path

from torch import nn
from tqdm import tqdm

from training.distributed.ranks import Ranks
from training.run.run_folder import json_text
from zoo.initialization import initialize
from zoo.registry import weights_path


def first_weights(model: nn.Module, init: str, labels: Mapping[str, int], ranks: Ranks) -> None:
    """Load a recipe's first weights into a model.

    The identity classifier starts afresh, unless it was trained on the very vehicles of this run. An equal
    number of vehicles does not make them the same: the labels.json beside the weights tells.

    Args:
        model: changed in place.
        init: `imagenet`, `none`, or weights.
        labels: vehicle id -> class, of this run.
        ranks: the first one says what was done.

    Raises:
        UserError: the weights cannot be used.
    """
    initialize(model, init)
    if init in ("imagenet", "none") or Path(init).suffix in (".pth", ".pt"):
        return
    known = weights_path(init).with_name("labels.json")
    if known.is_file() and known.read_text(encoding="utf-8") == json_text(labels):
        done = "trunk, branches and identity classifier loaded"
    else:
        getattr(model, str(model.identity_classifier)).reset_parameters()
        done = "trunk and branches loaded; the identity classifier starts afresh, the vehicles are others"
    if ranks.is_first:
        tqdm.write(f"{init}: {done}", file=sys.stderr)
