"""From a query image to ranked results: what the command, the REST interface and the page all call."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from retrieval.gallery.base import Gallery
from retrieval.gallery.entries import Hit
from retrieval.gallery.filters import Filters
from retrieval.query.feedback import Feedback, fuse, refine
from retrieval.query.grouping import Group, search_groups
from retrieval.query.reranking import HEAD, reranked_distances
from serving.encoders.encoder import Encoder
from serving.encoders.image import InputImage
from zoo.preprocess import ImageError


@dataclass(frozen=True, eq=False)
class Query:
    """What the model says of a query image.

    Attributes:
        embedding: float32 [D].
        colors: colour name -> probability, likeliest first; empty where the model does not tell.
        types: type name -> probability, likewise.
        color_probs, type_probs: float32 [C] and [T], the same in the model's order.
    """

    embedding: np.ndarray
    colors: dict[str, float]
    types: dict[str, float]
    color_probs: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    type_probs: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))

    @property
    def color(self) -> str | None:
        """The likeliest colour."""
        return next(iter(self.colors), None)

    @property
    def type(self) -> str | None:
        """The likeliest type."""
        return next(iter(self.types), None)


class Searcher:
    """An encoder and a gallery of its model, together."""

    def __init__(self, gallery: Gallery, encoder: Encoder) -> None:
        self.gallery = gallery
        self.encoder = encoder

    def encode(self, image: bytes | InputImage) -> Query:
        """Encode one query image.

        Raises:
            ImageError: the image cannot be used.
            UserError: the encoder fails.
        """
        query = self.encode_all([image])[0]
        if isinstance(query, str):
            raise ImageError(query)
        return query

    def encode_all(self, images: Sequence[bytes | InputImage]) -> list[Query | str]:
        """Encode query images; a string in an image's place says why it cannot be used."""
        predictions = self.encoder.encode(images)
        return [
            predictions.errors[row]
            if row in predictions.errors
            else self._query(
                predictions.embedding[row], predictions.color_probs[row], predictions.type_probs[row]
            )
            for row in range(len(images))
        ]

    def recall(self, key: str) -> Query | None:
        """The query that an image of the gallery makes, None where there is no such key."""
        entry = self.gallery.get(key)
        return None if entry is None else self._query(entry.embedding, entry.color_probs, entry.type_probs)

    def _query(self, embedding: np.ndarray, color_probs: np.ndarray, type_probs: np.ndarray) -> Query:
        card = self.gallery.model.card
        colors = _by_probability(color_probs, card.colors)
        return Query(embedding, colors, _by_probability(type_probs, card.types), color_probs, type_probs)

    def search(
        self,
        query: Query | Sequence[Query],
        k: int,
        filters: Filters | None = None,
        *,
        feedback: Feedback | None = None,
        rerank: bool = False,
        group: Group | None = None,
        without: Sequence[str] = (),
    ) -> list[Hit]:
        """Search the gallery.

        Args:
            query: one image, or several of the same vehicle, which are fused.
            k: how many results; 0 for all.
            filters: conditions on the results.
            feedback: what the user says of earlier results; a negative one is not returned.
            rerank: order the first results by mutual neighbourhood; their distances stay what they are.
            group: return the best image of each vehicle or track; k counts those.
            without: keys that are not returned.

        Raises:
            UserError: see `Gallery.search`; a key of the feedback that the gallery does not have.
        """
        queries = [query] if isinstance(query, Query) else list(query)
        said = feedback or Feedback()
        embedding = refine(
            fuse(np.stack([each.embedding for each in queries])),
            self.gallery.embeddings(said.positive),
            self.gallery.embeddings(said.negative),
            self.gallery.model.card.metric,
        )
        left_out = {*said.negative, *without}

        def nearest(count: int) -> list[Hit]:
            fetch = count if count <= 0 else max(count, HEAD if rerank else 0) + len(left_out)
            hits = self.gallery.search(embedding, fetch, filters)
            hits = [hit for hit in hits if hit.key not in left_out]
            if rerank:
                hits = self._reranked(embedding, hits)
            return hits[: count or None]

        return nearest(k) if group is None else search_groups(nearest, k, group)

    def _reranked(self, embedding: np.ndarray, hits: list[Hit]) -> list[Hit]:
        head, rest = hits[:HEAD], hits[HEAD:]
        if len(head) < 2:
            return hits
        final = reranked_distances(embedding, self.gallery.embeddings([hit.key for hit in head]))
        return [head[place] for place in np.argsort(final, kind="stable")] + rest

    def answer(self, query: Query, hits: Sequence[Hit]) -> dict[str, Any]:
        """The JSON form of a search, the same from the command and over REST."""
        # A hit's camera may have gone since, with the last image of it.
        names = {camera.id: camera.name for camera in self.gallery.cameras()}
        return {
            "query": {
                "color": query.color,
                "type": query.type,
                "color_probs": query.colors,
                "type_probs": query.types,
            },
            "results": [
                {
                    "key": hit.key,
                    "score": hit.score,
                    "distance": hit.distance,
                    "camera": hit.camera,
                    "camera_name": None if hit.camera is None else names.get(hit.camera),
                    "time": hit.time,
                    "color": hit.color,
                    "type": hit.type,
                    "vehicle_id": hit.vehicle_id,
                    "track_id": hit.track_id,
                    "color_confidence": hit.color_confidence,
                    "type_confidence": hit.type_confidence,
                }
                for hit in hits
            ],
        }


def _by_probability(probabilities: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    order = np.argsort(-probabilities, kind="stable")
    return {names[index]: float(probabilities[index]) for index in order}
