"""What the report tells beyond the figures, against loops over all pairs."""

from pathlib import Path

import numpy as np
import pytest

from training.datasets.records import NO_CLASSES, Record
from training.evaluation.extract import Extracted
from training.evaluation.protocol import Embedded, evaluate_embedded
from training.report.analysis import analyse, groups_by_class, groups_by_look_alike
from training.report.examples import choose, look_up


def make(metric: str = "euclidean") -> Embedded:
    rng = np.random.default_rng(0)

    def records(count: int) -> list[Record]:
        ids, cameras = rng.integers(0, 8, count), rng.integers(0, 4, count)
        return [
            Record(Path(f"{i}.jpg"), int(v), int(c))
            for i, (v, c) in enumerate(zip(ids, cameras, strict=True))
        ]

    query, gallery = records(30), records(90)
    return Embedded(
        Extracted(rng.normal(size=(30, 6)).astype(np.float32)),
        Extracted(rng.normal(size=(90, 6)).astype(np.float32)),
        query,
        gallery,
        metric,
        NO_CLASSES,
    )


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_pairs_nearest_and_cameras(metric: str) -> None:
    found = make(metric)
    analysis = analyse(found)
    q, g = found.query.embedding.astype(float), found.gallery.embedding.astype(float)
    if metric == "cosine":
        q, g = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (q, g))
    distances = np.linalg.norm(q[:, None] - g[None], axis=2)
    same = np.array(
        [[a.vehicle_id == b.vehicle_id for b in found.gallery_records] for a in found.query_records]
    )
    own = np.array([[a.camera_id == b.camera_id for b in found.gallery_records] for a in found.query_records])
    edges = analysis.distances.edges
    for counted, pairs in ((analysis.distances.same, same & ~own), (analysis.distances.different, ~same)):
        assert counted.sum() == pairs.sum()
        np.testing.assert_array_equal(counted, np.histogram(distances[pairs], edges)[0])
    np.testing.assert_allclose(analysis.nearest_other, np.where(same, np.inf, distances).min(1), rtol=1e-9)
    cameras = np.array([record.camera_id for record in found.gallery_records])
    for i, here in enumerate(analysis.camera_pairs.cameras):
        for j, there in enumerate(analysis.camera_pairs.cameras):
            precisions = []
            for k, record in enumerate(found.query_records):
                right = same[k][cameras == there][np.argsort(distances[k][cameras == there])]
                if record.camera_id == here and here != there and right.any():
                    ranks = np.flatnonzero(right) + 1
                    precisions.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
            assert analysis.camera_pairs.count[i, j] == len(precisions)
            if precisions:
                assert analysis.camera_pairs.precision[i, j] == pytest.approx(np.mean(precisions))


def test_the_equal_error_lies_between_two_heaps() -> None:
    counted = analyse(make()).distances
    same, different = np.zeros_like(counted.same), np.zeros_like(counted.same)
    same[100], different[3000] = 10, 90
    threshold, error = type(counted)(counted.edges, same, different).equal_error()
    assert counted.edges[100] < threshold < counted.edges[3001]
    assert error == 0
    coarse = type(counted)(counted.edges, same, different).coarse(20)
    assert (coarse.same.sum(), coarse.different.sum(), len(coarse.edges)) == (10, 90, len(coarse.same) + 1)


def test_groups_hold_each_judged_query_once() -> None:
    precision = np.array([0.5, np.nan, 1.0, 0.0])
    (one, two) = groups_by_class(precision, ["a", "a", "b", "b"])
    assert (one.name, one.precision, one.count) == ("a", 0.5, 1)
    assert (two.name, two.precision, two.count) == ("b", 0.5, 2)
    groups = groups_by_look_alike(precision, np.array([3.0, 1.0, 2.0, np.nan]), 5)
    assert [(group.precision, group.count) for group in groups] == [(1.0, 1), (0.5, 1)]


def test_examples_are_ranked_without_junk() -> None:
    found = make()
    evaluation = evaluate_embedded(found)
    vehicles = np.array([record.vehicle_id for record in found.query_records])
    chosen = choose(evaluation, vehicles, 2)
    picked = [query for queries in chosen.values() for query in queries]
    assert len(picked) == len(set(picked)) == 6
    precision = evaluation.ranking.average_precision
    assert precision[chosen["worst"][0]] == np.nanmin(precision)
    assert precision[chosen["best"]].min() >= precision[chosen["median"]].max()
    for example in look_up(found, evaluation, picked, 3):
        record = found.query_records[example.query]
        assert example.first_right == evaluation.ranking.first_match[example.query] + 1
        assert any(result.right for result in example.results)
        for result in example.results:
            other = found.gallery_records[result.index]
            assert result.right == (other.vehicle_id == record.vehicle_id)
            assert not (result.right and other.camera_id == record.camera_id)
            direct = found.query.embedding[example.query] - found.gallery.embedding[result.index]
            assert result.distance == pytest.approx(np.linalg.norm(direct.astype(float)))
