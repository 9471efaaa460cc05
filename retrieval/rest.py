"""The REST interface: health, readiness, search by image, and the gallery's pictures."""

import io
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, HTTPException, Response, UploadFile
from PIL import Image

from retrieval.clock import parse_time
from retrieval.filters import Filters
from retrieval.metrics import CONTENT_TYPE, Metrics
from retrieval.searcher import Searcher
from zoo.errors import UserError
from zoo.preprocess import MAX_BYTES, ImageError

MAX_RESULTS = 1000


def build_router(searcher: Searcher, metrics: Metrics) -> APIRouter:
    """Make the routes that answer from `searcher`."""
    router = APIRouter()
    probe = _probe_image()

    @router.get("/health")
    def health() -> dict[str, str]:
        """Tell that the process is alive."""
        return {"status": "ok"}

    @router.get("/ready")
    def ready() -> dict[str, Any]:
        """Tell that the gallery can be read and the encoder answers."""
        try:
            searcher.look(probe, "probe")
            size = len(searcher.gallery)
        except (UserError, ImageError) as error:
            raise HTTPException(503, str(error)) from error
        return {"status": "ready", "images": size, "model": searcher.gallery.model.card.name}

    @router.get("/metrics", response_class=Response)
    def exposition() -> Response:
        """Counters and times in Prometheus' text format."""
        return Response(metrics.exposition(), headers={"Content-Type": CONTENT_TYPE})

    @router.post("/api/search")
    def search(
        image: Annotated[UploadFile, File(description="a JPEG, PNG, WebP or BMP of one vehicle")],
        k: Annotated[int, Form(ge=1, le=MAX_RESULTS)] = 10,
        color: Annotated[list[str] | None, Form()] = None,
        type: Annotated[list[str] | None, Form()] = None,
        camera: Annotated[list[int] | None, Form()] = None,
        after: Annotated[str | None, Form(description="seconds, 8:05:30, or an ISO date")] = None,
        before: Annotated[str | None, Form(description="likewise")] = None,
    ) -> dict[str, Any]:
        """Find the vehicle of an image; every filter that is given has to be met."""
        try:
            filters = Filters(
                colors=tuple(color or ()),
                types=tuple(type or ()),
                cameras=tuple(_int64(camera or [])),
                after=parse_time(after) if after else None,
                before=parse_time(before) if before else None,
            )
            filters.check(searcher.gallery.model.card)
        except UserError as error:
            raise HTTPException(422, str(error)) from error
        try:
            query = searcher.look(image.file.read(MAX_BYTES + 1))
            hits = searcher.search(query, k, filters)
            metrics.searches.labels("rest").inc()
            return searcher.answer(query, hits)
        except ImageError as error:
            raise HTTPException(400, str(error)) from error
        except UserError as error:
            raise HTTPException(503, str(error)) from error

    @router.get("/api/images/{key:path}", response_class=Response)
    def picture(key: str) -> Response:
        """The small JPEG of one image of the gallery."""
        try:
            jpeg = searcher.gallery.picture(key)
        except UserError as error:
            raise HTTPException(503, str(error)) from error
        if jpeg is None:
            raise HTTPException(404, "the gallery has no image of this key")
        return Response(jpeg, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=300"})

    return router


def _int64(values: list[int]) -> list[int]:
    for value in values:
        if not -(2**63) < value < 2**63:
            raise UserError(f"{value} is not a camera id")
    return values


def _probe_image() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), "gray").save(buffer, "PNG")
    return buffer.getvalue()
