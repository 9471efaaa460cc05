"""Checkpoint files in the published form, made from its description and not by the code that reads them."""

from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

HEADS = {
    (False, False): {"classifier_vid": ("identities", 1024)},
    (False, True): {"fc": (1024, 1132), "classifier_vid": ("identities", 1024)},
    (True, False): {
        **{"fc_vid": (1024, 1024), "fc_vcolor": (512, 1024), "fc_vtype": (512, 1024)},
        **{
            "classifier_vid": ("identities", 1024),
            "classifier_vcolor": (10, 512),
            "classifier_vtype": (9, 512),
        },
    },
    (True, True): {
        **{"fc_vid": (1024, 1132), "fc_vcolor": (512, 1132), "fc_vtype": (512, 1132)},
        **{
            "classifier_vid": ("identities", 1024),
            "classifier_vcolor": (10, 512),
            "classifier_vtype": (9, 512),
        },
    },
}
"""(multitask, keypoints) -> the original's layers after the trunk, with the shapes of their weights. Without
multitask and with keypoints its one branch is called `fc`."""

CHANNELS = {(False, False): 3, (True, False): 39, (False, True): 16, (True, True): 52}
"""(heatmaps, segments) -> channels of `base.conv0`."""


def reference_state(
    multitask: bool = True,
    keypoints: bool = False,
    heatmaps: bool = False,
    segments: bool = False,
    identities: int = 7,
) -> dict[str, Tensor]:
    """Build a state dict with the published names and shapes, and numbers of its own in each tensor."""
    with torch.device("meta"):
        base = torchvision.models.densenet121(weights=None).features
        base.conv0 = nn.Conv2d(CHANNELS[heatmaps, segments], 64, 7, stride=2, padding=3, bias=False)
        modules = {"base": base}
        for name, (rows, columns) in HEADS[multitask, keypoints].items():
            modules[name] = nn.Linear(columns, identities if rows == "identities" else rows)
        shapes = nn.ModuleDict(modules).state_dict()
    generator = torch.Generator().manual_seed(3)
    state = {}
    for key, like in shapes.items():
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(1234)
        elif key.endswith(("running_mean", "running_var")) or ".norm" in key:
            state[key] = torch.rand(like.shape, generator=generator) * 0.2 + 0.5
        else:
            state[key] = torch.randn(like.shape, generator=generator) * 0.03
    return state


def write_reference(
    path: Path, state: dict[str, Tensor], module: bool = False, plain: bool = False, zipped: bool = False
) -> Path:
    """Save a state dict as it is, or as published: in the old format, with rank1 and epoch."""
    if module:
        state = {f"module.{key}": value for key, value in state.items()}
    content: Any = state if plain else {"state_dict": state, "rank1": 0.925, "epoch": 59}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path
