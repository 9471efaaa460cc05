"""How global batches are dealt to ranks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.sampler import Dealing, IdentitySampler, deal, rank_draws

IDENTITIES, INSTANCES, RANKS = 8, 4, 4


def plan(epoch: int = 0) -> np.ndarray:
    labels = np.repeat(np.arange(40), 10).tolist()
    return IdentitySampler(labels, IDENTITIES, INSTANCES, 3).plan(epoch)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([1, 2, 4, 8]), st.sampled_from(["random", "identity"]), st.integers(0, 5))
def test_every_step_deals_its_own_images_once(world_size: int, policy: Dealing, epoch: int) -> None:
    planned = plan(epoch)
    dealt = deal(planned, world_size, policy, 3, epoch)
    assert dealt.shape == (len(planned), world_size, IDENTITIES * INSTANCES // world_size)
    assert dealt.dtype == np.int64
    assert (np.sort(dealt.reshape(planned.shape), 1) == np.sort(planned, 1)).all()


def test_by_identity_a_rank_gets_whole_identities() -> None:
    vehicles = deal(plan(), RANKS, "identity", 3, 0) // 10
    assert {len(set(rank)) for step in vehicles.tolist() for rank in step} == {IDENTITIES // RANKS}


def test_at_random_a_rank_gets_many_identities() -> None:
    vehicles = deal(plan(), RANKS, "random", 3, 0) // 10
    distinct = [len(set(rank)) for step in vehicles.tolist() for rank in step]
    # 8 images drawn of 8 x 4: 8 (1 - C(28,8) / C(32,8)) = 5.63 vehicles are expected.
    assert 5.2 < np.mean(distinct) < 6.1


def test_random_dealing_depends_on_seed_and_epoch_alone() -> None:
    planned = plan()
    dealt = deal(planned, RANKS, "random", 3, 0)
    assert (dealt == deal(planned, RANKS, "random", 3, 0)).all()
    assert (dealt != deal(planned, RANKS, "random", 4, 0)).any()
    assert (dealt != deal(planned, RANKS, "random", 3, 1)).any()


def test_one_rank_gets_the_plan_and_the_plan_stays() -> None:
    planned = plan()
    before = planned.copy()
    assert (deal(planned, 1, "random", 3, 0)[:, 0] == planned).all()
    deal(planned, RANKS, "random", 3, 0)
    assert (planned == before).all()


def test_steps_are_shuffled_differently() -> None:
    same_batch = np.tile(np.arange(16), (5, 1))
    assert len({tuple(step) for step in deal(same_batch, 2, "random", 0, 0).reshape(5, 16).tolist()}) == 5


def test_indivisible() -> None:
    with pytest.raises(ValueError, match="32 does not divide into 3"):
        deal(plan(), 3, "random", 0, 0)


def test_draws_are_the_plan_with_positions() -> None:
    sampler = IdentitySampler([0, 0, 1, 1, 2], 2, 2, 0)
    draws = [draw for batch in rank_draws(sampler, 4, "random") for draw in batch]
    assert [draw.index for draw in draws] == sampler.plan(4).ravel().tolist()
    assert [draw.position for draw in draws] == list(range(len(draws)))
    assert {draw.epoch for draw in draws} == {4}


@pytest.mark.parametrize("policy", ["random", "identity"])
def test_the_ranks_together_draw_what_one_process_draws(policy: Dealing) -> None:
    sampler = IdentitySampler(np.repeat(np.arange(40), 10).tolist(), IDENTITIES, INSTANCES, 3)
    ranks = [rank_draws(sampler, 2, policy, rank, RANKS) for rank in range(RANKS)]
    for step, alone in enumerate(rank_draws(sampler, 2, policy)):
        together = [draw for batches in ranks for draw in batches[step]]
        assert {len(batches[step]) for batches in ranks} == {IDENTITIES * INSTANCES // RANKS}
        assert sorted(together, key=lambda draw: draw.position) == alone
