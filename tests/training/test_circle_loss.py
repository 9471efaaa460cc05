"""Circle loss against its formula in a loop, and where no pair is valid."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.losses import circle_loss


def naive_circle(
    embeddings: torch.Tensor, labels: torch.Tensor, margin: float, scale: float
) -> torch.Tensor | None:
    losses = []
    for a in range(len(labels)):
        positives, negatives = [], []
        for b in range(len(labels)):
            if a == b:
                continue
            similarity = torch.dot(embeddings[a], embeddings[b]) / (
                embeddings[a].norm() * embeddings[b].norm()
            )
            value = float(similarity.detach())
            if labels[a] == labels[b]:
                weight = max(0.0, 1 + margin - value)
                positives.append((-scale * weight * (similarity - (1 - margin))).exp())
            else:
                weight = max(0.0, value + margin)
                negatives.append((scale * weight * (similarity - margin)).exp())
        if positives and negatives:
            losses.append(torch.log1p(sum(positives) * sum(negatives)))
    return torch.stack(losses).mean() if losses else None


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 9999), st.integers(1, 12), st.integers(1, 5), st.sampled_from([(0.25, 64.0), (0.4, 8.0)])
)
def test_it_equals_the_loop(seed: int, count: int, ids: int, options: tuple[float, float]) -> None:
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(count, 6, dtype=torch.float64, generator=generator, requires_grad=True)
    labels = torch.randint(0, ids, (count,), generator=generator)
    loss = circle_loss(embeddings, labels, *options)
    (gradient,) = torch.autograd.grad(loss, embeddings)
    expected = naive_circle(embeddings, labels, *options)
    if expected is None:
        assert loss.item() == 0
        assert gradient.abs().max() == 0
        return
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    (naive,) = torch.autograd.grad(expected, embeddings)
    assert torch.allclose(gradient, naive, rtol=1e-7, atol=1e-9)


def test_a_worked_example() -> None:
    # Anchors 0 and 1: positive similarity 0, negative similarities -1 and 0; anchor 2 is alone.
    embeddings = torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])
    margin, scale = 0.25, 4.0
    positive = math.exp(scale * 1.25 * 0.75)
    far, near = 1.0, math.exp(-scale * 0.25 * 0.25)
    expected = (math.log(1 + positive * far) + math.log(1 + positive * near)) / 2
    loss = circle_loss(embeddings, torch.tensor([0, 0, 1]), margin, scale)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("labels", [[3, 3, 3, 3], [0, 1, 2, 3]])
def test_batches_without_a_valid_anchor(labels: list[int]) -> None:
    embeddings = torch.randn(4, 3, requires_grad=True)
    loss = circle_loss(embeddings, torch.tensor(labels))
    loss.backward()
    assert loss.item() == 0
    assert embeddings.grad is not None
    assert embeddings.grad.abs().sum() == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs_are_measured_in_fp32(dtype: torch.dtype) -> None:
    embeddings = (torch.randn(8, 32, generator=torch.Generator().manual_seed(0)) * 200).to(dtype)
    labels = torch.arange(8) // 2
    with torch.autocast("cpu", torch.bfloat16):
        loss = circle_loss(embeddings, labels)
    assert loss.dtype == torch.float32
    expected = naive_circle(embeddings.double(), labels, 0.25, 64.0)
    assert expected is not None
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_extreme_similarities_stay_finite() -> None:
    embeddings = torch.cat((torch.ones(3, 4), -torch.ones(3, 4))).requires_grad_()
    loss = circle_loss(embeddings, torch.tensor([0, 1, 2, 0, 1, 2]), scale=1000.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert embeddings.grad is not None
    assert torch.isfinite(embeddings.grad).all()
