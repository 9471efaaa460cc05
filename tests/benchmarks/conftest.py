"""What the benchmarks' tests share."""

from pathlib import Path

import pytest

from tests.training.veri_layout import make_veri


@pytest.fixture(scope="session")
def veri_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set that tests read and leave as it is."""
    return make_veri(tmp_path_factory.mktemp("data") / "veri")
