"""Vehicles cut out of pictures that show whole scenes."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from retrieval.gallery.entries import Facts
from retrieval.sources.crop import crop
from retrieval.sources.detector import Detection, Detector
from retrieval.sources.source import Picture, Source, Unusable
from serving.encoders.image import InputImage
from zoo.preprocess import ImageError

_CROP_SIDE = 256
"""A picture whose longer side has no more pixels was cut out by somebody before."""

_FILLS = 0.5
"""Part of a picture that a vehicle fills where the picture is of that vehicle alone."""


def vehicles_of(image: InputImage, detector: Detector) -> list[Detection] | None:
    """The vehicles of a scene; None for a picture of one alone, which is small, or filled by it.

    Raises:
        DetectorError, ImageError: see `Detector.find_in`.
    """
    height, width = image.size
    if max(height, width) <= _CROP_SIDE:
        return None
    found = detector.find_in(image)
    areas = [(each.box[2] - each.box[0]) * (each.box[3] - each.box[1]) for each in found]
    return None if max(areas, default=0) >= _FILLS * height * width else found


def cut_scenes(sources: Iterable[Source], detector: Detector) -> Iterator[Source]:
    """Put the vehicles that a detector finds in the place of each scene.

    What has a box already, is small, or shows one vehicle that fills it, stays as it is.
    """
    for source in sources:
        if source.facts is not None and source.facts.box is not None:
            yield source
            continue
        try:
            image = source.load().image
            found = vehicles_of(image, detector)
        except ImageError:
            yield source
            continue
        if found is None:
            yield source
            continue
        if not found:
            yield Unusable(source.key, f"{source.name}: the detector finds no vehicle in it")
        for each in found:
            suffix = ",".join(f"{side:g}" for side in each.box)
            cut = crop(image, each.box)
            cut.name = f"{source.name} at {suffix}"
            facts = replace(source.facts or Facts(), box=each.box)
            origin = f"{source.origin} at {suffix}"
            yield Picture(f"{source.key}#{suffix}", facts, cut, origin, source.root, each.label, each.score)
