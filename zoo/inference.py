"""A model as it is deployed: raw pixels in, embedding and probabilities out."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from zoo.card import Card
from zoo.parallel_model import open_parallel
from zoo.pose import POSE_MEAN, POSE_STD


class NetworkInputs(NamedTuple):
    """A batch as a network takes it.

    Attributes:
        image: float [N, 3, H, W], normalised, in the card's channel order.
        keypoints: float32 [N, 108], as they were given.
        heatmaps: float [N, 36, H, W], normalised.
        segments: float [N, 13, H, W], normalised.
    """

    image: Tensor
    keypoints: Tensor | None
    heatmaps: Tensor | None
    segments: Tensor | None


class InferenceOutputs(NamedTuple):
    """What a deployed model answers; None where the variant has no such output.

    Attributes:
        embedding: float32 [N, D].
        color_probs: float32 [N, colours], rows sum to 1.
        type_probs: float32 [N, types], rows sum to 1.
    """

    embedding: Tensor
    color_probs: Tensor | None = None
    type_probs: Tensor | None = None


class Normalisation(nn.Module):
    """From bytes to what a network takes, by the figures of its card: the same in training and in use.

    Args:
        card: tells mean, std and channel order.
        channels_last: leave floats in that memory layout, as the bytes are in; else they are copied once
            more.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, card: Card, channels_last: bool = True) -> None:
        super().__init__()
        self.channels, self.channels_last = card.channels, channels_last
        # Not persistent: they are the card's, not the weights'.
        self.register_buffer("mean", torch.tensor(card.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(card.std).view(1, 3, 1, 1), persistent=False)

    def forward(
        self,
        image: Tensor,
        keypoints: Tensor | None = None,
        heatmaps: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> NetworkInputs:
        """Normalise; takes what `InferenceModel.forward` takes."""
        pixels = self._fractions(image)
        if self.channels == "BGR":
            pixels = pixels.flip(1)
        maps = [
            None if part is None else self._scaled(self._fractions(part), POSE_MEAN, POSE_STD)
            for part in (heatmaps, segments)
        ]
        return NetworkInputs(self._scaled(pixels, self.mean, self.std), keypoints, *maps)

    def _fractions(self, values: Tensor) -> Tensor:
        # The permuted view keeps its strides, which is torch's channels_last: the faster for convolutions.
        return values.permute(0, 3, 1, 2).to(self.mean.dtype, copy=True).div_(255)

    def _scaled(self, values: Tensor, mean: Tensor | float, std: Tensor | float) -> Tensor:
        # In place: with 49 maps, each new tensor of a batch's floats costs as much as all arithmetic on it.
        values.sub_(mean).div_(std)
        return values if self.channels_last else values.contiguous()


class InferenceModel(nn.Module):
    """Normalisation, network, temperature and softmax in one module.

    Evaluation runs it and export traces it, so that both give the same numbers by construction.

    Args:
        model: from `zoo.registry`; it is put into evaluation mode.
        card: tells mean, std, channel order and temperature.
    """

    def __init__(self, model: nn.Module, card: Card) -> None:
        super().__init__()
        self.model = model
        self.normalise = Normalisation(card)
        self.temperature = dict(card.temperature)
        self.eval()

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.normalise.mean.device

    def forward(
        self,
        image: Tensor,
        keypoints: Tensor | None = None,
        heatmaps: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> InferenceOutputs:
        """Predict.

        Args:
            image: uint8 [N, H, W, 3], RGB whatever order the network itself takes.
            keypoints: float32 [N, 108] as `zoo.pose.scale_keypoints` gives them.
            heatmaps: uint8 [N, H, W, 36].
            segments: uint8 [N, H, W, 13].
        """
        # By name, not by call: an exported graph would else name its nodes otherwise than those of before,
        # and the file's hash is what a gallery knows its model by.
        outputs = self.model(*self.normalise.forward(image, keypoints, heatmaps, segments))
        return InferenceOutputs(
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


class OnnxInference:
    """An exported file in the place of an `InferenceModel`, on the CPU: what is served is judged as what was
    trained.

    Raises:
        UserError: see `zoo.onnx_model.OnnxModel`.
    """

    def __init__(self, path: str | Path) -> None:
        self.onnx = open_parallel(path, torch.get_num_threads())
        self.card, self.device = self.onnx.card, torch.device("cpu")

    def __call__(
        self,
        image: Tensor,
        keypoints: Tensor | None = None,
        heatmaps: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> InferenceOutputs:
        """Predict; takes what `InferenceModel.forward` takes."""
        given = {"image": image, "keypoints": keypoints, "heatmaps": heatmaps, "segments": segments}
        found = self.onnx.run({name: value.numpy() for name, value in given.items() if value is not None})
        return InferenceOutputs(**{name: torch.from_numpy(value) for name, value in found.items()})
