"""The metrics against their definition, written out in plain Python."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.metrics import evaluate_ranking, match_ranks_of_order, rank_metrics

Case = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Arguments of `evaluate_ranking`: embeddings, ids and cameras, each of the queries and of the gallery."""


def by_definition(query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras):
    """AP, first match and INP of each query, by the letter of the protocol; None for AP and INP without a
    match."""
    precisions, firsts, penalties = [], [], []
    query, gallery = np.asarray(query, np.float64), np.asarray(gallery, np.float64)
    for q in range(len(query)):
        distances = np.square(gallery - query[q]).sum(axis=1)
        order = sorted(range(len(gallery)), key=lambda g: (distances[g], g))
        hits = []
        for g in order:
            if gallery_ids[g] == query_ids[q] and gallery_cameras[g] == query_cameras[q]:
                continue
            hits.append(gallery_ids[g] == query_ids[q])
        if not any(hits):
            precisions.append(None)
            firsts.append(-1)
            penalties.append(None)
            continue
        found, total, last = 0, 0.0, 0
        for position, hit in enumerate(hits, start=1):
            if hit:
                found += 1
                total += found / position
                last = position
        precisions.append(total / found)
        firsts.append(hits.index(True))
        penalties.append(found / last)
    return precisions, firsts, penalties


def assert_equals_the_definition(case: Case) -> None:
    result = evaluate_ranking(*case)
    precisions, firsts, penalties = by_definition(*case)
    assert result.first_match.tolist() == firsts
    assert nones(result.average_precision) == pytest.approx(precisions, abs=1e-9)
    assert nones(result.inverse_negative_penalty) == pytest.approx(penalties, abs=1e-9)
    assert result.num_without_match == firsts.count(-1)
    found = [value for value in precisions if value is not None]
    if found:
        assert result.mean_average_precision == pytest.approx(np.mean(found), abs=1e-9)
        for k in (1, 5, 10, 1000):
            assert result.rank(k) == pytest.approx(np.mean([0 <= f < k for f in firsts if f >= 0]), abs=1e-9)


def nones(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values]


def labels(rng: np.random.Generator, queries: int, gallery: int, ids: int, cameras: int) -> list[np.ndarray]:
    return [rng.integers(0, high, n) for high in (ids, cameras) for n in (queries, gallery)]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 30), st.integers(1, 5), st.integers(1, 4))
def test_equals_the_definition_with_many_ties(
    seed: int, queries: int, gallery: int, ids: int, cameras: int
) -> None:
    rng = np.random.default_rng(seed)
    # Small whole numbers: their distances are exact and often equal.
    data = [rng.integers(0, 3, (n, 2)) for n in (queries, gallery)]
    assert_equals_the_definition((*data, *labels(rng, queries, gallery, ids, cameras)))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 12),
    st.integers(1, 80),
    st.integers(1, 5),
    st.integers(1, 4),
    st.sampled_from([1, 3, 64, 257]),
    st.sampled_from([1e-3, 1.0, 1e4]),
)
def test_equals_the_definition_with_exact_duplicates(
    seed: int, queries: int, gallery: int, ids: int, cameras: int, dimension: int, offset: float
) -> None:
    """Real values, far from the origin too, where block arithmetic alone puts equal pictures in any order."""
    rng = np.random.default_rng(seed)
    distinct = rng.normal(offset, 1.0, (max(1, gallery // 4), dimension)).astype(np.float32)
    known = distinct[rng.integers(0, len(distinct), gallery)]
    asked = np.where(
        rng.random((queries, 1)) < 0.5,
        distinct[rng.integers(0, len(distinct), queries)],
        rng.normal(offset, 1.0, (queries, dimension)),
    ).astype(np.float32)
    assert_equals_the_definition((asked, known, *labels(rng, queries, gallery, ids, cameras)))


@pytest.mark.parametrize("value", [0.0, 0.1, 1e3])
def test_a_collapsed_model_is_ranked_by_index(value: float) -> None:
    rng = np.random.default_rng(0)
    asked, known = np.full((5, 33), value, np.float32), np.full((70, 33), value, np.float32)
    assert_equals_the_definition((asked, known, *labels(rng, 5, 70, 3, 2)))


def test_differences_below_the_rounding_of_products_are_kept() -> None:
    """Two pictures a float32 step apart, a thousand away from the origin: their dot products cancel."""
    known = np.full((2, 4), 1000.0, np.float32)
    known[0, 0] = np.nextafter(np.float32(1000.0), np.float32(2000.0))
    for match in (0, 1):
        ids = np.array([match == 0, match == 1]).astype(int)
        case = (known[1:], known, np.array([1]), ids, np.array([0]), np.array([1, 1]))
        assert_equals_the_definition(case)
        assert evaluate_ranking(*case).first_match.tolist() == [1 - match]


def test_the_camera_rule_may_empty_the_list() -> None:
    case = (
        np.zeros((3, 2)),
        np.ones((2, 2)),
        np.array([1, 2, 3]),
        np.array([1, 2]),
        np.array([1, 1, 1]),
        np.array([1, 1]),
    )
    assert_equals_the_definition(case)
    assert evaluate_ranking(*case).num_without_match == 3


@pytest.mark.parametrize("match", [True, False])
def test_a_gallery_of_one_image(match: bool) -> None:
    rng = np.random.default_rng(0)
    case = (
        rng.normal(size=(1, 8)),
        rng.normal(size=(1, 8)),
        np.array([1]),
        np.array([1 if match else 2]),
        np.array([1]),
        np.array([2]),
    )
    assert_equals_the_definition(case)


def test_blocks_do_not_change_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    known = rng.normal(size=(50, 16)).astype(np.float32)
    known[25:] = known[:25]
    case = (known[::3] + np.float32(0.01), known, *labels(rng, 17, 50, 6, 3))
    whole = evaluate_ranking(*case)
    monkeypatch.setattr("training.evaluation.distances.ROW_BYTES", 8 * 50 * 7)
    monkeypatch.setattr("training.evaluation.distances.BLOCK_BYTES", 8 * 16 * 3)
    assert_equals_the_definition(case)
    blocks = evaluate_ranking(*case)
    for name in ("average_precision", "first_match", "inverse_negative_penalty"):
        assert np.array_equal(getattr(whole, name), getattr(blocks, name), equal_nan=True)


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
    assert result.mean_inverse_negative_penalty == pytest.approx(2 / 3)
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
    known = labels(rng, 4, 40, 5, 3)
    scaled = evaluate_ranking(query * 7, gallery * rng.uniform(0.1, 9, (40, 1)), *known, metric="cosine")
    assert (
        scaled.first_match.tolist()
        == evaluate_ranking(query, gallery, *known, metric="cosine").first_match.tolist()
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
