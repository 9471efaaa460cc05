"""The terms of a similarity sum to it, and lie where the picture's difference lies."""

from pathlib import Path

import numpy as np
import pytest
import torch

from training.datasets import read_split
from training.report.saliency import Regions
from zoo.registry import create_model, make_card


@pytest.mark.parametrize(
    "options", [{}, {"neck": "bn", "pool": "gem", "last_stride": 1}], ids=["plain", "strong"]
)
def test_terms_sum_to_the_similarity_but_for_the_biases(veri_root: Path, options: dict) -> None:
    torch.manual_seed(0)
    model = create_model("densenet121", embedding_dim=12, attribute_dim=8, **options).eval()
    model.fc_vid.bias.data.zero_()
    card = make_card(model, "densenet121.test", (64, 96))
    records = read_split(veri_root, "query")[:3]
    direction = np.random.default_rng(0).normal(size=(3, 12)).astype(np.float32)
    regions = Regions(model, card, torch.device("cpu"))
    kept = []
    watched = model.fc_vid if model.neck is None else model.neck
    hook = watched.register_forward_hook(lambda _m, _i, feature: kept.append(feature))
    terms = regions.contributions(records, direction, batch_size=2)
    hook.remove()
    assert terms is not None
    side = (2, 3) if not options else (4, 6)
    assert terms.shape == (3, *side)
    feature = torch.cat(kept)
    if model.neck is None:
        feature = torch.nn.functional.leaky_relu(feature)
    similarity = (feature.detach().numpy() * direction).sum(1)
    np.testing.assert_allclose(terms.sum((1, 2)), similarity, rtol=2e-3, atol=1e-4)


def test_a_network_that_does_not_name_its_trunk(veri_root: Path) -> None:
    model = create_model("densenet121", embedding_dim=12, attribute_dim=8)
    card = make_card(model, "densenet121.test", (64, 64))
    model.trunk = None
    regions = Regions(model, card, torch.device("cpu"))
    assert regions.contributions(read_split(veri_root, "query")[:1], np.zeros((1, 12), np.float32)) is None
