"""The gallery: images that can be searched by embedding, whatever keeps them."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from retrieval.gallery.crops import PassCrop
from retrieval.gallery.entries import Camera, Entry, GalleryModel, Origin, Result
from retrieval.gallery.filters import Filters
from retrieval.gallery.ranking import unit_length
from zoo.camera_means import NO_CAMERA, CameraMeans
from zoo.camera_traffic import traffic_warning
from zoo.errors import UserError

LINKS_FILE = "journeys.sqlite"
"""In a gallery's folder, the links between passes: what was proposed, and what people say of it."""

CASES_FOLDER = "cases"
"""In a gallery's folder, the saved searches, a file each."""


NEWCOMERS = 20_000
"""Images that `Gallery.newcomers` looks at in one go."""


class Newcomers(NamedTuple):
    """Images that came into a gallery after some moment.

    Attributes:
        until: the moment up to which was looked; images of later ones come with the next question.
        keys: of those that meet the filters.
        embeddings: theirs as searches compare them, float32 [M, D].
    """

    until: int
    keys: list[str]
    embeddings: np.ndarray


class UnknownKeyError(UserError):
    """The gallery has no image of a key."""


class QueryCameraError(UserError):
    """A query's camera is named where the gallery does not centre its cameras."""


class Gallery(ABC):
    """Add, remove and search, safe from any number of threads; opened with `open_gallery`.

    Attributes:
        name: what the user calls it.
        folder: where files about it, such as an ingest's report, go by default.
        owns_folder: whether that is its own, where cases and links between passes are kept.
        model: whose embeddings it holds.
        writable: whether it was opened for adding and removing.
        camera_centring: whether searches take each camera's mean embedding away, from the images and from
            the query. The means are those of the very images that are searched.
    """

    name: str
    folder: Path
    owns_folder: bool
    model: GalleryModel
    writable: bool
    camera_centring: bool

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def read_transaction(self) -> AbstractContextManager[object]:
        """Answer everything that this thread asks inside from one state of the gallery.

        Who needs several reads for one answer wraps them in this. Others may change the gallery meanwhile;
        the thread itself may not. One that is opened inside another is the same.
        """

    @abstractmethod
    def __len__(self) -> int:
        """How many images there are."""

    @abstractmethod
    def close(self) -> None:
        """Let everything go.

        Raises:
            UserError: something that was still to be made cannot be; the images are all there.
        """

    @abstractmethod
    def add(self, entries: Iterable[Entry]) -> int:
        """Add images; when this returns they are kept.

        Idempotent by key: an entry equal to the stored one changes nothing, a different one replaces it.

        Returns:
            how many entries were new or replaced something.

        Raises:
            UserError: an embedding of the wrong length, with a value that is not finite, or of zeros.
        """

    @abstractmethod
    def remove(self, keys: Iterable[str]) -> int:
        """Take images out; return how many of the keys were there."""

    @abstractmethod
    def search(
        self,
        embedding: np.ndarray,
        k: int = 10,
        filters: Filters | None = None,
        *,
        camera: int | None = None,
        is_centred: bool = False,
    ) -> list[Result]:
        """Find the images whose embeddings are nearest, nearest first, equal distances in order of the key.

        Args:
            embedding: float32 [D].
            k: how many results; 0 for all. There are fewer only where fewer meet the filters.
            filters: conditions on the results, applied inside the search.
            camera: that the query comes from; None, or one that the gallery has no image of, for the mean of
                all. Only where the gallery centres.
            is_centred: the embedding comes from `centred`, in the same read transaction.

        Raises:
            UserError: an embedding of the wrong length, k below 0, filters that make no sense, or a camera
                where the gallery does not centre.
        """

    @abstractmethod
    def rank(
        self,
        embedding: np.ndarray,
        k: int = 0,
        filters: Filters | None = None,
        *,
        camera: int | None = None,
    ) -> list[str]:
        """The keys of `search` without the rest, which is quicker for whole rankings."""

    @abstractmethod
    def camera_means(self) -> CameraMeans:
        """What a gallery that centres takes away: the camera means of the images that it holds now."""

    def centred(self, embeddings: np.ndarray, cameras: Sequence[int | None]) -> np.ndarray:
        """Embeddings as searches compare them: without their cameras' means where the gallery centres.

        Args:
            embeddings: float32 [M, D].
            cameras: theirs; None where unknown.

        Returns:
            float32 [M, D]; the embeddings as they are where the gallery does not centre.

        Raises:
            UserError: an embedding of the wrong length.
        """
        if not self.camera_centring or not len(embeddings):
            return embeddings
        vectors = np.stack([self._vector(embedding, "the query") for embedding in embeddings])
        ids = np.array([NO_CAMERA if camera is None else camera for camera in cameras], np.int64)
        return self.camera_means().centred(vectors, ids, self.model.card.metric)

    def centred_embeddings(self, keys: Sequence[str]) -> np.ndarray:
        """The stored embeddings of images as searches compare them, float32 [M, D].

        Raises:
            UnknownKeyError: a key that the gallery does not have.
        """
        with self.read_transaction():
            found = self.embeddings(keys)
            if not self.camera_centring:
                return found
            cameras = {result.key: result.camera for result in self.results(keys)}
            return self.centred(found, [cameras.get(key) for key in keys])

    @abstractmethod
    def predicted_classes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Camera, likeliest colour and likeliest type of every image.

        Returns:
            int64 [N], `NO_CAMERA` where unknown; class indices [N] and [N], negative where unknown.
        """

    def traffic_warning(self) -> str:
        """Why camera centring may hurt here, in one line; empty where it is off or nothing speaks against it.

        See `zoo.camera_traffic`.
        """
        if not self.camera_centring:
            return ""
        cameras, colors, types = self.predicted_classes()
        warning = traffic_warning(cameras, {"type": types, "colour": colors})
        return f"{self.name}: {warning}" if warning else ""

    def check_query_camera(self, camera: int | None) -> None:
        """Raise `QueryCameraError` where a query's camera is named and the gallery has no use for it."""
        if camera is not None and not self.camera_centring:
            raise QueryCameraError(
                f"the query's camera, {camera}: matters to camera centring alone, which is off for "
                f"{self.name}; turn it on with --camera-centring on, or leave the camera out"
            )

    @abstractmethod
    def count(self, filters: Filters | None = None) -> int:
        """How many images meet the filters."""

    @abstractmethod
    def sample(self, count: int, filters: Filters | None = None) -> np.ndarray:
        """Embeddings, as searches compare them, of some images that meet the filters: float32 [M, D].

        Args:
            count: at most so many; of one state of the gallery always the same.
            filters: conditions on the images.
        """

    @abstractmethod
    def embeddings(self, keys: Sequence[str]) -> np.ndarray:
        """The stored embeddings of images, float32 [M, D].

        Raises:
            UnknownKeyError: a key that the gallery does not have.
        """

    @abstractmethod
    def get(self, key: str) -> Entry | None:
        """Everything that the gallery holds of an image, None where there is no such key."""

    @abstractmethod
    def entries(self, batch: int = 256) -> Iterator[list[Entry]]:
        """Everything that the gallery holds, in batches; a folder's in the order in which it came."""

    @abstractmethod
    def results(self, keys: Sequence[str]) -> list[Result]:
        """The images of those keys that are there, in the order of the keys."""

    @abstractmethod
    def browse(
        self,
        filters: Filters | None = None,
        limit: int = 100,
        offset: int = 0,
        without: Collection[str] = (),
    ) -> list[Result]:
        """The images that meet the filters, newest time first, unknown times last, then by key.

        Args:
            filters: conditions on the results.
            limit: at most so many.
            offset: so many are passed over.
            without: keys that are neither returned nor counted.
        """

    @abstractmethod
    def pictures(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Of those keys that are there, the small JPEGs."""

    def picture(self, key: str) -> bytes | None:
        """The small JPEG of an image, None where there is no such key."""
        return self.pictures([key]).get(key)

    @abstractmethod
    def holds_passes(self) -> bool:
        """Whether some of its entries are passes, as far as it keeps what they are made of."""

    @abstractmethod
    def crops(self, keys: Sequence[str]) -> dict[str, tuple[PassCrop, ...]]:
        """Of those keys that are there and are passes, the images that they are made of, the best first."""

    @abstractmethod
    def origins(self, keys: Sequence[str]) -> dict[str, Origin]:
        """Of those keys that are there, their sources and the digests of these."""

    def newcomers(self, since: int | None, filters: Filters | None = None) -> Newcomers:
        """What came after a moment, the oldest of it first, `NEWCOMERS` images at most.

        Only a gallery in a folder tells; what is replaced comes anew.

        Args:
            since: `until` of an earlier answer, 0 for the beginning; None for now, when nothing is new.
            filters: conditions on the images.

        Raises:
            UserError: the gallery keeps no order.
        """
        raise UserError(
            f"{self.name}: does not tell what is new; copy it to a folder with `python -m retrieval.transfer`"
        )

    @abstractmethod
    def sample_keys(self, count: int) -> list[str]:
        """Some keys, to show what is in the gallery."""

    @abstractmethod
    def cameras(self) -> list[Camera]:
        """Every camera that is described or that an image comes from, by id."""

    @abstractmethod
    def set_cameras(self, cameras: Iterable[Camera]) -> None:
        """Describe cameras, or describe them anew."""

    @abstractmethod
    def time_range(self) -> tuple[float, float] | None:
        """The earliest and the latest known time in seconds, None where no image has one."""

    def _checked(self, entry: Entry) -> Entry:
        vector = self._vector(entry.embedding, entry.key)
        if not vector.any():
            raise UserError(f"{entry.key}: the embedding is all zeros; encode the image again")
        if vector is entry.embedding and not entry.crops:
            return entry
        crops = tuple(
            replace(crop, embedding=self._vector(crop.embedding, entry.key)) for crop in entry.crops
        )
        return replace(entry, embedding=vector, crops=crops)

    def _query(
        self, embedding: np.ndarray, k: int, camera: int | None = None, is_centred: bool = False
    ) -> np.ndarray:
        """The query as it is compared, float32 [D]; inside a read transaction."""
        if k < 0:
            raise UserError(f"k is {k}; ask for 1 or more results, or 0 for all")
        self.check_query_camera(camera)
        vector = self._vector(embedding, "the query")
        return vector if is_centred else np.asarray(self.centred(vector[None], [camera])[0])

    def _vector(self, embedding: np.ndarray, name: str) -> np.ndarray:
        dimension = self.model.card.outputs["embedding"]
        vector = np.ascontiguousarray(embedding, np.float32)
        if vector.shape != (dimension,):
            raise UserError(
                f"{name}: an embedding of shape {list(vector.shape)} where the gallery's model gives "
                f"[{dimension}]; encode it with that model"
            )
        if not np.isfinite(vector).all():
            raise UserError(f"{name}: the embedding has values that are not finite; encode the image again")
        return unit_length(vector) if self.model.card.metric == "cosine" else vector


def with_sameness(held: GalleryModel, asked: GalleryModel | None) -> GalleryModel:
    """The model of a gallery with the sameness calibration of the encoder, which may have been made later."""
    if asked is None or asked.hash != held.hash or not asked.card.sameness:
        return held
    return replace(held, card=held.card.replace(sameness=asked.card.sameness))


def check_model(name: str, held: GalleryModel, asked: GalleryModel | None) -> None:
    """Raise `UserError` where a gallery of the model `held` is opened for another one's embeddings."""
    if asked is not None and asked.hash != held.hash:
        raise UserError(
            f"{name}: holds embeddings of {held.card.name} (hash {held.hash[:12]}), not of "
            f"{asked.card.name} (hash {asked.hash[:12]}), and the two cannot be compared; use the "
            f"encoder {held.encoder or 'that made them'}, or ingest into another gallery"
        )
