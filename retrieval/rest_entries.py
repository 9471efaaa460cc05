"""The gallery's images over REST: list, get, show, add and remove."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, HTTPException, Path, Query, Request, Response, UploadFile

from retrieval.audit import Audit
from retrieval.clock import parse_time
from retrieval.conditions import INT64, conditions
from retrieval.entries import Entry, Facts, likeliest
from retrieval.filters import Filters
from retrieval.metrics import Metrics
from retrieval.problems import NO_SUCH_KEY, UNUSABLE_IMAGE
from retrieval.searcher import Searcher
from retrieval.source import digest, display_jpeg
from zoo.card import Card
from zoo.errors import UserError
from zoo.preprocess import MAX_BYTES, decode_image

MAX_LISTED = 1000
MAX_KEY = 512

_Id = Annotated[int | None, Form(**INT64)]


def add_entry_routes(router: APIRouter, searcher: Searcher, metrics: Metrics, audit: Audit) -> None:
    """Add the routes that show and change the gallery of `searcher`."""
    gallery = searcher.gallery
    card = gallery.model.card

    def may_write(request: Request) -> None:
        if request.state.caller.scope != "write":
            raise HTTPException(403, "this key may only read; a key of the scope `write` is needed")
        if not gallery.writable:
            raise HTTPException(403, "this service only reads the gallery; start it with --writable")

    writing = [Depends(may_write)]

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
        entries = [_facts(entry, card) for entry in found if entry is not None]
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
        return _facts(entry, card)

    # PUT and DELETE, which no page of another site can have a browser send without asking first.
    @router.put("/entries/{key:path}", dependencies=writing, responses=UNUSABLE_IMAGE)
    def add(
        key: Annotated[str, Path(min_length=1, max_length=MAX_KEY)],
        image: Annotated[UploadFile, File(description="a JPEG, PNG, WebP or BMP of one vehicle")],
        vehicle_id: _Id = None,
        track_id: _Id = None,
        camera: _Id = None,
        time: Annotated[str | None, Form(description="seconds, 8:05:30, or an ISO date")] = None,
        latitude: Annotated[float | None, Form(ge=-90, le=90)] = None,
        longitude: Annotated[float | None, Form(ge=-180, le=180)] = None,
    ) -> dict[str, Any]:
        """Add an image, or replace the one of this key; once answered, it survives whatever happens."""
        if not key.isprintable():
            raise HTTPException(422, "a key consists of printable characters")
        if (latitude is None) != (longitude is None):
            raise HTTPException(422, "a place has a latitude and a longitude")
        try:
            seconds = parse_time(time) if time else None
        except UserError as error:
            raise HTTPException(422, str(error)) from error
        data = image.file.read(MAX_BYTES + 1)
        query = searcher.look(data)
        facts = Facts(
            vehicle_id=vehicle_id,
            track_id=track_id,
            camera=camera,
            time=seconds,
            latitude=latitude,
            longitude=longitude,
        )
        entry = Entry(
            key=key,
            embedding=query.embedding,
            color_probs=query.color_probs,
            type_probs=query.type_probs,
            picture=display_jpeg(decode_image(data)),
            source="REST",
            digest=digest(data, facts),
            **vars(facts),
        )
        changed = gallery.add([entry])
        metrics.added.inc(changed)
        return {"changed": bool(changed), "entry": _facts(entry, card)}

    @router.delete("/entries/{key:path}", dependencies=writing)
    def remove(key: str) -> dict[str, bool]:
        """Take an image out; one that is not there is no error."""
        removed = gallery.remove([key])
        metrics.removed.inc(removed)
        return {"removed": bool(removed)}

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


def _facts(entry: Entry, card: Card) -> dict[str, Any]:
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
