"""Sampling: which images make up each batch of an epoch, and which of them each rank gets.

A plan is made for the global batch from (seed, epoch) alone, so that every rank of a run can make the same
one.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from zoo.errors import UserError

SamplerKind = Literal["identity", "even", "plain"]

Dealing = Literal["random", "identity"]
"""How the images of a global batch are dealt to the ranks of a run.

A rank's BatchNorm takes its statistics from the images on that rank. Dealt by identity, they are a few
vehicles several times over; dealt at random, about as many vehicles as images, at no cost where triplets are
mined over the global batch. The same care is called shuffling BatchNorm by He et al. (MoCo, CVPR 2020,
section 3.3).
"""

_DEALING_STREAM = 1
"""Sets the dealing's chance apart from the plan's, which comes from the same seed and epoch."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One image of one batch. `position` counts an epoch's draws, so that a repeated image is augmented
    anew."""

    epoch: int
    position: int
    index: int


class Sampler(ABC):
    """Plans epochs of equally large batches.

    Attributes:
        seed: the run's.
        num_batches: batches an epoch.
        batch_size: images a batch.
    """

    seed: int
    num_batches: int
    batch_size: int

    @abstractmethod
    def plan(self, epoch: int) -> np.ndarray:
        """Draw an epoch, which counts from 0: image indices, int64 [num_batches, batch_size]."""

    def __len__(self) -> int:
        """Batches an epoch."""
        return self.num_batches


class PlainSampler(Sampler):
    """Shuffled images without regard to identity, as torch's distributed sampler gives them to the ranks of
    the original eight-card script: only by chance does a batch hold two images of a vehicle.

    An image is drawn once at most: those beyond the last whole batch are left out of an epoch, as they are
    there. Where not even one batch is whole, images fill it up again.
    """

    def __init__(self, num_images: int, batch_size: int, seed: int) -> None:
        """Prepare to plan batches of `batch_size` from `num_images`, with the run's seed."""
        if num_images < 1 or batch_size < 1:
            raise ValueError(f"batches of {batch_size} from {num_images} images: both must be positive")
        self.num_images, self.batch_size, self.seed = num_images, batch_size, seed
        self.num_batches = max(1, num_images // batch_size)

    def plan(self, epoch: int) -> np.ndarray:
        order = np.random.default_rng([self.seed, epoch]).permutation(self.num_images)
        return np.resize(order, (self.num_batches, self.batch_size))


class IdentitySampler(Sampler):
    """P x K sampling: every batch holds `num_identities` (P) identities with `num_instances` (K) images each.

    In an epoch every image is drawn at least once. Where an identity's images do not divide by K, or the
    groups of K do not divide into batches of P different identities, images are drawn again, evenly: the
    draws of two images of an identity differ by one at most, and an image is twice in a batch only where its
    identity has fewer than K.
    """

    def __init__(self, labels: Sequence[int], num_identities: int, num_instances: int, seed: int) -> None:
        """Prepare to plan.

        Args:
            labels: the identity of each image of the data set.
            num_identities: P.
            num_instances: K.
            seed: the run's seed.

        Raises:
            UserError: the data set has fewer than P identities.
        """
        if num_identities < 1 or num_instances < 1:
            raise ValueError(f"P x K = {num_identities} x {num_instances}: both must be positive")
        identities = np.unique(labels)
        if len(identities) < num_identities:
            raise UserError(
                f"a batch wants {num_identities} identities and the training data has {len(identities)}: "
                "lower num_identities in the recipe, or give more vehicles"
            )
        self.num_identities, self.num_instances, self.seed = num_identities, num_instances, seed
        self.batch_size = num_identities * num_instances
        self._images = [np.flatnonzero(np.asarray(labels) == identity) for identity in identities]
        self._groups = np.array([-(-len(images) // num_instances) for images in self._images])
        # An identity is in a batch once at most, so the largest needs as many batches as it has groups.
        self.num_batches = max(-(-int(self._groups.sum()) // num_identities), int(self._groups.max()))

    def plan(self, epoch: int) -> np.ndarray:
        """Draw an epoch: image indices, int64 [num_batches, P * K], the K images of an identity side by
        side."""
        rng = np.random.default_rng([self.seed, epoch])
        members = self._deal_identities(rng)
        counts = np.bincount(members.ravel(), minlength=len(self._images))
        # A cycle through an identity's shuffled images: K in a row are all different wherever it has K.
        groups = [
            np.resize(self._shuffled(images, rng), (count, self.num_instances))
            for images, count in zip(self._images, counts, strict=True)
        ]
        used = np.zeros(len(groups), dtype=np.int64)
        batches = np.empty((self.num_batches, self.num_identities, self.num_instances), np.int64)
        for row, batch in zip(members, batches, strict=True):
            for slot, identity in enumerate(row):
                batch[slot] = groups[identity][used[identity]]
                used[identity] += 1
        return batches.reshape(self.num_batches, self.batch_size)

    def _shuffled(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """An identity's images in the order in which they are drawn."""
        return rng.permutation(images)

    def _deal_identities(self, rng: np.random.Generator) -> np.ndarray:
        """Choose the identities of each batch: int [num_batches, P], no identity twice in a row.

        An identity's groups go to the batches that are emptiest so far, ties at random. So batches never
        differ by more than one in how full they are, which is why none overflows, and who meets whom is
        chance.
        """
        fill = np.zeros(self.num_batches, np.int64)
        members = np.full((self.num_batches, self.num_identities), -1, np.int64)
        for identity in rng.permutation(len(self._images)):
            emptiest = np.argsort(fill + rng.random(self.num_batches))[: self._groups[identity]]
            members[emptiest, fill[emptiest]] = identity
            fill[emptiest] += 1
        extra = np.zeros(len(self._images), np.int64)
        for batch in np.flatnonzero(fill < self.num_identities):
            absent = np.setdiff1d(np.arange(len(self._images)), members[batch, : fill[batch]])
            order = np.argsort(extra[absent] + rng.random(len(absent)))
            chosen = absent[order[: self.num_identities - fill[batch]]]
            members[batch, fill[batch] :] = chosen
            extra[chosen] += 1
        return members


class CameraSampler(IdentitySampler):
    """P x K sampling in which the K images of an identity are of as many cameras as it was seen by.

    So the pairs that a metric loss mines are mostly of two cameras, however many images one of them took.
    """

    def __init__(
        self,
        labels: Sequence[int],
        cameras: Sequence[int],
        num_identities: int,
        num_instances: int,
        seed: int,
    ) -> None:
        """Prepare to plan; `cameras` are those of the images, all else is as in `IdentitySampler`."""
        super().__init__(labels, num_identities, num_instances, seed)
        self._cameras = np.asarray(cameras)

    def _shuffled(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One image of each camera, then a second one of each, and so on; the cameras in any order."""
        images = rng.permutation(images)
        seen, cameras = np.unique(self._cameras[images], return_inverse=True)
        turn = np.array([np.count_nonzero(cameras[:i] == camera) for i, camera in enumerate(cameras)])
        chance = rng.permutation(len(seen))[cameras]
        return images[np.lexsort((chance, turn))]


def deal(plan: np.ndarray, world_size: int, policy: Dealing, seed: int, epoch: int) -> np.ndarray:
    """Deal each global batch of an epoch.

    Args:
        plan: int64 [steps, global batch]; the images of an identity lie side by side.
        world_size: number of ranks; it divides the global batch.
        policy: `random` shuffles each global batch and cuts it; `identity` cuts it as it lies, so that a
            rank gets whole identities.
        seed: the run's seed.
        epoch: counts from 0.

    Returns:
        int64 [steps, world_size, images of a rank], each step a rearrangement of the plan's. A single rank
        gets the plan as it is.
    """
    steps, global_batch = plan.shape
    if global_batch % world_size:
        raise ValueError(f"a global batch of {global_batch} does not divide into {world_size} ranks")
    if policy == "random" and world_size > 1:
        plan = np.random.default_rng([seed, epoch, _DEALING_STREAM]).permuted(plan, axis=1)
    return plan.reshape(steps, world_size, global_batch // world_size)


def rank_draws(
    sampler: Sampler, epoch: int, policy: Dealing, rank: int = 0, world_size: int = 1
) -> list[list[Draw]]:
    """One rank's batches of an epoch, as a data loader takes them.

    `sampler` plans the global batch. A draw keeps its position in that plan wherever it is dealt to, so the
    ranks together augment the very images that one process would.
    """
    plan = sampler.plan(epoch)
    positions = deal(np.arange(plan.size).reshape(plan.shape), world_size, policy, sampler.seed, epoch)
    indices = plan.ravel()
    return [[Draw(epoch, int(p), int(indices[p])) for p in batch] for batch in positions[:, rank]]
