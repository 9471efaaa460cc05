"""Batches with equal parts of several data sets."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.even_sampler import EvenSampler, make_sampler
from training.data.sampler import IdentitySampler, rank_draws
from zoo.errors import UserError

# Each data set: the images of each of its vehicles.
DATA_SETS = st.lists(st.lists(st.integers(1, 9), min_size=3, max_size=12), min_size=1, max_size=4)


def joined(data_sets: list[list[int]]) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Labels and data set of each image, and the data sets' sizes."""
    counts = [count for vehicles in data_sets for count in vehicles]
    sizes = [sum(vehicles) for vehicles in data_sets]
    return np.repeat(np.arange(len(counts)), counts), np.repeat(np.arange(len(sizes)), sizes), sizes


@settings(max_examples=100, deadline=None)
@given(DATA_SETS, st.integers(0, 2), st.integers(1, 4), st.integers(0, 3), st.integers(0, 99))
def test_promises(data_sets: list[list[int]], more: int, instances: int, epoch: int, seed: int) -> None:
    labels, owner, sizes = joined(data_sets)
    identities = min(len(sizes) + more, 3 * len(sizes))
    sampler = EvenSampler(labels.tolist(), sizes, identities, instances, seed)
    plan = sampler.plan(epoch)
    assert (plan.shape, plan.dtype) == ((len(sampler), identities * instances), np.int64)
    for batch in plan:
        groups = labels[batch].reshape(identities, instances)
        assert (groups == groups[:, :1]).all(), "an identity's images lie side by side"
        assert len(set(groups[:, 0])) == identities
        shares = np.bincount(owner[batch], minlength=len(sizes)) // instances
        assert shares.max() - shares.min() <= 1
        assert sorted(shares, reverse=True) == shares.tolist(), "what is left over goes to the first"
    alone = [
        IdentitySampler(labels[owner == number].tolist(), int(share), instances, 0).num_batches
        for number, share in enumerate(shares)
    ]
    assert len(sampler) == max(alone)
    for number, batches in enumerate(alone):
        if batches == len(sampler):
            assert set(np.flatnonzero(owner == number)) <= set(plan.ravel()), "the longest is seen whole"


def test_a_small_data_set_goes_on_where_it_was_left() -> None:
    labels, owner, sizes = joined([[4] * 40, [4] * 6])
    sampler = EvenSampler(labels.tolist(), sizes, 8, 4, 0)
    assert len(sampler) == 10
    drawn = [batch[owner[batch] == 1] for epoch in range(3) for batch in sampler.plan(epoch)]
    # 24 images, 16 a batch: a pass is two batches, whichever epoch it begins in.
    for begin in range(0, len(drawn), 2):
        assert len(set(np.concatenate(drawn[begin : begin + 2]))) == 24
    passes = {tuple(np.concatenate(drawn[begin : begin + 2])) for begin in range(0, len(drawn), 2)}
    assert len(passes) == 15, "each pass is shuffled anew"


def test_depends_on_seed_and_epoch_alone() -> None:
    labels, _, sizes = joined([[9] * 10, [5] * 4])
    plan = EvenSampler(labels.tolist(), sizes, 4, 3, 5).plan(2)
    assert (plan == EvenSampler(labels.tolist(), sizes, 4, 3, 5).plan(2)).all()
    assert (plan != EvenSampler(labels.tolist(), sizes, 4, 3, 5).plan(3)).any()
    assert (plan != EvenSampler(labels.tolist(), sizes, 4, 3, 6).plan(2)).any()


def test_data_sets_of_one_shape_are_shuffled_apart() -> None:
    labels, _, sizes = joined([[8] * 20, [8] * 20])
    plan = labels[EvenSampler(labels.tolist(), sizes, 8, 4, 0).plan(0)]
    meetings = Counter((a, b) for batch in plan for a in set(batch) for b in set(batch) if a < 20 <= b)
    assert len(meetings) > 100
    assert max(meetings.values()) < 2 + 2


def test_dealt_by_identity_each_rank_has_some_of_each_data_set() -> None:
    labels, owner, sizes = joined([[8] * 20, [8] * 20, [8] * 5])
    sampler = EvenSampler(labels.tolist(), sizes, 12, 4, 0)
    dealt = [rank_draws(sampler, 1, "identity", rank, 2) for rank in range(2)]
    for batch in (batch for rank in dealt for batch in rank):
        assert np.bincount([owner[draw.index] for draw in batch]).tolist() == [8, 8, 8]
    positions = [draw.position for step in zip(*dealt, strict=True) for batch in step for draw in batch]
    assert sorted(positions) == list(range(len(sampler) * 48))


def test_one_data_set_is_plain_identity_sampling() -> None:
    labels = np.repeat(np.arange(10), 9).tolist()
    for sizes in ((), [90]):
        sampler = make_sampler("even", labels, 4, 3, 5, sizes)
        assert (sampler.plan(1) == IdentitySampler(labels, 4, 3, 5).plan(1)).all()
    assert isinstance(make_sampler("even", labels, 4, 3, 5, [45, 45]), EvenSampler)


def test_too_few_identities() -> None:
    labels, _, sizes = joined([[2] * 9, [2] * 3])
    with pytest.raises(UserError, match=r"wants 4 identities .* number 2 has 3: lower num_identities"):
        EvenSampler(labels.tolist(), sizes, 8, 2, 0)
    with pytest.raises(UserError, match="1 identities cannot be shared by 2 data sets: raise"):
        EvenSampler(labels.tolist(), sizes, 1, 2, 0)
    with pytest.raises(ValueError, match="24 labels"):
        EvenSampler(labels.tolist(), [18], 4, 2, 0)
