"""Searching over REST: by images, by an image that the gallery has, and what plain words ask for."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, HTTPException, Query, Request, UploadFile

from retrieval.gallery.entries import Box, Result
from retrieval.gallery.filters import Filters
from retrieval.query.feedback import Feedback
from retrieval.query.looks import Looks, without_looks
from retrieval.query.searcher import Group, Searcher
from retrieval.query.searcher import Query as Encoded
from retrieval.query.words import MAX_TEXT
from retrieval.service.audit import Audit
from retrieval.service.conditions import Real, Whole, box_of, conditions
from retrieval.service.problems import NO_SUCH_KEY, UNUSABLE_IMAGE
from retrieval.service.prometheus import Metrics
from retrieval.service.rates import charge
from retrieval.sources.crop import crop
from serving.encoders.image import InputImage
from serving.encoders.trace import stage
from zoo.preprocess import MAX_BYTES

MAX_RESULTS = 1000
MAX_IMAGES = 16
MAX_FEEDBACK = 100
_PROMISE = "share of vehicles that are not here for which the verdict may be `match` (default: the service's)"
_IMAGES = "with each pass, tell the images that it is made of, and how near each of them is by itself"


_SOFT = "let `color` and `type`, or what the model says of the query, order results and hide none"


@dataclass(frozen=True)
class SearchOptions:
    """What is asked of a search beside the image and the filters."""

    k: int
    feedback: Feedback
    rerank: bool
    group: Group | None
    camera: int | None
    false_match_rate: float | None = None
    images: bool = False
    soft: bool = False

    def looks(self, filters: Filters) -> Looks | None:
        """Those that order results and hide none."""
        return Looks.of(filters) if self.soft else None

    def refinement(self, filters: Filters) -> dict[str, Any]:
        """What `Searcher.search` takes beyond the query and k."""
        return {
            "filters": self.hard(filters),
            "feedback": self.feedback,
            "rerank": self.rerank,
            "group": self.group,
            "camera": self.camera,
            "looks": self.looks(filters),
        }

    def hard(self, filters: Filters) -> Filters:
        """Those of the filters that hide what does not meet them."""
        return without_looks(filters) if self.soft else filters


def search_options(
    k: Annotated[Whole, Form(ge=1, le=MAX_RESULTS)] = 10,
    like: Annotated[
        list[str] | None, Form(description="keys of right results", max_length=MAX_FEEDBACK)
    ] = None,
    unlike: Annotated[
        list[str] | None, Form(description="keys of wrong results", max_length=MAX_FEEDBACK)
    ] = None,
    rerank: Annotated[bool, Form(description="order the first results by mutual neighbours")] = False,
    group: Annotated[Group | None, Form(description="the best image of each of these only")] = None,
    query_camera: Annotated[
        Whole | None,
        Form(
            description="the camera that the image comes from, for camera centring",
            gt=-(2**63),
            lt=2**63,
        ),
    ] = None,
    false_match_rate: Annotated[Real | None, Form(gt=0, lt=1, description=_PROMISE)] = None,
    images: Annotated[bool, Form(description=_IMAGES)] = False,
    soft: Annotated[bool, Form(description=_SOFT)] = False,
) -> SearchOptions:
    """Read them from a form."""
    if soft and rerank:
        raise HTTPException(422, "`soft` and `rerank` both order the first results; leave one out")
    said = Feedback(tuple(like or ()), tuple(unlike or ()))
    return SearchOptions(k, said, rerank, group, query_camera, false_match_rate, images, soft)


def add_search_routes(
    router: APIRouter,
    searcher: Searcher,
    metrics: Metrics,
    audit: Audit,
    detected_box: Callable[[InputImage, int], Box],
) -> None:
    """Add the routes that answer from `searcher`; `detected_box` gives a scene's vehicle by its number."""
    card = searcher.gallery.model.card
    in_form = Depends(conditions(Form, card))
    in_address = Depends(conditions(Query, card))

    @router.post("/search", responses=UNUSABLE_IMAGE)
    def search(
        request: Request,
        image: Annotated[
            list[UploadFile],
            File(
                description="a JPEG, PNG, WebP or BMP of one vehicle; several of the same one are fused",
                max_length=MAX_IMAGES,
            ),
        ],
        box: Annotated[
            str | None,
            Form(description="LEFT,TOP,RIGHT,BOTTOM of the vehicle in the one image, in pixels, upright"),
        ] = None,
        detected: Annotated[
            Whole | None,
            Form(description="in the box's place: the number, from 1, of what `/api/detect` finds", ge=1),
        ] = None,
        asked: SearchOptions = Depends(search_options),  # noqa: B008
        filters: Filters = in_form,
    ) -> dict[str, Any]:
        """Find the vehicle of an image; every filter that is given has to be met."""
        area = box_of(box)
        if area is not None and detected is not None:
            raise HTTPException(422, "`box` and `detected` both say which vehicle; leave one out")
        if len(image) > 1 and (area is not None or detected is not None):
            raise HTTPException(422, "a box is one of a single image; cut the others out before")
        charge(request, len(image))

        def encode(upload: UploadFile) -> Encoded:
            given = InputImage(upload.file.read(MAX_BYTES + 1))
            with stage("decode"):
                query = crop(given, detected_box(given, detected) if detected else area)
            return searcher.encode(query)

        # One after the other, so that one at a time is decoded, whose pixels then go.
        queries = [encode(upload) for upload in image]
        results = searcher.search(queries, asked.k, **asked.refinement(filters))
        said = {"like": asked.feedback.positive, "unlike": asked.feedback.negative}
        record(request, "search", filters, results, images=len(image), **said)
        metrics.searches.labels("image").inc()
        left = asked.hard(filters)
        return searcher.answer(queries[0], results, left, asked.false_match_rate, asked.images)

    @router.get("/similar/{key:path}", responses=NO_SUCH_KEY)
    def similar(
        request: Request,
        key: str,
        k: Annotated[Whole, Query(ge=1, le=MAX_RESULTS)] = 10,
        rerank: Annotated[bool, Query(description="order the first results by mutual neighbours")] = False,
        group: Annotated[Group | None, Query(description="the best image of each of these only")] = None,
        false_match_rate: Annotated[Real | None, Query(gt=0, lt=1, description=_PROMISE)] = None,
        images: Annotated[bool, Query(description=_IMAGES)] = False,
        filters: Filters = in_address,
    ) -> dict[str, Any]:
        """Find the vehicle of an image of the gallery, among the others."""
        found = searcher.similar(key, k, filters, rerank=rerank, group=group)
        if found is None:
            raise HTTPException(404, "the gallery has no image of this key")
        record(request, "similar", filters, found[1], key=key)
        metrics.searches.labels("key").inc()
        return searcher.answer(*found, filters, false_match_rate, images)

    @router.get("/words")
    def words(
        text: Annotated[
            str, Query(description="such as `white suv camera 3 after 8:00`", max_length=MAX_TEXT)
        ],
    ) -> dict[str, Any]:
        """Filters that plain words, English or Chinese, mean; what was understood, and what was not."""
        understood = searcher.understand(text)
        return {
            "filters": understood.filters.parameters(),
            "understood": [asdict(phrase) for phrase in understood.phrases],
            "not_understood": list(understood.unknown),
        }

    def record(
        request: Request, endpoint: str, filters: Filters, results: Sequence[Result], **asked: Any
    ) -> None:
        name = request.state.caller.name
        audit.record(name, endpoint, filters, [result.key for result in results], **asked)
