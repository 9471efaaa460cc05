"""From sources of images to entries of a gallery: read ahead, encode, add, batch after batch."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path, PurePath, PurePosixPath

import numpy as np

from retrieval.gallery.base import Gallery
from retrieval.gallery.crops import PassCrop
from retrieval.gallery.entries import Entry, Facts, Origin
from retrieval.sources.crop import crop
from retrieval.sources.folder import list_images
from retrieval.sources.read_ahead import read_ahead, reading_threads
from retrieval.sources.source import ImageFile, Source, View, display_picture
from retrieval.sources.type_prior import with_prior
from serving.encoders.encoder import Encoder
from serving.encoders.image import InputImage
from serving.encoders.predictions import Predictions
from zoo.card import Card
from zoo.labels import parse_veri_name
from zoo.preprocess import ImageError, clipped_box

BATCH_SIZE = 32
_BATCHES_AHEAD = 2


@dataclass
class Summary:
    """What an ingest did.

    Attributes:
        found: images in the folder, the table, the stream or the video.
        added: images that are new in the gallery, or replaced an older version.
        known: images that the gallery had already, unchanged.
        bad: key -> why the image could not be used.
        seconds: wall time.
    """

    found: int = 0
    added: int = 0
    known: int = 0
    bad: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class _NewImage:
    """An image that the gallery does not have yet; small, because many wait at a time.

    Attributes:
        key: its name in the gallery.
        origin, facts: of its source.
        images: what to encode, as one vector.
        crops: of a pass, what is kept of each of these, but for its embedding.
        digest: of the source.
        picture: the JPEG to show.
        label, score: a detector's class and how sure it is.
    """

    key: str
    origin: str
    facts: Facts | None
    images: tuple[InputImage, ...]
    crops: tuple[PassCrop, ...]
    digest: str
    picture: bytes
    label: str
    score: float


def add_images(
    gallery: Gallery, encoder: Encoder, images: str | Path | Iterable[str | Path], *, fps: float = 25.0
) -> Summary:
    """Add the images of a folder, or single files, that the gallery does not have yet.

    Args:
        gallery: open for writing.
        encoder: of the gallery's model.
        images: a folder, whose images are named by their paths in it; or files, named as they are given.
        fps: see `ingest`.

    Raises:
        UserError: see `ingest`; no such folder.
    """
    if isinstance(images, str | Path):
        sources = list_images(Path(images))
    else:
        here = os.getcwd()
        sources = [ImageFile(Path(path), Path(path).as_posix(), root=here) for path in images]
    return ingest(sources, gallery, encoder, fps=fps)


def ingest(
    sources: Iterable[Source],
    gallery: Gallery,
    encoder: Encoder,
    *,
    fps: float = 25.0,
    batch_size: int = BATCH_SIZE,
    is_live: bool = False,
    advance: Callable[[], object] = lambda: None,
) -> Summary:
    """Add every image that the gallery does not have yet.

    Images are read and encoded ahead, while the batch before goes into the gallery. Each batch is on the disk
    before the next one is added, so that an interrupted ingest goes on where it was.

    Args:
        sources: of a folder, a table, a stream or a video; taken as they come.
        gallery: open for writing.
        encoder: of the gallery's model.
        fps: frames a second of the recordings, which turns the frame number of a VeRi name into a time.
        batch_size: images encoded at a time.
        is_live: nobody knows when the next image comes; each goes in at once, alone.
        advance: called once for every image that is done with.

    Raises:
        UserError: the encoder or the gallery fails, or what a source itself raises.
    """
    started = time.monotonic()
    summary = Summary()
    batch_size = 1 if is_live else batch_size
    new = _new_images(sources, gallery, encoder.card, summary, advance, batch_size)
    batches = _batches(new, batch_size)

    def encode(batch: list[_NewImage]) -> Predictions:
        return encoder.encode([image for new in batch for image in new.images])

    for batch, predictions in read_ahead(batches, encode, threads=1, depth=1 if is_live else _BATCHES_AHEAD):
        assert not isinstance(predictions, ImageError)
        summary.added += gallery.add(_entries(batch, predictions, fps, encoder.card.types, summary.bad))
        for _ in batch:
            advance()
    summary.seconds = round(time.monotonic() - started, 3)
    return summary


def _new_images(
    sources: Iterable[Source],
    gallery: Gallery,
    card: Card,
    summary: Summary,
    advance: Callable[[], object],
    batch_size: int,
) -> Iterator[_NewImage]:
    """Yield the images that have to be encoded, for a model of this card; count the others."""

    def read(item: tuple[Source, Mapping[str, Origin]]) -> _NewImage | None:
        source, known = item
        if not _is_text(source.key):
            raise ImageError(f"{source.key!r}: the file name is not valid text; rename the file")
        loaded = source.load()
        key = _key(source, loaded.digest, known)
        if key in known and known[key].digest == loaded.digest:
            return None
        facts = source.facts
        if facts is not None and loaded.box is not None:
            facts = replace(facts, box=clipped_box(loaded.box, loaded.image.size))
        # Once the whole is decoded, a part of it needs no decoding of its own.
        image = crop(loaded.image, loaded.box)
        picture = display_picture(image)
        whole = [view.image for view in loaded.views] or [image]
        small = tuple(each.at_size(card.input_size, card.antialias) for each in whole)
        crops = tuple(_crop(view) for view in loaded.views)
        return _NewImage(
            *(key, source.origin, facts, small, crops),
            *(loaded.digest, picture, loaded.label, loaded.score),
        )

    asked = _with_known(sources, gallery, batch_size)
    for (source, _), result in read_ahead(asked, read, reading_threads(), depth=2 * batch_size - 1):
        summary.found += 1
        if isinstance(result, ImageError):
            summary.bad[source.key.encode(errors="replace").decode()] = str(result)
            advance()
        elif result is None:
            summary.known += 1
            advance()
        else:
            yield result


def _batches(new: Iterator[_NewImage], size: int) -> Iterator[list[_NewImage]]:
    """Take together what has about `size` images to encode."""
    batch: list[_NewImage] = []
    count = 0
    for each in new:
        batch.append(each)
        count += len(each.images)
        if count >= size:
            yield batch
            batch, count = [], 0
    if batch:
        yield batch


def _with_known(
    sources: Iterable[Source], gallery: Gallery, batch_size: int
) -> Iterator[tuple[Source, Mapping[str, Origin]]]:
    """Each source with what the gallery has of the keys that it may get, asked for many at a time."""
    waiting = iter(sources)
    while part := list(islice(waiting, batch_size)):
        keys = [key for source in part for key in (source.key, _qualified(source)) if _is_text(key)]
        known = gallery.origins(keys)
        for source in part:
            yield source, known


def _key(source: Source, digest: str, known: Mapping[str, Origin]) -> str:
    """A source's key in the gallery: its own, or a qualified one where another source has taken that."""
    kept = known.get(source.key)
    if not source.root or _qualified(source) in known:
        return _qualified(source)
    is_its_own = kept is None or kept.digest == digest or _is_same(kept.source, source)
    return source.key if is_its_own else _qualified(source)


def _qualified(source: Source) -> str:
    """The key with its root's name and a mark of the root's whole path; the key itself without a root."""
    if not source.root:
        return source.key
    mark = hashlib.blake2b(source.root.encode(errors="surrogateescape"), digest_size=4).hexdigest()
    name = PurePath(source.root).name.encode(errors="replace").decode()
    return f"{name}~{mark}/{source.key}"


def _is_same(kept: str, source: Source) -> bool:
    """Whether an entry of the source's key, kept under this origin, is from that source.

    A pass of a video may have another best crop than before. Galleries of before hold paths as they were
    given, from any folder.
    """
    origin = source.origin
    if kept.startswith(f"{source.root} at "):
        return True
    tail = PurePath(os.path.normpath(kept)).parts if kept else ()
    tail = tail[tail.count("..") :]
    return bool(tail) and (
        kept == origin or (not os.path.isabs(kept) and PurePath(origin).parts[-len(tail) :] == tail)
    )


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _entries(
    batch: list[_NewImage],
    predictions: Predictions,
    fps: float,
    types: tuple[str, ...],
    bad: dict[str, str],
) -> list[Entry]:
    """Make entries of encoded images; what the encoder refused goes into `bad`."""
    entries = []
    first = 0
    for new in batch:
        rows, first = range(first, first + len(new.images)), first + len(new.images)
        made_of = dict(zip(rows, new.crops, strict=False))
        good = [row for row in rows if row not in predictions.errors]
        if not good:
            bad[new.key] = predictions.errors[rows[0]]
            continue
        facts = new.facts or _facts_from_name(new.key, fps)
        crops = tuple(
            replace(made_of[row], embedding=predictions.embedding[row]) for row in good if row in made_of
        )
        weight = np.array([crop.quality for crop in crops] or [1.0])
        entries.append(
            Entry(
                key=new.key,
                embedding=pooled(predictions.embedding[good], weight),
                color_probs=pooled(predictions.color_probs[good], weight),
                type_probs=with_prior(
                    pooled(predictions.type_probs[good], weight), types, new.label, new.score
                ),
                picture=new.picture,
                source=new.origin,
                digest=new.digest,
                crops=crops,
                **vars(facts),
            )
        )
    return entries


def _crop(view: View) -> PassCrop:
    """What is kept of one of a pass's images before it is encoded."""
    return PassCrop(display_picture(view.image), view.weight, view.time, view.box, np.zeros(0, np.float32))


def pooled(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean of [V, N]; one row as it is. A gallery of cosine's gives it length 1 again."""
    if len(rows) == 1:
        return np.asarray(rows[0])
    weights = weights / weights.sum() if weights.sum() > 0 else np.full(len(rows), 1 / len(rows))
    return np.asarray(weights @ rows.astype(np.float64), np.float32)


def _facts_from_name(key: str, fps: float) -> Facts:
    """What a file name of VeRi's form says."""
    name = parse_veri_name(PurePosixPath(key).name)
    if name is None:
        return Facts()
    return Facts(vehicle_id=name.vehicle_id, camera=name.camera_id, time=name.frame / fps)
