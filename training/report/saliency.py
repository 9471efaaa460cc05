"""Which regions of two images made the network find them alike.

After Stylianou, Souvenir and Pless, Visualizing Deep Similarity Networks, WACV 2019, who take the similarity
of two average-pooled embeddings apart into one term a position. Here layers follow the pooling, so the terms
are those of its linearisation where the network stands: gradient times map. For average and generalised-mean
pooling, a linear layer and a (leaky) ReLU, all homogeneous, they sum to the similarity but for the biases.

Two embeddings of given lengths are the nearer, the larger their product q.g. Of it, q.m with the gallery's
mean m is what any image has. So q.(g - m) is taken apart, and g.(q - m) for the other image: what all
vehicles have in common cancels out.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from training.data.batches import collate, raise_failures
from training.data.pose_maps import PoseInputs
from training.datasets.records import Record
from training.evaluation.extract import EvaluationSet
from zoo.card import Card
from zoo.inference import InferenceModel


class Regions:
    """Takes similarities apart over the positions of a network's last maps."""

    def __init__(self, model: nn.Module, card: Card, device: torch.device) -> None:
        """Prepare; the model's weights are frozen from here on."""
        self.model = InferenceModel(model, card).to(device).requires_grad_(False)
        self.card, self.device = card, device

    def contributions(
        self, records: Sequence[Record], directions: np.ndarray, batch_size: int = 16
    ) -> np.ndarray | None:
        """What each position adds to the product of an image's embedding and a direction.

        Args:
            records: N images.
            directions: [N, D], such as another image's embedding less the mean one.
            batch_size: images at a time.

        Returns:
            float32 [N, h, w], more where the image is more like the other; None for a network that does not
            name its trunk.
        """
        trunk = getattr(self.model.model, "trunk", None)
        if not isinstance(trunk, str):
            return None
        # The neck's output stands for an embedding that is scaled to unit length after it: the scale is
        # no region's doing, and its gradient would cancel the terms.
        neck = getattr(self.model.model, "neck", None)
        kept: dict[str, Tensor] = {}

        def keep_maps(_module: nn.Module, _inputs: object, maps: Tensor) -> Tensor:
            kept["maps"] = maps.detach().requires_grad_()
            return kept["maps"]

        def keep_feature(_module: nn.Module, _inputs: object, feature: Tensor) -> None:
            kept["feature"] = feature

        hooks = [self.model.model.get_submodule(trunk).register_forward_hook(keep_maps)]
        if neck is not None:
            hooks.append(neck.register_forward_hook(keep_feature))
        pose = PoseInputs(**{name: True for name in self.card.pose_inputs})
        data = EvaluationSet(records, self.card.input_size, pose, antialias=self.card.antialias)
        found = []
        try:
            for start in range(0, len(data), batch_size):
                part = range(start, min(start + batch_size, len(data)))
                (loaded,) = raise_failures([collate([data[i] for i in part])])
                batch = loaded.to(self.device)
                kept.clear()
                embedding = self.model(batch.image, batch.keypoints, batch.heatmaps, batch.segments).embedding
                wanted = torch.from_numpy(directions[start : part.stop]).to(embedding)
                (kept.get("feature", embedding) * wanted).sum().backward()
                gradient = kept["maps"].grad
                assert gradient is not None, "the embedding is made from the trunk's maps"
                found.append((gradient * kept["maps"]).sum(1).detach().float().cpu().numpy())
        finally:
            for hook in hooks:
                hook.remove()
        return np.concatenate(found)
