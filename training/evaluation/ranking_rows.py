"""Other ways to search with the same embeddings, in rows beside the plain figures."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.evaluation.camera_centring import centre_cameras
from training.evaluation.image_to_track import evaluate_tracks
from training.evaluation.metrics import Labels, RankMetrics, evaluate_ranking, judge_rows
from training.evaluation.protocol import Embedded, ranking_figures
from training.evaluation.query_expansion import Expansion, expand_queries
from training.evaluation.reranking import Reranking, reranked_rows
from training.options import RANKS
from zoo.camera_traffic import traffic_warning


@dataclass(frozen=True)
class RowOptions:
    """Which rows are wanted; None for one that is not."""

    camera_centring: bool = False
    expansion: Expansion | None = None
    reranking: Reranking | None = None
    tracks: bool = False

    @property
    def wanted(self) -> bool:
        """Whether there is any row but the plain one."""
        return self.camera_centring or self.tracks or self.expansion is not None or self.reranking is not None


@dataclass(frozen=True)
class RankingRow:
    """One way to search, what it found, and the seconds of searching and judging."""

    name: str
    ranking: RankMetrics
    seconds: float

    def figures(self, ranks: Sequence[int] = RANKS) -> dict[str, Any]:
        """The figures by name, as fractions."""
        return {**ranking_figures(self.ranking, ranks), "seconds": self.seconds}


def rank_in_rows(found: Embedded, options: RowOptions) -> list[RankingRow]:
    """Search the plain way, and then each way that is wanted.

    Raises:
        ValueError: the embeddings cannot be compared.
    """
    query, gallery = found.query.embedding, found.gallery.embedding
    labels = Labels.of(found.query_records, found.gallery_records)

    def plain(asked: np.ndarray, searched: np.ndarray = gallery) -> RankMetrics:
        return evaluate_ranking(
            asked,
            searched,
            labels.query_ids,
            labels.gallery_ids,
            labels.query_cameras,
            labels.gallery_cameras,
            found.metric,
        )

    ways: dict[str, Callable[[], RankMetrics]] = {"plain": lambda: plain(query)}
    if options.camera_centring:
        ways["camera centring"] = lambda: plain(
            *centre_cameras(query, gallery, labels.query_cameras, labels.gallery_cameras, found.metric)
        )
    if options.expansion is not None:
        ways["query expansion"] = lambda: plain(
            expand_queries(query, gallery, found.metric, options.expansion)
        )
    if options.reranking is not None:
        ways["re-ranking"] = lambda: judge_rows(
            reranked_rows(query, gallery, found.metric, options.reranking), labels
        )
    if options.tracks:
        ways["image to track"] = lambda: evaluate_tracks(
            query, gallery, found.query_records, found.gallery_records, found.metric
        )
    rows = []
    for name, way in ways.items():
        start = time.perf_counter()
        ranking = way()
        rows.append(RankingRow(name, ranking, time.perf_counter() - start))
    return rows


def camera_warning(found: Embedded) -> str:
    """What to say where the gallery's cameras see different traffic; empty where they do not."""
    labels = Labels.of(found.query_records, found.gallery_records)
    told = {"type": found.gallery.type, "colour": found.gallery.color}
    return traffic_warning(labels.gallery_cameras, told)


def rows_table(rows: Sequence[RankingRow], ranks: Sequence[int] = RANKS) -> str:
    """The rows for a person to read, in percent; HIT@k of tracks stands under Rank-k."""
    width = max(len(row.name) for row in rows)
    names = ["mAP", "mINP"] + [f"Rank-{k}" for k in ranks] + ["seconds"]
    head = "".join(f"{name:>9}" for name in names)
    lines = [" " * width + head]
    for row in rows:
        *shares, seconds = row.figures(ranks).values()
        cells = ["-" if value is None else f"{100 * value:.2f}" for value in shares]
        lines.append(f"{row.name:<{width}}" + "".join(f"{cell:>9}" for cell in (*cells, f"{seconds:.1f}")))
    return "\n".join(lines)
