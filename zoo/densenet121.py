"""DenseNet121 for vehicle re-identification: one trunk, branches for identity, colour, type, optional pose.

PAMTRI: Pose-Aware Multi-Task Learning for Vehicle Re-Identification (Tang et al., ICCV 2019), after
Densely Connected Convolutional Networks (Huang et al., CVPR 2017). Parameter names are those of the published
checkpoints: `base.*` is torchvision's `densenet121().features`, then `fc_vid`, `fc_vcolor`, `fc_vtype` and
`classifier_vid`, `classifier_vcolor`, `classifier_vtype`.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import densenet121

from zoo.labels import COLORS, TYPES
from zoo.pose import NUM_KEYPOINTS, NUM_SEGMENTS
from zoo.registry import register

POOLED_DIM = 1024


class Outputs(NamedTuple):
    """What a forward pass gives; None where the variant has no such output.

    Attributes:
        embedding: float [N, D], not normalised; compared by Euclidean distance.
        color_logits: float [N, 10].
        type_logits: float [N, 9].
        id_logits: float [N, num_ids], in training mode only.
    """

    embedding: Tensor
    color_logits: Tensor | None = None
    type_logits: Tensor | None = None
    id_logits: Tensor | None = None


class DenseNet121(nn.Module):
    """The multi-task network, in any combination of the four input variants.

    Args:
        multitask: adds the colour and type branches.
        keypoints: takes 36 keypoints, joined to the pooled feature.
        heatmaps: takes 36 heatmaps as more channels of the first convolution.
        segments: takes 13 segment masks as more channels of the first convolution.
        num_ids: identities that the training classifier tells apart; 0 leaves it out.
        embedding_dim: of the identity branch. Without multitask and keypoints there is no such branch: the
            pooled feature is the embedding, with 1024 values.
        attribute_dim: of the colour branch and of the type branch.
    """

    trunk = "base"
    identity_classifier = "classifier_vid"

    def __init__(
        self,
        *,
        multitask: bool = True,
        keypoints: bool = False,
        heatmaps: bool = False,
        segments: bool = False,
        num_ids: int = 0,
        embedding_dim: int = 1024,
        attribute_dim: int = 512,
    ) -> None:
        super().__init__()
        self.options: dict[str, Any] = {
            "multitask": multitask,
            "keypoints": keypoints,
            "heatmaps": heatmaps,
            "segments": segments,
            "num_ids": num_ids,
            "embedding_dim": embedding_dim,
            "attribute_dim": attribute_dim,
        }
        self.base = densenet121(weights=None).features
        extra_channels = NUM_KEYPOINTS * heatmaps + NUM_SEGMENTS * segments
        if extra_channels:
            self.base.conv0 = _widen(self.base.conv0, extra_channels)
        self.multitask = multitask
        self.keypoints = keypoints
        self.heatmaps = heatmaps
        self.segments = segments

        feature_dim = POOLED_DIM + 3 * NUM_KEYPOINTS * keypoints
        self.has_id_branch = multitask or keypoints
        self.embedding_dim = embedding_dim if self.has_id_branch else POOLED_DIM
        if self.has_id_branch:
            self.fc_vid = nn.Linear(feature_dim, embedding_dim)
        if multitask:
            self.fc_vcolor = nn.Linear(feature_dim, attribute_dim)
            self.fc_vtype = nn.Linear(feature_dim, attribute_dim)
            self.classifier_vcolor = nn.Linear(attribute_dim, len(COLORS))
            self.classifier_vtype = nn.Linear(attribute_dim, len(TYPES))
        if num_ids:
            self.classifier_vid = nn.Linear(self.embedding_dim, num_ids)

    def pose_inputs(self, size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
        """Name each pose input of the deployed variant, with its shape (no batch axis) at (height, width)."""
        inputs: dict[str, tuple[int, ...]] = {}
        if self.keypoints:
            inputs["keypoints"] = (3 * NUM_KEYPOINTS,)
        if self.heatmaps:
            inputs["heatmaps"] = (*size, NUM_KEYPOINTS)
        if self.segments:
            inputs["segments"] = (*size, NUM_SEGMENTS)
        return inputs

    def outputs(self) -> dict[str, int]:
        """Name each output of the deployed model, with its dimension."""
        outputs = {"embedding": self.embedding_dim}
        if self.multitask:
            outputs |= {"color_probs": len(COLORS), "type_probs": len(TYPES)}
        return outputs

    def forward(
        self,
        image: Tensor,
        keypoints: Tensor | None = None,
        heatmaps: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> Outputs:
        """Run the network on images of any one size of at least 32x32.

        Args:
            image: float [N, 3, H, W], normalised.
            keypoints: float [N, 108] as `zoo.pose.scale_keypoints` gives them.
            heatmaps: float [N, 36, H, W], normalised.
            segments: float [N, 13, H, W], normalised.

        Raises:
            ValueError: a pose input that the variant takes is missing, or one that it does not take is given.
        """
        for name, wanted, given in (
            ("keypoints", self.keypoints, keypoints),
            ("heatmaps", self.heatmaps, heatmaps),
            ("segments", self.segments, segments),
        ):
            if wanted and given is None:
                raise ValueError(f"this variant needs the input `{name}`")
            if not wanted and given is not None:
                raise ValueError(f"this variant does not take the input `{name}`")

        channels = [part for part in (image, heatmaps, segments) if part is not None]
        # torchvision's own forward has a ReLU after norm5; the published checkpoints were trained without it.
        maps = self.base(torch.cat(channels, dim=1) if len(channels) > 1 else image)
        feature = torch.flatten(F.adaptive_avg_pool2d(maps, 1), 1)
        if keypoints is not None:
            feature = torch.cat((feature, keypoints.to(feature.dtype)), dim=1)

        embedding = F.leaky_relu(self.fc_vid(feature)) if self.has_id_branch else feature
        color_logits = type_logits = id_logits = None
        if self.multitask:
            color_logits = self.classifier_vcolor(F.leaky_relu(self.fc_vcolor(feature)))
            type_logits = self.classifier_vtype(F.leaky_relu(self.fc_vtype(feature)))
        if self.training and self.options["num_ids"]:
            id_logits = self.classifier_vid(embedding)
        return Outputs(embedding, color_logits, type_logits, id_logits)


def _widen(conv: nn.Conv2d, extra_channels: int) -> nn.Conv2d:
    """Return `conv` with more input channels after its own, initialised with Gaussian(0, 0.02)."""
    wide = nn.Conv2d(
        conv.in_channels + extra_channels,
        conv.out_channels,
        kernel_size=(7, 7),
        stride=(2, 2),
        padding=(3, 3),
        bias=False,
    )
    with torch.no_grad():
        nn.init.normal_(wide.weight, mean=0.0, std=0.02)
        wide.weight[:, : conv.in_channels] = conv.weight
    return wide


@register("densenet121")
def build_densenet121(**options: Any) -> DenseNet121:
    """Build a DenseNet121; the options are those of the class."""
    return DenseNet121(**options)
