"""A gallery's images, encoded again by another model into another gallery."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

from retrieval.gallery.base import Gallery
from retrieval.gallery.entries import Entry, Origin
from retrieval.sources.crop import crop
from retrieval.sources.originals import Originals
from retrieval.sources.pipeline import BATCH_SIZE, pooled
from retrieval.sources.read_ahead import read_ahead, reading_threads
from serving.encoders.encoder import Encoder
from serving.encoders.image import InputImage
from serving.encoders.predictions import Predictions
from zoo.preprocess import ImageError

_BATCHES_AHEAD = 2


@dataclass
class Reembedded:
    """What was done.

    Attributes:
        images: in the gallery that was read.
        known: that the other gallery had already.
        from_originals: encoded from the files that they came from.
        from_pictures: encoded from the small pictures that the gallery keeps.
        removed: that the other gallery had and the one that was read has no more.
        bad: key -> why the image could not be encoded.
        seconds: wall time.
    """

    images: int = 0
    known: int = 0
    from_originals: int = 0
    from_pictures: int = 0
    removed: int = 0
    bad: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class _Found:
    """An image to encode, or those of a pass, and whether it is the original."""

    images: tuple[InputImage, ...]
    is_original: bool


def reembed(
    source: Gallery,
    target: Gallery,
    encoder: Encoder,
    originals: Originals | None = None,
    advance: Callable[[int], object] = lambda images: None,
) -> Reembedded:
    """Bring `target` to what `source` holds, with the embeddings, colours and types of its own model.

    Each batch is kept before the next one is read, so that a run that was cut short goes on where it was, and
    one more run brings what has come since.

    Args:
        source: read only; others may write to it meanwhile.
        target: open for writing.
        encoder: of the target's model.
        originals: where the files may be that the images came from; None to encode the pictures that the
            gallery keeps.
        advance: called with how many more images are done with.

    Raises:
        UserError: the encoder or a gallery fails.
    """
    started = time.monotonic()
    done = Reembedded()
    card = encoder.card
    target.set_cameras(source.cameras())

    def read(entry: Entry) -> _Found:
        scene = None if originals is None else originals.find(entry)
        image = None if scene is None else crop(scene, entry.box)
        if image is None and not entry.picture:
            raise ImageError(f"{entry.key}: the gallery keeps no picture of it; ingest its file")
        kept = [each.picture for each in entry.crops] or [entry.picture]
        images = [InputImage(each, entry.key) for each in kept] if image is None else [image]
        small = tuple(each.at_size(card.input_size, card.antialias) for each in images)
        return _Found(small, image is not None)

    def encode(batch: list[tuple[Entry, _Found]]) -> Predictions:
        return encoder.encode([image for _, found in batch for image in found.images])

    waiting = read_ahead(_missing(source, target, done, advance), read, reading_threads(), 2 * BATCH_SIZE)
    readable = _readable(waiting, done, advance)
    batches = iter(lambda: list(islice(readable, BATCH_SIZE)), [])
    for batch, predictions in read_ahead(batches, encode, threads=1, depth=_BATCHES_AHEAD):
        assert not isinstance(predictions, ImageError)
        target.add(_encoded(batch, predictions, done))
        advance(len(batch))
    done.removed = _remove_others(source, target)
    done.seconds = round(time.monotonic() - started, 3)
    return done


def _missing(
    source: Gallery, target: Gallery, done: Reembedded, advance: Callable[[int], object]
) -> Iterator[Entry]:
    """The images that `target` does not have as they are in `source`."""
    for entries in source.entries():
        there = target.origins([entry.key for entry in entries])
        for entry in entries:
            done.images += 1
            # Without a digest, nobody knows whether it is still the same image.
            if entry.digest and there.get(entry.key) == Origin(entry.source, entry.digest):
                done.known += 1
                advance(1)
            else:
                yield entry


def _readable(
    waiting: Iterator[tuple[Entry, _Found | ImageError]], done: Reembedded, advance: Callable[[int], object]
) -> Iterator[tuple[Entry, _Found]]:
    for entry, found in waiting:
        if isinstance(found, ImageError):
            done.bad[entry.key] = str(found)
            advance(1)
        else:
            yield entry, found


def _encoded(
    batch: list[tuple[Entry, _Found]], predictions: Predictions, done: Reembedded
) -> Iterator[Entry]:
    first = 0
    for entry, found in batch:
        rows, first = list(range(first, first + len(found.images))), first + len(found.images)
        if errors := [predictions.errors[row] for row in rows if row in predictions.errors]:
            done.bad[entry.key] = errors[0]
            continue
        # An original is of one image alone.
        made_of = () if found.is_original else entry.crops
        weight = np.array([crop.quality for crop in made_of] or [1.0])
        if found.is_original:
            done.from_originals += 1
        else:
            done.from_pictures += 1
        yield replace(
            entry,
            embedding=pooled(predictions.embedding[rows], weight),
            color_probs=pooled(predictions.color_probs[rows], weight),
            type_probs=pooled(predictions.type_probs[rows], weight),
            crops=tuple(
                replace(crop, embedding=predictions.embedding[row])
                for crop, row in zip(made_of, rows, strict=False)
            ),
        )


def _remove_others(source: Gallery, target: Gallery) -> int:
    """Take out of `target` what is no longer in `source`."""
    gone: list[str] = []
    for entries in target.entries():
        keys = [entry.key for entry in entries]
        there = source.origins(keys)
        gone.extend(key for key in keys if key not in there)
    return target.remove(gone) if gone else 0
