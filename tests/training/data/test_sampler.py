"""The samplers' promises."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.even_sampler import make_sampler
from training.data.sampler import CameraSampler, IdentitySampler, PlainSampler
from zoo.errors import UserError

COUNTS = st.lists(st.integers(1, 23), min_size=1, max_size=20)


@settings(max_examples=150, deadline=None)
@given(COUNTS, st.integers(1, 6), st.integers(1, 6), st.integers(0, 3), st.integers(0, 99))
def test_promises(counts: list[int], identities: int, instances: int, epoch: int, seed: int) -> None:
    identities = min(identities, len(counts))
    labels = np.repeat(np.arange(len(counts)) * 7, counts)
    sampler = IdentitySampler(labels.tolist(), identities, instances, seed)
    plan = sampler.plan(epoch)
    assert plan.shape == (len(sampler), identities * instances)
    used = np.bincount(plan.ravel(), minlength=len(labels))
    for identity in np.unique(labels):
        of_identity = used[labels == identity]
        assert of_identity.min() >= 1, "every image is drawn"
        assert of_identity.max() - of_identity.min() <= 1, "evenly"
    for batch in plan:
        per_identity = Counter(labels[batch].tolist())
        assert set(per_identity.values()) == {instances}
        assert len(per_identity) == identities
        for identity in per_identity:
            drawn = batch[labels[batch] == identity]
            assert len(set(drawn.tolist())) == min(instances, int((labels == identity).sum()))


def test_repeats_little_where_identities_are_alike() -> None:
    labels = np.repeat(np.arange(100), 16).tolist()
    assert len(IdentitySampler(labels, 8, 4, 0)) == 50
    assert sorted(IdentitySampler(labels, 8, 4, 0).plan(0).ravel().tolist()) == list(range(1600))


def test_depends_on_seed_and_epoch_alone() -> None:
    labels = np.repeat(np.arange(10), 9).tolist()
    plan = IdentitySampler(labels, 4, 3, 5).plan(2)
    assert (plan == IdentitySampler(labels, 4, 3, 5).plan(2)).all()
    assert (plan != IdentitySampler(labels, 4, 3, 5).plan(3)).any()
    assert (plan != IdentitySampler(labels, 4, 3, 6).plan(2)).any()


def test_who_meets_whom_is_chance() -> None:
    labels = np.repeat(np.arange(40), 20).tolist()
    batches = IdentitySampler(labels, 8, 4, 0).plan(0) // 20
    companions = Counter(int(other) for batch in batches for other in set(batch) if 0 in batch and other != 0)
    assert len(companions) > 15
    assert max(companions.values()) <= 4


def test_too_few_identities() -> None:
    with pytest.raises(UserError, match="wants 4 identities and the training data has 3"):
        IdentitySampler([0, 0, 1, 2], 4, 2, 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 3))
def test_plain_draws_every_image_evenly(images: int, batch_size: int, epoch: int) -> None:
    sampler = PlainSampler(images, batch_size, 5)
    plan = sampler.plan(epoch)
    assert plan.shape == (len(sampler), batch_size)
    assert plan.dtype == np.int64
    assert len(sampler) == max(1, images // batch_size), "whole batches alone"
    used = np.bincount(plan.ravel(), minlength=images)
    assert used.max() - used.min() <= 1
    assert used.max() == 1 or images < batch_size


def test_plain_depends_on_seed_and_epoch_alone() -> None:
    plan = PlainSampler(50, 8, 5).plan(2)
    assert (plan == PlainSampler(50, 8, 5).plan(2)).all()
    assert (plan != PlainSampler(50, 8, 5).plan(3)).any()
    assert (plan != PlainSampler(50, 8, 6).plan(2)).any()


def test_kinds() -> None:
    labels = np.repeat(np.arange(30), 12).tolist()
    planned = {kind: make_sampler(kind, labels, 4, 4, 0).plan(0) // 12 for kind in ("identity", "plain")}
    assert {plan.shape[1] for plan in planned.values()} == {16}
    distinct = {kind: np.mean([len(set(batch)) for batch in plan]) for kind, plan in planned.items()}
    assert distinct["identity"] == 4
    assert distinct["plain"] > 11, "as good as any images"


def test_no_images() -> None:
    with pytest.raises(ValueError, match="16 from 0 images"):
        PlainSampler(0, 16, 0)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=12), min_size=1, max_size=8),
    st.integers(1, 5),
    st.integers(0, 99),
)
def test_an_identity_is_drawn_from_all_its_cameras(
    cameras: list[list[int]], instances: int, seed: int
) -> None:
    labels = [label for label, seen in enumerate(cameras) for _ in seen]
    flat = [camera for seen in cameras for camera in seen]
    plan = CameraSampler(labels, flat, 1, instances, seed).plan(0)
    assert set(plan.ravel()) == set(range(len(flat)))
    first_groups = {labels[batch[0]]: batch for batch in reversed(plan)}
    for label, batch in first_groups.items():
        assert len({flat[image] for image in batch}) == min(instances, len(set(cameras[label])))
