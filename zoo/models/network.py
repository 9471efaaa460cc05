"""What all networks of the zoo have in common: inputs, branches, neck and outputs. A trunk makes it a model.

PAMTRI: Pose-Aware Multi-Task Learning for Vehicle Re-Identification (Tang et al., ICCV 2019); neck and
pooling are options. The branches' parameter names are those of PAMTRI's published checkpoints: `fc_vid`,
`fc_vcolor`, `fc_vtype` and `classifier_vid`, `classifier_vcolor`, `classifier_vtype`.
"""

import dataclasses
import typing
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.labels import COLORS, TYPES
from zoo.models.layers import Neck, Pool, bn_neck, make_pool
from zoo.pose import NUM_KEYPOINTS, NUM_SEGMENTS


class NetworkOutputs(NamedTuple):
    """What a forward pass gives; None where the variant has no such output.

    Attributes:
        embedding: float [N, D], compared by the model's `metric`: of any length for `euclidean`, of unit
            length for `cosine`.
        color_logits: float [N, num_colors].
        type_logits: float [N, num_types].
        id_logits: float [N, num_ids], in training mode only.
        before_neck: float [N, D], in training mode and with a neck only: the feature that goes into it.
    """

    embedding: Tensor
    color_logits: Tensor | None = None
    type_logits: Tensor | None = None
    id_logits: Tensor | None = None
    before_neck: Tensor | None = None

    @property
    def metric_feature(self) -> Tensor:
        """What a loss on Euclidean distances takes: the feature before the neck; without one, the
        embedding."""
        return self.embedding if self.before_neck is None else self.before_neck


@dataclass(frozen=True)
class NetworkOptions:
    """How a network is built; an architecture adds its own.

    Attributes:
        multitask: adds the colour and type branches.
        keypoints: takes 36 keypoints, joined to the pooled feature.
        heatmaps: takes 36 heatmaps as more channels of the first convolution.
        segments: takes 13 segment masks as more channels of the first convolution.
        num_colors, num_types: classes that the colour and type branches tell apart; 0 leaves a branch out.
        num_ids: identities that the training classifier tells apart; 0 leaves it out.
        embedding_dim: of the identity branch. Without multitask and keypoints there is no such branch: the
            pooled feature is the embedding.
        attribute_dim: of the colour branch and of the type branch.
        neck: `bn` normalises between the metric loss and the identity classifier, which then has no bias. The
            identity branch loses its activation, and the embedding is of unit length.
        pool: of the trunk's maps: their average, or their generalised mean.
    """

    multitask: bool = True
    keypoints: bool = False
    heatmaps: bool = False
    segments: bool = False
    num_colors: int = len(COLORS)
    num_types: int = len(TYPES)
    num_ids: int = 0
    embedding_dim: int = 1024
    attribute_dim: int = 512
    neck: Neck = "none"
    pool: Pool = "avg"

    def __post_init__(self) -> None:
        for name, hint in typing.get_type_hints(type(self)).items():
            if typing.get_origin(hint) is Literal and getattr(self, name) not in typing.get_args(hint):
                known = ", ".join(map(repr, typing.get_args(hint)))
                raise ValueError(f"{name} = {getattr(self, name)!r}: expected one of {known}")

    @property
    def input_channels(self) -> int:
        """Of the first convolution: RGB, then heatmaps, then segments."""
        return 3 + NUM_KEYPOINTS * self.heatmaps + NUM_SEGMENTS * self.segments


@dataclass(frozen=True)
class ImageNetTrunk:
    """Which of torchvision's weights fit a trunk.

    Attributes:
        name: that torchvision knows them by (BSD-3-Clause; ImageNet's own terms apply to their use).
        prefix: of the trunk's keys in that file.
        leaves_out: prefix of the keys of the classifier.
        first: the first convolution's key in the trunk.
    """

    name: str
    prefix: str
    leaves_out: str
    first: str

    @property
    def url(self) -> str:
        """Where torchvision keeps them."""
        # Its import brings torch's compiler, as long to load as torch: only for who builds such a network.
        from torchvision.models import get_weight

        return str(get_weight(self.name).url)


class VehicleNetwork(nn.Module):
    """A trunk and branches for identity, colour and type, in any combination of the four input variants.

    Args:
        trunk: from float [N, options.input_channels, H, W] to maps [N, pooled_dim, h, w].
        pooled_dim: channels of those maps.
        options: the architecture's.
    """

    trunk = "base"
    identity_classifier = "classifier_vid"
    imagenet: ImageNetTrunk | None = None

    def __init__(self, trunk: nn.Module, pooled_dim: int, options: NetworkOptions) -> None:
        super().__init__()
        self.options: dict[str, Any] = dataclasses.asdict(options)
        self.base = trunk
        self.pool = make_pool(options.pool)
        self.multitask = options.multitask
        self.keypoints = options.keypoints
        self.heatmaps = options.heatmaps
        self.segments = options.segments

        feature_dim = pooled_dim + 3 * NUM_KEYPOINTS * options.keypoints
        self.has_id_branch = options.multitask or options.keypoints
        self.embedding_dim = options.embedding_dim if self.has_id_branch else pooled_dim
        if self.has_id_branch:
            self.fc_vid = nn.Linear(feature_dim, options.embedding_dim)
        self.num_colors = options.num_colors if options.multitask else 0
        self.num_types = options.num_types if options.multitask else 0
        if self.num_colors:
            self.fc_vcolor = nn.Linear(feature_dim, options.attribute_dim)
        if self.num_types:
            self.fc_vtype = nn.Linear(feature_dim, options.attribute_dim)
        if self.num_colors:
            self.classifier_vcolor = nn.Linear(options.attribute_dim, self.num_colors)
        if self.num_types:
            self.classifier_vtype = nn.Linear(options.attribute_dim, self.num_types)
        self.neck = bn_neck(self.embedding_dim) if options.neck == "bn" else None
        if options.num_ids:
            self.classifier_vid = nn.Linear(self.embedding_dim, options.num_ids, bias=self.neck is None)

    @property
    def metric(self) -> Literal["euclidean", "cosine"]:
        """How embeddings are to be compared."""
        return "euclidean" if self.neck is None else "cosine"

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
        if self.num_colors:
            outputs["color_probs"] = self.num_colors
        if self.num_types:
            outputs["type_probs"] = self.num_types
        return outputs

    def forward(
        self,
        image: Tensor,
        keypoints: Tensor | None = None,
        heatmaps: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> NetworkOutputs:
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
        maps = self.base(torch.cat(channels, dim=1) if len(channels) > 1 else image)
        feature = torch.flatten(self.pool(maps), 1)
        if keypoints is not None:
            feature = torch.cat((feature, keypoints.to(feature.dtype)), dim=1)

        identity = self.fc_vid(feature) if self.has_id_branch else feature
        color_logits = type_logits = id_logits = before_neck = None
        if self.neck is not None:
            # The neck has to see what the activation would cut off: it centres what it gets.
            after_neck = self.neck(identity)
            embedding = F.normalize(after_neck)
            before_neck = identity if self.training else None
        else:
            after_neck = embedding = F.leaky_relu(identity) if self.has_id_branch else identity
        if self.num_colors:
            color_logits = self.classifier_vcolor(F.leaky_relu(self.fc_vcolor(feature)))
        if self.num_types:
            type_logits = self.classifier_vtype(F.leaky_relu(self.fc_vtype(feature)))
        if self.training and self.options["num_ids"]:
            id_logits = self.classifier_vid(after_neck)
        return NetworkOutputs(embedding, color_logits, type_logits, id_logits, before_neck)
