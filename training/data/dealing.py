"""How the images of a global batch are dealt to the ranks of a run.

A rank's BatchNorm takes its statistics from the images on that rank. Dealt by identity, they are a few
vehicles several times over; dealt at random, about as many vehicles as images, at no cost where triplets are
mined over the global batch. The same care is called shuffling BatchNorm by He et al. (MoCo, CVPR 2020,
section 3.3).
"""

from typing import Literal

import numpy as np

from training.data.sampler import Draw, Sampler

Dealing = Literal["random", "identity"]

_STREAM = 1
"""Sets the dealing's chance apart from the plan's, which comes from the same seed and epoch."""


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
        plan = np.random.default_rng([seed, epoch, _STREAM]).permuted(plan, axis=1)
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
