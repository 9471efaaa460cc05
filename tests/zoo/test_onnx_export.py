"""The exported graph's bytes, which name the model wherever it was exported."""

from pathlib import Path

import numpy as np
import pytest
import torch

from zoo.loading import load_model
from zoo.onnx_export import DeployedModel, export_onnx


@pytest.mark.filterwarnings("ignore:Warning only once for all operators")
@pytest.mark.parametrize("name", ["osnet_ain.synthetic", "densenet121.synthetic"])
def test_another_processors_square_root_changes_no_byte(name: str, tmp_path: Path) -> None:
    model, card = load_model(name)

    def root(values: torch.Tensor) -> torch.Tensor:
        exact = np.sqrt(values.numpy())
        # Exact where it is a whole number, as everywhere; else off in the last digit.
        return torch.from_numpy(np.where(exact == np.round(exact), exact, np.nextafter(exact, np.float32(9))))

    export_onnx(DeployedModel(model, card), card, tmp_path / "here.onnx")
    with torch.library._scoped_library("aten", "IMPL") as library:
        library.impl("sqrt", root, "CPU")
        assert torch.sqrt(torch.tensor([2.0])).item() != np.sqrt(np.float32(2))
        export_onnx(DeployedModel(model, card), card, tmp_path / "there.onnx")
    assert (tmp_path / "here.onnx").read_bytes() == (tmp_path / "there.onnx").read_bytes()
