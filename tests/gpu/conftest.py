"""The device of these tests, and what they train."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.training.veri_layout import make_veri
from training.data.batches import Batch
from training.distributed.devices import KINDS, enter_device
from training.distributed.ranks import Ranks
from training.options import Level
from training.run.recipe import load_recipe
from training.run.state import TrainState
from zoo.registry import create_model, make_card

MakeState = Callable[..., TrainState]
VEHICLES = 8


@pytest.fixture(scope="session")
def device() -> torch.device:
    kind = os.environ.get("GPU_TESTS_ON", "cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        built = torch.version.cuda or "without CUDA"
        pytest.skip(f"no NVIDIA GPU: torch {torch.__version__} (CUDA {built}) sees none")
    if kind == "cuda":
        # Sums of fp32, as the CPU has them.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return enter_device(KINDS[kind])


@pytest.fixture
def option(device: torch.device) -> tuple[str, str]:
    """Of a command: run on the device of these tests."""
    return ("--gpus" if device.type == "cuda" else "--cpus", "1")


@pytest.fixture(scope="session")
def veri(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_veri(tmp_path_factory.mktemp("data") / "veri")


@pytest.fixture
def make_state() -> MakeState:
    """Make what is trained, with the same first weights each time."""

    def make(device: torch.device, level: Level = "O0", loss_scale: float | str = 128.0) -> TrainState:
        recipe = load_recipe("smoke", amp=level, loss_scale=loss_scale)
        torch.manual_seed(0)
        model = create_model(recipe.model.arch, num_ids=VEHICLES, **recipe.model.options()).train()
        card = make_card(model, f"{recipe.model.arch}.{recipe.name}", recipe.size)
        return TrainState(model, card, recipe, Ranks(device=device))

    return make


@pytest.fixture(scope="session")
def batch() -> Batch:
    """Noise of so many vehicles, two images each."""
    image = torch.randint(
        0, 256, (2 * VEHICLES, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    label = torch.arange(2 * VEHICLES) // 2
    return Batch(image, label, label, label)
