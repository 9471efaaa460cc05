"""From a query image to ranked results: what the command, the REST interface and the page all call."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, Literal

import numpy as np

from retrieval.gallery.base import Gallery
from retrieval.gallery.distances import distances
from retrieval.gallery.entries import LOOKS, Result
from retrieval.gallery.filters import Filters
from retrieval.query.feedback import Feedback, fuse, refine
from retrieval.query.looks import HEAD as LOOKED_AT
from retrieval.query.looks import Looks, by_looks, stated
from retrieval.query.reranking import HEAD, reranked_distances
from retrieval.query.sameness import can_tell, verdict, with_probabilities, worth_of_looks
from retrieval.query.words import Understood, read_words
from serving.encoders.encoder import Encoder
from serving.encoders.image import InputImage
from serving.encoders.trace import current_trace, stage
from zoo.errors import UserError
from zoo.preprocess import ImageError
from zoo.sameness import FALSE_MATCH_RATE, LEAST_MATCH

Group = Literal["vehicle", "track"]

QueryImage = str | Path | bytes | InputImage
"""An image to search with: a file's path, the bytes of one, or an image that may be decoded already."""

_SHOWN = (
    "key",
    "score",
    "probability",
    "distance",
    "camera",
    "camera_name",
    "time",
    "vehicle_id",
    "track_id",
    *LOOKS,
)
"""What a search's JSON tells of each result."""


@dataclass(frozen=True, eq=False)
class Query:
    """What the model says of a query image.

    Attributes:
        embedding: float32 [D].
        colors: colour name -> probability, likeliest first; empty where the model does not tell.
        types: type name -> probability, likewise.
        color_probs, type_probs: float32 [C] and [T], the same in the model's order.
        camera: whose image it is, where that is known; only camera centring asks.
        span: of its encoding, as headers tell it, where spans are made; see `serving.encoders.trace`.
    """

    embedding: np.ndarray
    colors: dict[str, float]
    types: dict[str, float]
    color_probs: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    type_probs: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    camera: int | None = None
    span: Mapping[str, str] | None = None

    @property
    def color(self) -> str | None:
        """The likeliest colour."""
        return next(iter(self.colors), None)

    @property
    def type(self) -> str | None:
        """The likeliest type."""
        return next(iter(self.types), None)


Asked = Query | QueryImage
"""An image to search with, encoded or not."""


class Searcher:
    """An encoder and a gallery of its model, together.

    Attributes:
        false_match_rate: promised of verdicts: the share of vehicles that the gallery does not have for which
            there may be a match.
    """

    def __init__(
        self, gallery: Gallery, encoder: Encoder, false_match_rate: float = FALSE_MATCH_RATE
    ) -> None:
        self.gallery = gallery
        self.encoder = encoder
        self.false_match_rate = false_match_rate

    def encode(self, image: QueryImage) -> Query:
        """Encode one query image.

        Raises:
            ImageError: the image cannot be used.
            UserError: the encoder fails.
        """
        opened = InputImage.open(image) if isinstance(image, str | Path) else image
        query = self.encode_all([opened])[0]
        if isinstance(query, str):
            raise ImageError(query)
        return query

    def encode_all(self, images: Sequence[bytes | InputImage]) -> list[Query | str]:
        """Encode query images; a string in an image's place says why it cannot be used.

        Raises:
            UserError: the encoder fails.
            DecoderBusyError: see `zoo.decoding_memory`.
        """
        card = self.encoder.card
        usable: dict[int, InputImage] = {}
        found: list[Query | str] = [""] * len(images)
        for place, image in enumerate(images):
            try:
                with stage("decode"):
                    usable[place] = InputImage.of(image).apart(card.input_size, card.antialias)
            except ImageError as error:
                found[place] = str(error)
        if not usable:
            return found
        predictions = self.encoder.encode(list(usable.values()))
        rows = zip(predictions.embedding, predictions.color_probs, predictions.type_probs, strict=True)
        for row, (place, values) in enumerate(zip(usable, rows, strict=True)):
            found[place] = predictions.errors[row] if row in predictions.errors else self._query(*values)
        return found

    def recall(self, key: str) -> Query | None:
        """The query that an image of the gallery makes, None where there is no such key."""
        entry = self.gallery.get(key)
        if entry is None:
            return None
        query = self._query(entry.embedding, entry.color_probs, entry.type_probs)
        return replace(query, camera=entry.camera)

    def _query(self, embedding: np.ndarray, color_probs: np.ndarray, type_probs: np.ndarray) -> Query:
        card = self.gallery.model.card
        colors = _by_probability(color_probs, card.colors)
        return Query(embedding, colors, _by_probability(type_probs, card.types), color_probs, type_probs)

    def search(
        self,
        query: Asked | Sequence[Asked],
        k: int = 10,
        filters: Filters | None = None,
        *,
        feedback: Feedback | None = None,
        rerank: bool = False,
        group: Group | None = None,
        without: Sequence[str] = (),
        camera: int | None = None,
        looks: Looks | None = None,
    ) -> list[Result]:
        """Search the gallery; the answer is of one state of it.

        Args:
            query: one image or several of the same vehicle, which are fused; encoded already, or not yet.
            k: how many results; 0 for all.
            filters: conditions on the results.
            feedback: what the user says of earlier results; a negative one is not returned.
            rerank: order the first results by mutual neighbourhood; their distances stay what they are.
            group: return the best image of each vehicle or track; k counts those.
            without: keys that are not returned.
            camera: that the images come from, where they do not say so themselves; None for the mean of all
                cameras. Only where the gallery centres its cameras.
            looks: colours and types that order the first results and hide nothing; see
                `retrieval.query.looks`. Those that a filter names are all alike, and do not count.

        Raises:
            UserError: see `Gallery.search`; `UnknownKeyError` for a key of the feedback; `looks` and `rerank`
                together.
            ImageError: an image cannot be used.
        """
        self.gallery.check_query_camera(camera)
        if looks is not None and rerank:
            raise UserError("soft attributes and re-ranking both order the first results; leave one out")
        card, wanted = self.gallery.model.card, filters or Filters()
        if looks is not None:
            looks.check(card)
        asked = [query] if isinstance(query, Asked) else list(query)
        queries = [each if isinstance(each, Query) else self.encode(each) for each in asked]
        said = feedback or Feedback()
        left_out = {*said.negative, *without}
        with stage("search"), self.gallery.read_transaction():
            embedding = self.embedding(queries, said, camera)

            def nearest(count: int) -> list[Result]:
                head = HEAD if rerank else LOOKED_AT if looks is not None else 0
                fetch = count if count <= 0 else max(count, head) + len(left_out)
                found = self.gallery.search(embedding, fetch, filters, is_centred=True)
                found = [result for result in found if result.key not in left_out]
                if rerank:
                    found = self._reranked(embedding, found)
                if looks is not None:
                    found = by_looks(
                        found,
                        {} if wanted.colors else stated(looks.colors, queries[0].colors),
                        {} if wanted.types else stated(looks.types, queries[0].types),
                        (len(card.colors), len(card.types)),
                        worth_of_looks(self.gallery),
                    )
                return found[: count or None]

            found = nearest(k) if group is None else search_groups(nearest, k, group)
            found = with_probabilities(self.gallery, embedding, found, filters)
        return [replace(result, rank=rank) for rank, result in enumerate(found, 1)]

    def embedding(self, queries: Sequence[Query], said: Feedback, camera: int | None = None) -> np.ndarray:
        """What is compared with the gallery's images, float32 [D]: queries fused, and moved by the marks.

        Raises:
            UnknownKeyError: a mark of an image that the gallery does not have.
        """
        cameras = [camera if each.camera is None else each.camera for each in queries]
        with self.gallery.read_transaction():
            return refine(
                fuse(self.gallery.centred(np.stack([each.embedding for each in queries]), cameras)),
                self.gallery.centred_embeddings(said.positive),
                self.gallery.centred_embeddings(said.negative),
                self.gallery.model.card.metric,
            )

    def _reranked(self, embedding: np.ndarray, found: list[Result]) -> list[Result]:
        head, rest = found[:HEAD], found[HEAD:]
        if len(head) < 2:
            return found
        final = reranked_distances(
            embedding, self.gallery.centred_embeddings([result.key for result in head])
        )
        return [head[place] for place in np.argsort(final, kind="stable")] + rest

    def similar(
        self,
        key: str,
        k: int,
        filters: Filters | None = None,
        *,
        rerank: bool = False,
        group: Group | None = None,
    ) -> tuple[Query, list[Result]] | None:
        """Search with an image of the gallery, which is not returned; None where there is no such key."""
        with self.gallery.read_transaction():
            query = self.recall(key)
            if query is None:
                return None
            return query, self.search(query, k, filters, rerank=rerank, group=group, without=(key,))

    def hidden_look_alikes(self, query: Query, filters: Filters, k: int = 100) -> int | None:
        """How many likely images a filter on colour or type hides: what is predicted may be wrong.

        Args:
            query: what is searched with.
            filters: that are searched with.
            k: of the nearest images that meet the other conditions, so many are looked at.

        Returns:
            those that are likelier than not; None where nothing is hidden so, or no probability is known.
        """
        others = replace(filters, colors=(), types=(), color_confidence=0.0, type_confidence=0.0)
        if others == filters or not can_tell(self.gallery):
            return None
        with self.gallery.read_transaction():
            found = self.gallery.search(query.embedding, k, others)
            found = with_probabilities(self.gallery, query.embedding, found, others)
            shown = set(self.gallery.rank(query.embedding, k, filters))
        return sum((each.probability or 0) >= LEAST_MATCH and each.key not in shown for each in found)

    def understand(self, text: str, zone: tzinfo = UTC) -> Understood:
        """Read filters out of plain words, with the names and times of the gallery."""
        with self.gallery.read_transaction():
            known, cameras = self.gallery.time_range(), self.gallery.cameras()
        return read_words(text, self.gallery.model.card, cameras, known[1] if known else None, zone)

    def images(self, query: Query, results: Sequence[Result]) -> dict[str, list[dict[str, Any]]]:
        """The images of those results that are passes, each by itself compared with the query.

        Returns:
            by key, the nearest first; `number` names one among the pass's, the best being 0.
        """
        metric = self.gallery.model.card.metric
        found: dict[str, list[dict[str, Any]]] = {}
        with self.gallery.read_transaction():
            made_of = self.gallery.crops([result.key for result in results])
            asked = self.gallery.centred(query.embedding[None], [query.camera])[0]
            for result in results:
                found[result.key] = rows = []
                if not (crops := made_of.get(result.key)):
                    continue
                own = np.stack([crop.embedding for crop in crops])
                apart = distances(asked, self.gallery.centred(own, [result.camera] * len(crops)), metric)
                for number, (crop, distance) in enumerate(zip(crops, apart.tolist(), strict=True)):
                    rows.append({"number": number, **crop.as_json(), "distance": distance})
                rows.sort(key=lambda row: row["distance"])
        return found

    def answer(
        self,
        query: Query,
        results: Sequence[Result],
        filters: Filters | None = None,
        false_match_rate: float | None = None,
        with_images: bool = False,
    ) -> dict[str, Any]:
        """The JSON form of a search, the same from the command and over REST.

        Args:
            query: what was searched with.
            results: what was found.
            filters: that were searched with.
            false_match_rate: promised of the verdict; None for the searcher's own.
            with_images: whether each pass tells its images too.
        """
        promised = self.false_match_rate if false_match_rate is None else false_match_rate
        with self.gallery.read_transaction():
            searched, images = self.gallery.count(filters), len(self.gallery)
            hidden = None if filters is None else self.hidden_look_alikes(query, filters)
            images_of = self.images(query, results) if with_images else {}
        said = verdict(self.gallery, results, promised)
        if (trace := current_trace()) is not None and said is not None:
            trace.verdicts.append(said)
        return {
            "verdict": said,
            "false_match_rate": promised,
            "searched": searched,
            "images": images,
            "hidden_look_alikes": hidden,
            "query": {
                "color": query.color,
                "type": query.type,
                "color_probs": query.colors,
                "type_probs": query.types,
            },
            "results": [
                result.as_json(_SHOWN) | ({"images": images_of[result.key]} if with_images else {})
                for result in results
            ],
        }


def best_of_each(results: Sequence[Result], group: Group) -> list[Result]:
    """The nearest of each vehicle or track, in order; an image of no known one stands for itself.

    A track is one camera's: many trackers count from 1 at each.
    """
    seen: set[tuple[int | None, int]] = set()
    kept = []
    for result in results:
        number = result.vehicle_id if group == "vehicle" else result.track_id
        if number is None:
            kept.append(result)
            continue
        name = (None if group == "vehicle" else result.camera, number)
        if name not in seen:
            kept.append(result)
            seen.add(name)
    return kept


def search_groups(search: Callable[[int], list[Result]], k: int, group: Group) -> list[Result]:
    """Search deeper and deeper until there are k groups, or no more images.

    Args:
        search: gives that many results, all of them for 0.
        k: groups wanted; 0 for all.
    """
    if k <= 0:
        return best_of_each(search(k), group)
    fetch = 4 * k
    while True:
        found = search(fetch)
        kept = best_of_each(found, group)
        if len(kept) >= k or len(found) < fetch:
            return kept[:k]
        fetch *= 4


def _by_probability(probabilities: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    order = np.argsort(-probabilities, kind="stable")
    return {names[index]: float(probabilities[index]) for index in order}
