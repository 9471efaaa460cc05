"""The gallery's images over REST: list, get and show."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from retrieval.gallery.entries import LOOKS, PLAIN_FACTS
from retrieval.gallery.filters import Filters
from retrieval.query.searcher import Searcher
from retrieval.service.audit import Audit
from retrieval.service.conditions import Whole, conditions
from retrieval.service.problems import NO_SUCH_KEY
from retrieval.service.prometheus import Metrics
from retrieval.sources.source import SO_FAR

MAX_LISTED = 1000

LISTED = ("key", *PLAIN_FACTS, "box", *LOOKS)
"""What the JSON of an image tells: neither its embedding nor its source, which may be a path."""


def add_entry_routes(router: APIRouter, searcher: Searcher, metrics: Metrics, audit: Audit) -> None:
    """Add the routes that show the gallery of `searcher`."""
    gallery = searcher.gallery
    card = gallery.model.card

    @router.get("/entries")
    def browse(
        request: Request,
        limit: Annotated[Whole, Query(ge=1, le=MAX_LISTED)] = 100,
        offset: Annotated[Whole, Query(ge=0, le=2**31)] = 0,
        filters: Filters = Depends(conditions(Query, card)),  # noqa: B008
    ) -> dict[str, Any]:
        """Images that meet the filters, newest first: a search by attributes alone."""
        found = gallery.browse(filters, limit, offset)
        shown = [result.key for result in found]
        audit.record(request.state.caller.name, "entries", filters, shown, offset=offset)
        metrics.searches.labels("attributes").inc()
        return {"entries": [result.as_json(LISTED) for result in found]}

    @router.get("/entries/{key:path}", responses=NO_SUCH_KEY)
    def get(key: str) -> dict[str, Any]:
        """What the gallery holds of an image; of a pass, also its images, the best first."""
        with gallery.read_transaction():
            found = gallery.results([key])
            if not found:
                raise HTTPException(404, "the gallery has no image of this key")
            told = found[0].as_json(LISTED)
            if crops := gallery.crops([key]).get(key):
                told["images"] = [crop.as_json() for crop in crops]
                told["is_whole"] = not gallery.origins([key])[key].source.endswith(SO_FAR)
        return told

    @router.get("/images/{key:path}", response_class=Response, responses=NO_SUCH_KEY)
    def picture(
        key: str,
        number: Annotated[
            Whole | None, Query(ge=0, lt=2**31, description="of one of a pass's images; the best is 0")
        ] = None,
    ) -> Response:
        """The small JPEG of one image of the gallery."""
        jpeg = gallery.picture(key)
        if jpeg is None:
            raise HTTPException(404, "the gallery has no image of this key")
        if number is not None:
            crops = gallery.crops([key]).get(key, ())
            if number >= len(crops):
                raise HTTPException(404, f"it has {len(crops)} images; `number` counts them from 0")
            jpeg = crops[number].picture
        return Response(jpeg, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=300"})

    @router.get("/cameras")
    def cameras() -> dict[str, Any]:
        """Every camera that is described or that an image comes from."""
        return {"cameras": [asdict(camera) for camera in gallery.cameras()]}
