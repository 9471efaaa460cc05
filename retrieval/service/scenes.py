"""The whole scene of an image of the gallery over REST, where its file is still there."""

from typing import Annotated

import numpy as np
from fastapi import APIRouter, HTTPException, Query, Response
from PIL import ImageDraw

from retrieval.gallery.base import Gallery
from retrieval.gallery.entries import Box
from retrieval.service.problems import problems
from retrieval.sources.originals import Originals
from retrieval.sources.source import display_jpeg, thumbnail
from serving.encoders.image import InputImage

SCENE_SIZE = 1920
"""Longest side in pixels of what is shown."""

_NO_SCENE = problems({404: "no image of this key, or its file is not there"})


def add_scene_route(router: APIRouter, gallery: Gallery, originals: Originals | None) -> None:
    """Add the route that shows the files of `originals`; without them it has none."""

    @router.get("/scenes/{key:path}", response_class=Response, responses=_NO_SCENE)
    def scene(
        key: str,
        frame: Annotated[bool, Query(description="draw a frame around the vehicle")] = False,
    ) -> Response:
        """The file that an image was made of, as a JPEG of at most 1,920 pixels a side.

        It is shown where the service was started with `--originals` and the file is what it was.
        """
        entry = gallery.get(key)
        if entry is None:
            raise HTTPException(404, "the gallery has no image of this key")
        image = None if originals is None else originals.find(entry)
        if image is None:
            raise HTTPException(404, "the file that this image was made of is not there, or is another one")
        jpeg = _framed(image, entry.box) if frame and entry.box else display_jpeg(image.pixels, SCENE_SIZE)
        return Response(jpeg, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=300"})


def _framed(image: InputImage, box: Box) -> bytes:
    """The scene with a frame around a box, in two colours so that it is seen on any ground."""
    picture = thumbnail(image.pixels, SCENE_SIZE)
    share = picture.width / image.size[1]
    left, top, right, bottom = (side * share for side in box)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((left - 4, top - 4, right + 4, bottom + 4), outline="#ffffff", width=2)
    draw.rectangle((left - 2, top - 2, right + 2, bottom + 2), outline="#2563eb", width=3)
    return display_jpeg(np.asarray(picture), SCENE_SIZE)
