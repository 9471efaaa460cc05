"""A model as it is deployed: raw pixels in, embedding and probabilities out."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from zoo.card import Card
from zoo.pose import POSE_MEAN, POSE_STD


class Predictions(NamedTuple):
    """What a deployed model answers; None where the variant has no such output.

    Attributes:
        embedding: float32 [N, D].
        color_probs: float32 [N, 10], rows sum to 1.
        type_probs: float32 [N, 9], rows sum to 1.
    """

    embedding: Tensor
    color_probs: Tensor | None = None
    type_probs: Tensor | None = None


class InferenceModel(nn.Module):
    """Normalisation, network, temperature and softmax in one module.

    Evaluation runs it and export traces it, so that both give the same numbers by construction.

    Args:
        model: from `zoo.registry`; it is put into evaluation mode.
        card: tells mean, std, channel order and temperature.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, card: Card) -> None:
        super().__init__()
        self.model = model
        self.channels = card.channels
        self.temperature = dict(card.temperature)
        # Not persistent: they are the card's, not the weights'.
        self.register_buffer("mean", torch.tensor(card.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(card.std).view(1, 3, 1, 1), persistent=False)
        self.eval()

    def forward(
        self,
        image: Tensor,
        keypoints: Tensor | None = None,
        heatmaps: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> Predictions:
        """Predict.

        Args:
            image: uint8 [N, H, W, 3], RGB whatever order the network itself takes.
            keypoints: float32 [N, 108] as `zoo.pose.scale_keypoints` gives them.
            heatmaps: uint8 [N, H, W, 36].
            segments: uint8 [N, H, W, 13].
        """
        # The permuted view keeps its strides, which is torch's channels_last: the faster for convolutions.
        pixels = image.permute(0, 3, 1, 2).to(self.mean.dtype) / 255
        if self.channels == "BGR":
            pixels = pixels.flip(1)
        maps = [
            None if part is None else (part.permute(0, 3, 1, 2).to(pixels.dtype) / 255 - POSE_MEAN) / POSE_STD
            for part in (heatmaps, segments)
        ]
        outputs = self.model((pixels - self.mean) / self.std, keypoints, *maps)
        return Predictions(
            outputs.embedding.float(),
            self._probabilities(outputs.color_logits, "color"),
            self._probabilities(outputs.type_logits, "type"),
        )

    def _probabilities(self, logits: Tensor | None, attribute: str) -> Tensor | None:
        if logits is None:
            return None
        temperature = self.temperature[attribute]
        # An uncalibrated model's graph has no division in it.
        scaled = logits.float() if temperature == 1.0 else logits.float() / temperature
        return scaled.softmax(dim=1)
