"""Searches over REST whose results come as a file: CSV, ZIP with the pictures, or a page to print."""

from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, HTTPException, Request, Response, UploadFile

from retrieval.gallery.filters import Filters
from retrieval.journeys.store import journeys_of
from retrieval.query.sameness import verdict
from retrieval.query.searcher import Query, Searcher
from retrieval.results.downloads import MEDIA_TYPES, Format, SearchReport, make_download
from retrieval.service.audit import Audit
from retrieval.service.conditions import box_of, conditions
from retrieval.service.problems import UNUSABLE_IMAGE
from retrieval.service.prometheus import Metrics
from retrieval.service.search import SearchOptions, search_options
from retrieval.sources.crop import crop
from retrieval.sources.source import display_jpeg
from serving.encoders.image import InputImage
from zoo.preprocess import MAX_BYTES


def add_download_route(router: APIRouter, searcher: Searcher, metrics: Metrics, audit: Audit) -> None:
    """Add the route that gives what `searcher` finds as a file."""
    gallery = searcher.gallery
    card = gallery.model.card

    @router.post(
        "/export",
        response_class=Response,
        responses={
            **UNUSABLE_IMAGE,
            200: {"description": "the file", "content": {kind: {} for kind in MEDIA_TYPES.values()}},
        },
    )
    def download(
        request: Request,
        format: Annotated[Format, Form()],
        image: Annotated[
            UploadFile | None,
            File(description="of one vehicle; without one, what meets the filters is exported, newest first"),
        ] = None,
        box: Annotated[
            str | None, Form(description="LEFT,TOP,RIGHT,BOTTOM of the vehicle, in pixels")
        ] = None,
        asked: SearchOptions = Depends(search_options),  # noqa: B008
        filters: Filters = Depends(conditions(Form, card)),  # noqa: B008
    ) -> Response:
        """Search as `/api/search` does, or by attributes alone, and give the results as a file."""
        query: Query | None = None
        picture = b""
        if image is not None:
            cut = crop(InputImage(image.file.read(MAX_BYTES + 1)), box_of(box))
            picture = display_jpeg(cut.pixels)
            query = searcher.encode(cut)
        elif asked.feedback.positive or asked.feedback.negative:
            raise HTTPException(422, "like and unlike refine an image; none was sent")
        elif asked.camera is not None:
            raise HTTPException(422, "query_camera is that of an image; none was sent")
        elif asked.soft:
            raise HTTPException(422, "soft orders what an image finds; none was sent")
        with gallery.read_transaction():
            if query is None:
                results = gallery.browse(filters, asked.k)
            else:
                results = searcher.search(query, asked.k, **asked.refinement(filters))
            keys = [result.key for result in results]
            pictures = {} if format == "csv" else gallery.pictures(keys)
            cameras, searched = gallery.cameras(), gallery.count(asked.hard(filters))
        audit.record(request.state.caller.name, "export", filters, keys, format=format)
        metrics.searches.labels("image" if image else "attributes").inc()
        promised = searcher.false_match_rate if asked.false_match_rate is None else asked.false_match_rate
        report = SearchReport(
            results,
            asked.hard(filters),
            picture,
            card.name,
            pictures,
            cameras,
            asked.feedback.positive,
            None if query is None else verdict(gallery, results, promised),
            promised,
            searched,
            journeys_of(gallery, keys),
        )
        return Response(
            make_download(report, format),
            media_type=MEDIA_TYPES[format],
            headers={"Content-Disposition": f'attachment; filename="results.{format}"'},
        )
