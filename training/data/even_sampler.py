"""Batches in which several data sets have equal parts, and the choice of a sampler by its kind."""

from collections.abc import Sequence

import numpy as np

from training.data.sampler import IdentitySampler, PlainSampler, Sampler, SamplerKind
from zoo.errors import UserError


class EvenSampler(Sampler):
    """P x K sampling in which every batch has as many identities of each data set as of the others.

    So a small set of real vehicles is half of each batch beside however many drawn ones. Where P does not
    divide, the first data sets have one identity more.

    Each data set is planned by an `IdentitySampler` of its own. An epoch is one pass through the data set
    whose pass is longest; the others go on from where the epoch before left them, pass after pass.
    """

    def __init__(
        self,
        labels: Sequence[int],
        sizes: Sequence[int],
        num_identities: int,
        num_instances: int,
        seed: int,
    ) -> None:
        """Prepare to plan.

        Args:
            labels: the identity of each image; those of a data set side by side, none of them in another.
            sizes: images of each data set, in that order.
            num_identities: P, of all data sets together.
            num_instances: K.
            seed: the run's seed.

        Raises:
            UserError: there are more data sets than P, or one has fewer identities than its part of a batch.
        """
        if sum(sizes) != len(labels):
            raise ValueError(f"data sets of {list(sizes)} images, and {len(labels)} labels")
        if num_identities < len(sizes):
            raise UserError(
                f"a batch of {num_identities} identities cannot be shared by {len(sizes)} data sets: raise "
                "num_identities in the recipe, or give fewer --data-root"
            )
        self.seed, self.batch_size = seed, num_identities * num_instances
        self._starts = np.cumsum([0, *sizes[:-1]])
        self._parts: list[IdentitySampler] = []
        for number, (start, size) in enumerate(zip(self._starts, sizes, strict=True)):
            own = np.asarray(labels)[start : start + size]
            share = num_identities // len(sizes) + (number < num_identities % len(sizes))
            if (vehicles := len(np.unique(own))) < share:
                raise UserError(
                    f"an even batch wants {share} identities of each data set, and the training data of "
                    f"--data-root number {number + 1} has {vehicles}: lower num_identities in the recipe, "
                    "start fewer ranks, or give more vehicles"
                )
            # Seeds of their own, or data sets of one shape would be shuffled alike, and a vehicle would
            # always meet the same one of the other set.
            part_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
            self._parts.append(IdentitySampler(own.tolist(), share, num_instances, part_seed))
        self.num_batches = max(part.num_batches for part in self._parts)
        # By turns, so that a rank that gets whole identities gets some of each data set.
        turns = np.concatenate([np.arange(part.num_identities) / part.num_identities for part in self._parts])
        self._order = np.argsort(turns, kind="stable")

    def plan(self, epoch: int) -> np.ndarray:
        """Draw an epoch: image indices, int64 [num_batches, P * K], the K images of an identity side by
        side."""
        joined = np.concatenate(
            [
                start + self._section(part, epoch).reshape(self.num_batches, part.num_identities, -1)
                for start, part in zip(self._starts, self._parts, strict=True)
            ],
            axis=1,
        )
        return joined[:, self._order].reshape(self.num_batches, self.batch_size)

    def _section(self, part: IdentitySampler, epoch: int) -> np.ndarray:
        """An epoch's batches out of a data set's endless row of passes."""
        first = epoch * self.num_batches
        passes = range(first // part.num_batches, (first + self.num_batches - 1) // part.num_batches + 1)
        begin = first - passes.start * part.num_batches
        return np.concatenate([part.plan(number) for number in passes])[begin : begin + self.num_batches]


def make_sampler(
    kind: SamplerKind,
    labels: Sequence[int],
    num_identities: int,
    num_instances: int,
    seed: int,
    sizes: Sequence[int] = (),
) -> Sampler:
    """Make the sampler of batches of P x K images: `identity` as P identities with K images each, `even` as
    such with equal parts of all data sets, `plain` as any images.

    Args:
        kind: which.
        labels: the identity of each image.
        num_identities: P.
        num_instances: K.
        seed: the run's seed.
        sizes: images of each data set, where they are of several.

    Raises:
        UserError: see `IdentitySampler` and `EvenSampler`.
    """
    if kind == "plain":
        return PlainSampler(len(labels), num_identities * num_instances, seed)
    if kind == "even" and len(sizes) > 1:
        return EvenSampler(labels, sizes, num_identities, num_instances, seed)
    return IdentitySampler(labels, num_identities, num_instances, seed)
