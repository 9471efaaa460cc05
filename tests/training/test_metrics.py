"""The metrics against their definition, written out in plain Python."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.metrics import evaluate_ranking, match_ranks_of_order, rank_metrics


def by_definition(query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras):
    """AP and first match of each query, by the letter of the protocol."""
    precisions, firsts = [], []
    for q in range(len(query)):
        distances = [
            sum((float(a) - float(b)) ** 2 for a, b in zip(query[q], g, strict=True)) for g in gallery
        ]
        order = sorted(range(len(gallery)), key=lambda g: (distances[g], g))
        hits = []
        for g in order:
            if gallery_ids[g] == query_ids[q] and gallery_cameras[g] == query_cameras[q]:
                continue
            hits.append(gallery_ids[g] == query_ids[q])
        if not any(hits):
            precisions.append(None)
            firsts.append(-1)
            continue
        found, total = 0, 0.0
        for position, hit in enumerate(hits, start=1):
            if hit:
                found += 1
                total += found / position
        precisions.append(total / found)
        firsts.append(hits.index(True))
    return precisions, firsts


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 30), st.integers(1, 5), st.integers(1, 4))
def test_equals_the_definition_with_many_ties(
    seed: int, queries: int, gallery: int, ids: int, cameras: int
) -> None:
    rng = np.random.default_rng(seed)
    # Small whole numbers: their distances are exact and often equal.
    data = [rng.integers(0, 3, (n, 2)) for n in (queries, gallery)]
    labels = [rng.integers(0, high, n) for high in (ids, cameras) for n in (queries, gallery)]
    result = evaluate_ranking(*data, *labels)
    precisions, firsts = by_definition(*data, *labels)
    assert result.first_match.tolist() == firsts
    assert [None if np.isnan(ap) else ap for ap in result.average_precision] == pytest.approx(
        precisions, abs=1e-12
    )
    assert result.num_without_match == firsts.count(-1)


def test_equals_the_definition_on_real_valued_embeddings_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.metrics.DISTANCE_CHUNK_BYTES", 8 * 50 * 7)
    rng = np.random.default_rng(1)
    data = [rng.normal(size=(n, 16)).astype(np.float32) for n in (20, 50)]
    labels = [rng.integers(0, high, n) for high in (6, 3) for n in (20, 50)]
    result = evaluate_ranking(*data, *labels)
    precisions, _ = by_definition(*data, *labels)
    assert result.mean_average_precision == pytest.approx(
        np.mean([p for p in precisions if p is not None]), abs=1e-12
    )


def test_a_worked_example() -> None:
    """Order: junk, match, other, match. AP = (1/1 + 2/3) / 2."""
    result = evaluate_ranking(
        np.array([[0.0]]),
        np.array([[0.0], [1.0], [2.0], [3.0]]),
        np.array([7]),
        np.array([7, 7, 8, 7]),
        np.array([1]),
        np.array([1, 2, 1, 3]),
    )
    assert result.mean_average_precision == pytest.approx(5 / 6)
    assert result.rank(1) == 1.0


def test_ranks_beyond_the_gallery() -> None:
    result = rank_metrics([np.array([2])])
    assert [result.rank(k) for k in (1, 2, 3, 50)] == [0.0, 0.0, 1.0, 1.0]


def test_no_query_has_a_match() -> None:
    result = rank_metrics([np.array([], int), np.array([], int)])
    assert (result.num_queries, result.num_without_match) == (2, 2)
    assert np.isnan(result.mean_average_precision)
    assert np.isnan(result.rank(1))


def test_an_order_from_elsewhere_is_judged_alike() -> None:
    rng = np.random.default_rng(2)
    query, gallery = rng.normal(size=(1, 4)), rng.normal(size=(30, 4))
    ids, cameras = rng.integers(0, 3, 30), rng.integers(0, 3, 30)
    order = np.argsort(((gallery - query) ** 2).sum(1), kind="stable")
    same, own = ids == 1, cameras == 1
    expected = evaluate_ranking(query, gallery, np.array([1]), ids, np.array([1]), cameras)
    found = rank_metrics([match_ranks_of_order(order, same & ~own, same & own)])
    assert found.average_precision.tolist() == expected.average_precision.tolist()


def test_cosine_ignores_length() -> None:
    rng = np.random.default_rng(3)
    query, gallery = rng.normal(size=(4, 8)), rng.normal(size=(40, 8))
    labels = [rng.integers(0, high, n) for high in (5, 3) for n in (4, 40)]
    scaled = evaluate_ranking(query * 7, gallery * rng.uniform(0.1, 9, (40, 1)), *labels, metric="cosine")
    assert (
        scaled.first_match.tolist()
        == evaluate_ranking(query, gallery, *labels, metric="cosine").first_match.tolist()
    )


def test_refuses_what_cannot_be_compared() -> None:
    one, two = np.zeros((1, 2)), np.zeros((1, 3))
    label = np.zeros(1, int)
    with pytest.raises(ValueError, match="cannot be compared"):
        evaluate_ranking(one, two, label, label, label, label)
    with pytest.raises(ValueError, match="not finite"):
        evaluate_ranking(one * np.nan, one, label, label, label, label)
    with pytest.raises(ValueError, match="metric"):
        evaluate_ranking(one, one, label, label, label, label, metric="l1")
    with pytest.raises(ValueError, match="2 ids"):
        evaluate_ranking(one, one, np.zeros(2, int), label, label, label)
