"""From a query image to ranked results: what the command, the REST interface and the page all call."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from retrieval.entries import Hit
from retrieval.feedback import Feedback, fuse, refine
from retrieval.filters import Filters
from retrieval.gallery import Gallery
from retrieval.grouping import Group, search_groups
from retrieval.reranking import HEAD, reranked_distances
from serving.encoder import Encoder
from zoo.preprocess import ImageError, decode_image


@dataclass(frozen=True, eq=False)
class Query:
    """What the model says of a query image.

    Attributes:
        embedding: float32 [D].
        colors: colour name -> probability, likeliest first; empty where the model does not tell.
        types: type name -> probability, likewise.
    """

    embedding: np.ndarray
    colors: dict[str, float]
    types: dict[str, float]

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

    def look(self, data: bytes, name: str = "image") -> Query:
        """Encode one query image.

        Args:
            data: the bytes of an image file.
            name: what error messages call it.

        Raises:
            ImageError: the image cannot be used.
            UserError: the encoder fails.
        """
        # Decoded here first for the sake of the message: an encoder does not know the image's name.
        decode_image(data, name)
        query = self.look_at_all([data])[0]
        if isinstance(query, str):
            raise ImageError(f"{name}: {query}")
        return query

    def look_at_all(self, images: Sequence[bytes]) -> list[Query | str]:
        """Encode query images; a string in an image's place says why it cannot be used."""
        predictions = self.encoder.encode(images)
        card = self.gallery.model.card
        return [
            predictions.errors[row]
            if row in predictions.errors
            else Query(
                predictions.embedding[row],
                _by_probability(predictions.color_probs[row], card.colors),
                _by_probability(predictions.type_probs[row], card.types),
            )
            for row in range(len(images))
        ]

    def search(
        self,
        query: Query | Sequence[Query],
        k: int,
        filters: Filters | None = None,
        *,
        feedback: Feedback | None = None,
        rerank: bool = False,
        group: Group | None = None,
    ) -> list[Hit]:
        """Search the gallery.

        Args:
            query: one image, or several of the same vehicle, which are fused.
            k: how many results; 0 for all.
            filters: conditions on the results.
            feedback: what the user says of earlier results; a negative one is not returned.
            rerank: order the first results by mutual neighbourhood; their distances stay what they are.
            group: return the best image of each vehicle or track; k counts those.

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
        wrong = set(said.negative)

        def nearest(count: int) -> list[Hit]:
            fetch = count if count <= 0 else max(count, HEAD if rerank else 0) + len(wrong)
            hits = self.gallery.search(embedding, fetch, filters)
            hits = [hit for hit in hits if hit.key not in wrong]
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
                    "camera_name": None if hit.camera is None else names[hit.camera],
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
