"""The gallery's images over REST: list, get and show."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from retrieval.gallery.entries import Entry, likeliest
from retrieval.gallery.filters import Filters
from retrieval.query.searcher import Searcher
from retrieval.service.audit import Audit
from retrieval.service.conditions import conditions
from retrieval.service.problems import NO_SUCH_KEY
from retrieval.service.prometheus import Metrics
from zoo.card import Card

MAX_LISTED = 1000


def add_entry_routes(router: APIRouter, searcher: Searcher, metrics: Metrics, audit: Audit) -> None:
    """Add the routes that show the gallery of `searcher`."""
    gallery = searcher.gallery
    card = gallery.model.card

    @router.get("/entries")
    def browse(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 100,
        offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
        filters: Filters = Depends(conditions(Query, card)),  # noqa: B008
    ) -> dict[str, Any]:
        """Images that meet the filters, newest first: a search by attributes alone."""
        found = [gallery.get(key) for key in gallery.browse(filters, limit, offset)]
        # One may have gone meanwhile.
        entries = [entry_json(entry, card) for entry in found if entry is not None]
        shown = [entry["key"] for entry in entries]
        audit.record(request.state.caller.name, "entries", filters, shown, offset=offset)
        metrics.searches.labels("attributes").inc()
        return {"entries": entries}

    @router.get("/entries/{key:path}", responses=NO_SUCH_KEY)
    def get(key: str) -> dict[str, Any]:
        """What the gallery holds of an image."""
        entry = gallery.get(key)
        if entry is None:
            raise HTTPException(404, "the gallery has no image of this key")
        return entry_json(entry, card)

    @router.get("/images/{key:path}", response_class=Response, responses=NO_SUCH_KEY)
    def picture(key: str) -> Response:
        """The small JPEG of one image of the gallery."""
        jpeg = gallery.picture(key)
        if jpeg is None:
            raise HTTPException(404, "the gallery has no image of this key")
        return Response(jpeg, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=300"})

    @router.get("/cameras")
    def cameras() -> dict[str, Any]:
        """Every camera that is described or that an image comes from."""
        return {"cameras": [vars(camera) for camera in gallery.cameras()]}


def entry_json(entry: Entry, card: Card) -> dict[str, Any]:
    """An entry's JSON form: without its embedding, and without its source, which may be a path."""
    color, kind = likeliest(entry.color_probs), likeliest(entry.type_probs)
    return {
        "key": entry.key,
        "vehicle_id": entry.vehicle_id,
        "track_id": entry.track_id,
        "camera": entry.camera,
        "time": entry.time,
        "latitude": entry.latitude,
        "longitude": entry.longitude,
        "box": entry.box,
        "color": None if color is None else card.colors[color[0]],
        "color_confidence": None if color is None else color[1],
        "type": None if kind is None else card.types[kind[0]],
        "type_confidence": None if kind is None else kind[1],
    }
