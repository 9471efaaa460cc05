"""Re-ranking and query expansion against their definitions, written out with dense matrices and sets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.close_embeddings import SETS, close_together, two_crowds
from training.evaluation.metrics import Labels, evaluate_ranking, judge_rows
from training.evaluation.neighbors import nearest_among
from training.evaluation.query_expansion import Expansion, expand_queries
from training.evaluation.reranking import Reranking, jaccard_rows, reranked_rows


def dense(query: np.ndarray, gallery: np.ndarray, options: Reranking) -> np.ndarray:
    """Final distances [Q, G] by the letter of the paper, with matrices of all pairs."""
    points = np.concatenate([query, gallery]).astype(np.float64)
    count = len(points)
    plain = np.square(points[:, None] - points[None]).sum(2)
    greatest = plain.max(axis=1, keepdims=True)
    plain /= np.where(greatest > 0, greatest, 1.0)
    near = []
    for i in range(count):
        others = [j for j in np.argsort(plain[i], kind="stable").tolist() if j != i]
        near.append([i, *others])
    k1 = min(options.k1, count - 1)

    def mutual(i: int, k: int) -> set[int]:
        return {j for j in near[i][: k + 1] if i in near[j][: k + 1]}

    rows = np.zeros((count, count))
    for i in range(count):
        core = mutual(i, k1)
        extended = set(core)
        for j in core:
            more = mutual(j, k1 // 2)
            if len(more & core) >= 2 / 3 * len(more):
                extended |= more
        for j in extended:
            rows[i, j] = np.exp(-plain[i, j])
    rows /= rows.sum(1, keepdims=True)
    k2 = min(options.k2, k1 + 1)
    rows = np.stack([np.mean([rows[j] for j in near[i][:k2]], axis=0) for i in range(count)])
    asked, known = rows[: len(query)], rows[len(query) :]
    least = np.minimum(asked[:, None], known[None]).sum(2)
    most = np.maximum(asked[:, None], known[None]).sum(2)
    share = options.plain_share
    return (1 - share) * (1 - least / most) + share * plain[: len(query), len(query) :]


def rows_of(
    query: np.ndarray, gallery: np.ndarray, options: Reranking | None = None, metric: str = "euclidean"
):
    return np.stack([row.copy() for row in reranked_rows(query, gallery, metric, options)])


def clustered(seed: int, queries: int, gallery: int, dimension: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(6, dimension))
    points = centres[rng.integers(0, 6, queries + gallery)] + rng.normal(
        0, 0.4, (queries + gallery, dimension)
    )
    return points[:queries], points[queries:]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 15),
    st.integers(1, 50),
    st.integers(1, 12),
    st.integers(1, 7),
    st.sampled_from([0.0, 0.3, 1.0]),
)
def test_equals_the_dense_definition(
    seed: int, queries: int, gallery: int, k1: int, k2: int, share: float
) -> None:
    query, known = clustered(seed, queries, gallery)
    options = Reranking(k1, k2, share)
    assert rows_of(query, known, options) == pytest.approx(dense(query, known, options), abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 40), st.integers(1, 8))
def test_equals_the_dense_definition_with_ties(seed: int, queries: int, gallery: int, k1: int) -> None:
    """Small whole numbers: distances are exact, often equal, and many pictures are the same."""
    rng = np.random.default_rng(seed)
    query, known = (rng.integers(0, 3, (n, 3)).astype(np.float64) for n in (queries, gallery))
    options = Reranking(k1, 3, 0.3)
    assert rows_of(query, known, options) == pytest.approx(dense(query, known, options), abs=1e-9)


def test_float32_embeddings_are_as_good() -> None:
    query, known = (part.astype(np.float32) for part in clustered(3, 20, 200, 64))
    assert rows_of(query, known) == pytest.approx(dense(query, known, Reranking()), abs=1e-6)


def test_blocks_do_not_change_the_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    query, known = clustered(4, 10, 60)
    whole = rows_of(query, known)
    monkeypatch.setattr("training.evaluation.neighbors.BLOCK", 17)
    monkeypatch.setattr("training.evaluation.reranking.DESCRIBED_AT_ONCE", 13)
    monkeypatch.setattr("training.evaluation.distances.ROW_BYTES", 8 * 60 * 3)
    assert rows_of(query, known) == pytest.approx(whole, abs=1e-12)


def test_cosine_is_euclidean_at_unit_length() -> None:
    query, known = clustered(5, 6, 50)
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (query, known)]
    expected = rows_of(*unit)
    assert rows_of(3 * query, known * 0.1, metric="cosine") == pytest.approx(expected, abs=1e-9)


def test_pictures_that_are_all_the_same() -> None:
    found = rows_of(np.ones((2, 4)), np.ones((30, 4)))
    assert np.isfinite(found).all()


def test_plain_share_one_keeps_the_plain_order() -> None:
    query, known = clustered(6, 12, 80)
    rng = np.random.default_rng(0)
    labels = [rng.integers(0, high, n) for high in (6, 3) for n in (12, 80)]
    plain = evaluate_ranking(query, known, *labels)
    found = judge_rows(reranked_rows(query, known, options=Reranking(plain_share=1.0)), Labels(*labels))
    assert found.average_precision == pytest.approx(plain.average_precision, abs=1e-9, nan_ok=True)


def test_reranking_finds_more_of_a_manifold() -> None:
    """Two vehicles on two bent lines: the far end of the own line is nearer to the other line's middle."""
    along = np.linspace(0, np.pi, 60)
    one = np.stack([np.cos(along), np.sin(along)], axis=1)
    other = np.stack([1 - np.cos(along), 0.45 - np.sin(along)], axis=1)
    known = np.concatenate([one[1:], other])
    labels = (np.zeros(1, int), np.repeat([0, 1], [59, 60]), np.zeros(1, int), np.ones(119, int))
    plain = evaluate_ranking(one[:1], known, *labels)
    found = judge_rows(reranked_rows(one[:1], known), Labels(*labels))
    assert found.mean_average_precision > plain.mean_average_precision + 0.01


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(1, 45))
def test_neighbours_are_the_nearest_by_distance_and_index(seed: int, count: int, k: int) -> None:
    points = np.random.default_rng(seed).integers(0, 4, (count, 3)).astype(np.float32)
    plain = np.square(points[:, None] - points[None]).sum(2)
    found = nearest_among(points, k)
    assert found.farthest.tolist() == plain.max(1).tolist()
    np.fill_diagonal(plain, -1)
    expected = np.argsort(plain, axis=1, kind="stable")[:, : min(k, count - 1) + 1]
    assert found.index.tolist() == expected.tolist()


def expanded_by_definition(query: np.ndarray, gallery: np.ndarray, options: Expansion) -> np.ndarray:
    expanded = []
    for q in query:
        order = np.argsort(np.square(gallery - q).sum(1), kind="stable")[: options.results]
        total, weight = q.copy(), 1.0
        for g in gallery[order]:
            cosine = max(0.0, g @ q / (np.linalg.norm(g) * np.linalg.norm(q)))
            total += cosine**options.alpha * g
            weight += cosine**options.alpha
        expanded.append(total / weight)
    return np.array(expanded)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 40), st.integers(1, 8), st.sampled_from([0, 3])
)
def test_expansion_equals_its_definition(
    seed: int, queries: int, gallery: int, results: int, alpha: int
) -> None:
    query, known = clustered(seed, queries, gallery)
    options = Expansion(results, alpha)
    found = expand_queries(query, known, options=options)
    assert found == pytest.approx(expanded_by_definition(query, known, options), abs=1e-9)
    units = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (query, known)]
    by_cosine = expand_queries(query, known, "cosine", options)
    assert by_cosine == pytest.approx(expanded_by_definition(*units, options), abs=1e-9)


def test_expansion_of_zeros_is_zero() -> None:
    assert expand_queries(np.zeros((1, 3)), np.zeros((4, 3))).tolist() == [[0.0, 0.0, 0.0]]


def test_impossible_options_are_refused() -> None:
    for wrong in ({"k1": 0}, {"k2": 0}, {"plain_share": 1.1}):
        with pytest.raises(ValueError, match="k1 and k2"):
            Reranking(**wrong)
    for wrong in ({"results": 0}, {"alpha": -1.0}):
        with pytest.raises(ValueError, match="alpha"):
            Expansion(**wrong)
    with pytest.raises(ValueError, match="cannot be compared"):
        reranked_rows(np.zeros((1, 2)), np.zeros((1, 3)))


@pytest.mark.parametrize(("count", "dtype"), SETS)
def test_reranking_of_embeddings_close_together(count: int, dtype: type) -> None:
    values = close_together(count, dtype, 64)
    query, known = values[: count // 8], values[count // 8 :]
    if count <= 100:
        assert rows_of(query, known) == pytest.approx(dense(query, known, Reranking()), abs=1e-5)
    precise = rows_of(query.astype(np.float64), known)
    assert rows_of(query, known) == pytest.approx(precise, abs=1e-5)


def test_reranking_of_two_crowds() -> None:
    values = two_crowds(90, 64)
    assert rows_of(values[:10], values[10:]) == pytest.approx(
        dense(values[:10], values[10:], Reranking()), abs=1e-5
    )


def test_jaccard_distances_are_those_that_rerank() -> None:
    query, gallery = clustered(3, 20, 40)
    points = np.concatenate([query, gallery])
    found = np.stack([row.copy() for row in jaccard_rows(points, Reranking(8, 3))])
    assert np.allclose(found[:20, 20:], dense(query, gallery, Reranking(8, 3, 0.0)))
    assert np.allclose(found, found.T)
    assert np.allclose(np.diag(found), 0.0)
