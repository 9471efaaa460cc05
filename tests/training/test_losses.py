"""The losses against naive loops, and where no pair is valid."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.losses import batch_hard_triplet, cross_entropy


def naive_triplet(
    embeddings: torch.Tensor, labels: torch.Tensor, margin: float | None
) -> torch.Tensor | None:
    losses = []
    for a in range(len(labels)):
        positives = [
            (embeddings[a] - embeddings[p]).norm()
            for p in range(len(labels))
            if p != a and labels[p] == labels[a]
        ]
        negatives = [
            (embeddings[a] - embeddings[n]).norm() for n in range(len(labels)) if labels[n] != labels[a]
        ]
        if positives and negatives:
            gap = max(positives) - min(negatives)
            losses.append(torch.log1p(gap.exp()) if margin is None else (gap + margin).clamp(min=0))
    return torch.stack(losses).mean() if losses else None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 9999), st.integers(1, 14), st.integers(1, 6), st.sampled_from([None, 0.0, 0.3, 2.0]))
def test_triplet_equals_the_loop(seed: int, count: int, ids: int, margin: float | None) -> None:
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(count, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    labels = torch.randint(0, ids, (count,), generator=generator)
    loss = batch_hard_triplet(embeddings, labels, margin)
    (gradient,) = torch.autograd.grad(loss, embeddings)
    expected = naive_triplet(embeddings, labels, margin)
    if expected is None:
        assert loss.item() == 0
        assert gradient.abs().max() == 0
        return
    assert loss.item() == pytest.approx(expected.item(), abs=1e-12)
    if expected.requires_grad:
        (naive,) = torch.autograd.grad(expected, embeddings)
        assert torch.allclose(gradient, naive, atol=1e-9)


def test_a_lone_anchor_is_not_its_own_positive() -> None:
    embeddings = torch.tensor([[0.0], [1.0], [5.0]])
    # Anchors 0 and 1: gaps 1 - 5 and 1 - 4; anchor 2 is alone and does not count.
    assert batch_hard_triplet(embeddings, torch.tensor([0, 0, 1]), 4.0).item() == pytest.approx(
        (0.0 + 1.0) / 2
    )


def test_a_lone_anchor_may_be_its_own_positive() -> None:
    embeddings = torch.tensor([[0.0], [1.0], [5.0]], requires_grad=True)
    # Anchors 0 and 1 as before; anchor 2: gap 0 - 4, which a margin of 4.5 lifts over zero.
    loss = batch_hard_triplet(embeddings, torch.tensor([0, 0, 1]), 4.5, lone_anchors="self")
    assert loss.item() == pytest.approx((0.5 + 1.5 + 0.5) / 3)
    loss.backward()
    assert torch.isfinite(embeddings.grad).all()
    one_identity = batch_hard_triplet(embeddings, torch.tensor([0, 0, 0]), 4.5, lone_anchors="self")
    assert one_identity.item() == 0, "without a negative there is nothing to say"


@pytest.mark.parametrize("labels", [[3, 3, 3, 3], [0, 1, 2, 3]])
def test_batches_without_a_valid_anchor(labels: list[int]) -> None:
    embeddings = torch.randn(4, 3, requires_grad=True)
    loss = batch_hard_triplet(embeddings, torch.tensor(labels))
    loss.backward()
    assert loss.item() == 0
    assert embeddings.grad is not None
    assert embeddings.grad.abs().sum() == 0


def test_equal_embeddings_have_a_finite_gradient() -> None:
    embeddings = torch.ones(6, 3, requires_grad=True)
    batch_hard_triplet(embeddings, torch.tensor([0, 0, 1, 1, 2, 2])).backward()
    assert embeddings.grad is not None
    assert torch.isfinite(embeddings.grad).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs_are_measured_in_fp32(dtype: torch.dtype) -> None:
    embeddings = (torch.randn(8, 32, generator=torch.Generator().manual_seed(0)) * 200).to(dtype)
    labels = torch.arange(8) // 2
    with torch.autocast("cpu", torch.bfloat16):
        loss = batch_hard_triplet(embeddings, labels)
        entropy = cross_entropy(embeddings, labels)
    assert loss.dtype == entropy.dtype == torch.float32
    expected = naive_triplet(embeddings.float(), labels, 0.3)
    assert expected is not None
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_cross_entropy_with_smoothing_equals_its_formula() -> None:
    logits, label, smoothing = torch.tensor([[1.0, 2.0, 0.5]]), torch.tensor([1]), 0.1
    logs = [value - math.log(sum(math.exp(v) for v in logits[0].tolist())) for value in logits[0].tolist()]
    expected = -(1 - smoothing) * logs[1] - smoothing * sum(logs) / 3
    assert cross_entropy(logits, label, smoothing).item() == pytest.approx(expected, rel=1e-6)


def test_cross_entropy_leaves_unknown_rows_out() -> None:
    logits = torch.randn(4, 5, requires_grad=True)
    labels = torch.tensor([2, -1, 0, -1])
    assert cross_entropy(logits, labels).item() == pytest.approx(
        cross_entropy(logits[::2], labels[::2]).item()
    )
    nothing = cross_entropy(logits, torch.full((4,), -1))
    nothing.backward()
    assert nothing.item() == 0
