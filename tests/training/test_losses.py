"""The losses against naive loops, and where no pair is valid."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.close_embeddings import close_together, true_squares, two_crowds
from training.distributed.devices import KINDS
from training.losses import all_distances, batch_hard_triplet, circle_loss, cross_entropy, relation_loss


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


@pytest.mark.parametrize("make", [close_together, two_crowds])
@pytest.mark.parametrize("count", [8, 32, 100, 1000])
def test_hard_pairs_of_embeddings_close_together(make: Callable[[int], np.ndarray], count: int) -> None:
    """The pairs that float64 finds, and its loss: batches of up to 25 rows and more take different roads."""
    values = make(count)
    squares = true_squares(values, values)
    labels = torch.arange(count) // 4
    same = (labels[:, None] == labels[None, :]).numpy()
    hardest = np.where(same, squares, -np.inf).argmax(1), np.where(same, np.inf, squares).argmin(1)
    gaps = np.sqrt(squares[np.arange(count), hardest[0]]) - np.sqrt(squares[np.arange(count), hardest[1]])
    embeddings = torch.from_numpy(values).requires_grad_()
    loss = batch_hard_triplet(embeddings, labels)
    assert loss.item() == pytest.approx(np.maximum(gaps + 0.3, 0).mean(), rel=1e-6)
    loss.backward()
    exact = torch.from_numpy(values.astype(np.float64)).requires_grad_()
    batch_hard_triplet(exact, labels).backward()
    assert embeddings.grad is not None
    assert exact.grad is not None
    # Another pair would be another gradient.
    torch.testing.assert_close(embeddings.grad.double(), exact.grad, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_hard_pairs_in_half_precision(dtype: torch.dtype) -> None:
    values = torch.from_numpy(close_together(100, np.float16)).to(dtype)
    labels = torch.arange(100) // 4
    with torch.autocast("cpu", torch.bfloat16):
        found = batch_hard_triplet(values, labels)
    assert found.item() == pytest.approx(batch_hard_triplet(values.double(), labels).item(), rel=1e-6)


def test_devices_without_float64_products_take_the_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.from_numpy(two_crowds(100))
    monkeypatch.setitem(KINDS, "cpu", replace(KINDS["cpu"], float64_products=False))
    found = all_distances(values, values)
    assert found.dtype == torch.float32
    expected = np.sqrt(true_squares(values.numpy(), values.numpy()))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("count", [32, 100, 1000])
def test_circle_loss_of_embeddings_close_together(count: int) -> None:
    values, labels = torch.from_numpy(close_together(count)), torch.arange(count) // 4
    found = circle_loss(values, labels).item()
    assert found == pytest.approx(circle_loss(values.double(), labels).item(), rel=1e-5)


def naive_relations(embeddings: torch.Tensor, teacher: torch.Tensor) -> float:
    losses = []
    for one in range(len(embeddings)):
        others = [other for other in range(len(embeddings)) if other != one]
        own, wanted = (
            [(values[one] - values[other]).norm().item() for other in others]
            for values in (embeddings, teacher)
        )
        losses.append(1 - np.corrcoef(own, wanted)[0, 1])
    return float(np.mean(losses))


def random_rows(count: int, width: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(count, width, dtype=dtype, generator=torch.Generator().manual_seed(seed))


# Of up to 25 rows and more, torch measures distances by different roads.
@pytest.mark.parametrize("count", [3, 8, 40])
def test_relations_equal_the_loop(count: int) -> None:
    embeddings, teacher = random_rows(count, 5, 0).requires_grad_(), random_rows(count, 9, 1)
    loss = relation_loss(embeddings, teacher)
    assert loss.item() == pytest.approx(naive_relations(embeddings, teacher), rel=1e-9)
    if count == 8:
        assert torch.autograd.gradcheck(lambda values: relation_loss(values, teacher), embeddings)


def test_equal_relations_leave_nothing_to_learn() -> None:
    teacher = random_rows(30, 6, 0)
    rotation = torch.linalg.qr(random_rows(6, 6, 1)).Q
    for scale in (1e-3, 1.0, 1e3):
        turned = (scale * (teacher @ rotation) + 5).requires_grad_()
        loss = relation_loss(turned, teacher)
        assert loss.item() == pytest.approx(0, abs=1e-9)
        loss.backward()
        assert turned.grad is not None
        assert scale * turned.grad.abs().max() < 1e-6
    with_zeros = torch.cat([teacher, torch.zeros(30, 4, dtype=torch.float64)], 1)
    assert relation_loss(with_zeros, teacher).item() == pytest.approx(0, abs=1e-9), "of any dimension"


def test_following_the_gradient_brings_the_relations_nearer() -> None:
    embeddings, teacher = random_rows(24, 8, 0, torch.float32).requires_grad_(), random_rows(24, 12, 1)
    optimizer = torch.optim.Adam([embeddings], 0.05)
    found = []
    for _ in range(60):
        loss = relation_loss(embeddings, teacher)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    assert found[0] > 0.7
    assert found[-1] < 0.2


@pytest.mark.parametrize("count", [2, 6, 40])
def test_relations_without_any_difference_have_a_finite_gradient(count: int) -> None:
    alike, apart = torch.ones(count, 3), random_rows(count, 4, 0, torch.float32)
    for values, teacher in ((alike, apart), (apart, alike)):
        embeddings = values.clone().requires_grad_()
        relation_loss(embeddings, teacher).backward()
        assert embeddings.grad is not None
        assert torch.isfinite(embeddings.grad).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_relations_in_half_precision_are_measured_in_fp32(dtype: torch.dtype) -> None:
    values, teacher = (random_rows(30, 16, 0) * 200).to(dtype), random_rows(30, 8, 1)
    with torch.autocast("cpu", torch.bfloat16):
        loss = relation_loss(values, teacher)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(relation_loss(values.double(), teacher).item(), rel=1e-5)
