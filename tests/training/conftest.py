"""What the training tests share."""

from pathlib import Path

import pytest
import torch

from tests.training.veri_layout import make_veri


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tiny tensors: more threads only wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def veri_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set that tests read and leave as it is."""
    return make_veri(tmp_path_factory.mktemp("data") / "veri")


@pytest.fixture
def own_root(tmp_path: Path) -> Path:
    """A smaller data set that a test may damage; its path has a space and Chinese characters."""
    return make_veri(tmp_path / "我的 data", train_ids=4, test_ids=2, images=3)
