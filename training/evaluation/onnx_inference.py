"""An exported file in the place of a torch model, so that what is served is judged as what was trained."""

from pathlib import Path

import torch
from torch import Tensor, nn

from zoo.inference import Predictions
from zoo.onnx_model import OnnxModel


class OnnxInference(nn.Module):
    """Answers as `zoo.inference.InferenceModel` does, from an ONNX file, on the CPU.

    Raises:
        UserError: see `zoo.onnx_model.OnnxModel`.
    """

    mean: Tensor

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.onnx = OnnxModel(path, torch.get_num_threads())
        self.card = self.onnx.card
        self.register_buffer("mean", torch.tensor(self.card.mean), persistent=False)

    def forward(
        self,
        image: Tensor,
        keypoints: Tensor | None = None,
        heatmaps: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> Predictions:
        """Predict; see `zoo.inference.InferenceModel.forward`."""
        given = {"image": image, "keypoints": keypoints, "heatmaps": heatmaps, "segments": segments}
        found = self.onnx.run({name: value.numpy() for name, value in given.items() if value is not None})
        return Predictions(**{name: torch.from_numpy(value) for name, value in found.items()})
