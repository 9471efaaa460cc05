"""The REST interface: health, readiness, metrics, and the routes of the modules beside this one."""

from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer

from retrieval.gallery.base import QueryCameraError, UnknownKeyError
from retrieval.query.searcher import Searcher
from retrieval.service.audit import Audit
from retrieval.service.cases import add_case_changes, add_case_routes
from retrieval.service.changes import add_change_routes, may_write
from retrieval.service.compare import add_compare_route
from retrieval.service.conditions import refuse_unknown_fields
from retrieval.service.detect import add_detect_route, box_finder
from retrieval.service.downloads import add_download_route
from retrieval.service.entries import add_entry_routes
from retrieval.service.journeys import add_journey_routes
from retrieval.service.problems import EVERYWHERE, NO_FIELDS, problems
from retrieval.service.prometheus import CONTENT_TYPE, Metrics
from retrieval.service.readiness import Readiness
from retrieval.service.scenes import add_scene_route
from retrieval.service.search import add_search_routes
from retrieval.service.workload import HUGE_IMAGES_WAITING, RETRY_AFTER, OverloadError, admission
from retrieval.sources.detector import Detector
from retrieval.sources.originals import Originals
from zoo.decoding_memory import DecoderBusyError, decoding
from zoo.errors import UserError
from zoo.preprocess import ImageError

_SUPERVISING = 8
"""Threads for who asks whether the service is well."""


def add_rest(
    app: FastAPI,
    searcher: Searcher,
    metrics: Metrics,
    audit: Audit,
    detector: Detector | None = None,
    originals: Originals | None = None,
) -> None:
    """Add all routes, and what their errors turn into."""
    decoding.max_waiting = HUGE_IMAGES_WAITING
    app.include_router(_supervision(searcher, metrics))
    # `Access` asks for the key, before anything of a request is read; this describes it.
    bearer = HTTPBearer(auto_error=False, description="an API key, where the service has keys")
    router = APIRouter(
        prefix="/api",
        dependencies=[
            Depends(bearer),
            Depends(refuse_unknown_fields),
            Depends(admission(), scope="function"),
        ],
        responses=EVERYWHERE,
    )
    add_search_routes(router, searcher, metrics, audit, box_finder(detector))
    add_detect_route(router, detector)
    add_compare_route(router, searcher, audit)
    add_download_route(router, searcher, metrics, audit)
    add_entry_routes(router, searcher, metrics, audit)
    add_scene_route(router, searcher.gallery, originals)
    add_journey_routes(router, searcher, audit, may_write(searcher.gallery))
    add_case_routes(router, searcher, audit)
    add_case_changes(router, searcher, audit)
    add_change_routes(router, searcher, metrics)
    app.include_router(router)

    # Bad requests are told apart where they are read; what is left is a fault of the gallery or the encoder.
    @app.exception_handler(UserError)
    def unavailable(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 503)

    @app.exception_handler(OverloadError)
    @app.exception_handler(DecoderBusyError)
    def overloaded(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 503, {"Retry-After": str(RETRY_AFTER)})

    @app.exception_handler(MemoryError)
    def starved(request: Request, error: Exception) -> JSONResponse:
        detail = "the service has no memory for it now; send it again after the seconds of Retry-After"
        return JSONResponse({"detail": detail}, 503, {"Retry-After": str(RETRY_AFTER)})

    @app.exception_handler(QueryCameraError)
    @app.exception_handler(UnknownKeyError)
    def unusable_field(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 422)

    @app.exception_handler(ImageError)
    def bad_image(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 400)


def _supervision(searcher: Searcher, metrics: Metrics) -> APIRouter:
    router = APIRouter(dependencies=[Depends(refuse_unknown_fields)], responses=NO_FIELDS)
    readiness = Readiness(searcher)
    # Not those of the requests that work, whose wait says nothing of the service.
    threads = CapacityLimiter(_SUPERVISING)

    @router.get("/health")
    async def health() -> dict[str, str]:
        """Tell that the process is alive."""
        return {"status": "ok"}

    @router.get("/ready", responses=problems({503: "not now; `detail` says why"}))
    async def ready() -> dict[str, Any]:
        """Tell that the gallery can be read and the encoder answers."""
        try:
            size = await to_thread.run_sync(readiness.check, limiter=threads)
        except (UserError, ImageError) as error:
            raise HTTPException(503, str(error)) from error
        return {"status": "ready", "images": size, "model": searcher.gallery.model.card.name}

    @router.get("/metrics", response_class=Response)
    async def exposition() -> Response:
        """Counters and times in Prometheus' text format."""
        found = await to_thread.run_sync(metrics.exposition, limiter=threads)
        return Response(found, headers={"Content-Type": CONTENT_TYPE})

    return router
