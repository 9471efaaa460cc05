"""What the zoo's tests share: one thread, fixed seeds, one small trained-looking model."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from zoo.registry import create_model


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def fill_statistics(model: nn.Module) -> nn.Module:
    """Give BatchNorm statistics and weights that a test can tell from fresh ones."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in model.state_dict().items():
        if name.endswith(("running_mean", "running_var")) or (".norm" in name and tensor.is_floating_point()):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.5 + 0.5)
    return model


@pytest.fixture(scope="package")
def multitask_model() -> nn.Module:
    torch.manual_seed(0)
    return fill_statistics(create_model("densenet121", num_ids=5)).eval()


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own, also for the processes that it starts."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("VEHICLE_REID_CACHE", str(folder))
    return folder
