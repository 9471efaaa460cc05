"""Two images side by side over REST: how alike, and which regions make them so."""

from typing import Annotated, Any

from fastapi import APIRouter, File, Form, HTTPException, Request, UploadFile

from retrieval.gallery.filters import Filters
from retrieval.query.occlusion import ENCODINGS, compare
from retrieval.query.searcher import Searcher
from retrieval.service.audit import Audit
from retrieval.service.conditions import box_of
from retrieval.service.problems import NO_SUCH_KEY, UNUSABLE_IMAGE
from retrieval.service.rates import charge
from retrieval.sources.crop import crop
from serving.encoders.image import InputImage
from zoo.preprocess import MAX_BYTES


def add_compare_route(router: APIRouter, searcher: Searcher, audit: Audit) -> None:
    """Add the route that compares an image with one of `searcher`'s gallery."""
    gallery = searcher.gallery

    @router.post("/compare/{key:path}", responses={**NO_SUCH_KEY, **UNUSABLE_IMAGE})
    def compare_with(
        request: Request,
        key: str,
        image: Annotated[
            UploadFile | None, File(description="a JPEG, PNG, WebP or BMP of one vehicle")
        ] = None,
        box: Annotated[
            str | None, Form(description="LEFT,TOP,RIGHT,BOTTOM of the vehicle, in pixels")
        ] = None,
        with_key: Annotated[
            str | None, Form(description="an image of the gallery in the image's place")
        ] = None,
    ) -> dict[str, Any]:
        """Compare an image, or one of the gallery, with an image of the gallery.

        The gallery keeps small pictures only; the score is that of these, and may differ a little from a
        search's.
        """
        if (image is None) == (with_key is None):
            raise HTTPException(422, "either an image or `with_key` is needed")
        kept = gallery.pictures([key] if with_key is None else [key, with_key])
        first = image.file.read(MAX_BYTES + 1) if image is not None else kept.get(with_key or "") or None
        second = kept.get(key) or None
        if first is None or second is None:
            raise HTTPException(404, "the gallery has no picture of this key")
        charge(request, ENCODINGS)
        query = crop(InputImage(first, "the query"), None if image is None else box_of(box))
        found = compare(searcher.encoder, query, InputImage(second, "the result"))
        audit.record(request.state.caller.name, "compare", Filters(), [key], key=with_key)
        return {
            "score": found.score,
            "distance": found.distance,
            "query_regions": found.regions[0].tolist(),
            "result_regions": found.regions[1].tolist(),
        }
