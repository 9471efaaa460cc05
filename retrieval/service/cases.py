"""Cases over REST: list them, save one, change one, take it along as a page to print."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, File, Form, HTTPException, Query, Request, Response, UploadFile

from retrieval.cases.case import MAX_NAME, MAX_NOTES, Case, CaseImage, SavedSearch, UnfitCaseError, is_id
from retrieval.cases.report import to_page
from retrieval.cases.saving import findings_of
from retrieval.cases.store import CaseStore, UnknownCaseError
from retrieval.gallery.base import Gallery
from retrieval.gallery.filters import Filters
from retrieval.query.searcher import Query as Encoded
from retrieval.query.searcher import Searcher
from retrieval.service.audit import Audit
from retrieval.service.conditions import Real, Whole, box_of, conditions
from retrieval.service.entries import LISTED
from retrieval.service.problems import NO_SUCH_CASE, UNREADABLE_BODY, UNUSABLE_IMAGE
from retrieval.service.rates import charge
from retrieval.service.search import MAX_IMAGES, SearchOptions, search_options
from retrieval.sources.crop import crop
from retrieval.sources.source import display_jpeg
from serving.encoders.image import InputImage
from zoo.preprocess import MAX_BYTES

_FOUND = ("rank", "probability", "distance", *LISTED)
_ALARMS = "false alarms that the watch on it may raise a day; 0 for no watch"


def may_keep(request: Request) -> None:
    """Refuse, with 403, who may not write; the gallery's images need not be open for writing."""
    if request.state.caller.scope != "write":
        raise HTTPException(403, "this key may only read; a key of the scope `write` is needed")


def add_case_routes(router: APIRouter, searcher: Searcher, audit: Audit) -> None:
    """Add the routes that show the cases of a gallery in a folder."""
    gallery = searcher.gallery
    Store = Annotated[CaseStore, Depends(_cases_of(gallery))]  # noqa: N806 - a type

    @router.get("/cases")
    def listed(store: Store) -> dict[str, Any]:
        """All cases, the one that was changed last first; `damaged` are those whose file cannot be read."""
        found, damaged = store.list()
        return {"cases": [_summary(case, store) for case in found], "damaged": damaged}

    @router.get("/case-news")
    def news(store: Store) -> dict[str, int]:
        """How many alarms of all watches nobody has looked at yet."""
        return {"unseen": store.unseen()}

    @router.get("/cases/{id}", responses=NO_SUCH_CASE)
    def show(id: str, store: Store) -> dict[str, Any]:
        """A case: how it searches, what it found when it was saved, what was marked and noted."""
        with _known():
            return _told(store.get(id), store)

    @router.get(
        "/cases/{id}/export",
        response_class=Response,
        responses=NO_SUCH_CASE | {200: {"description": "the page", "content": {"text/html": {}}}},
    )
    def export(request: Request, id: str, store: Store) -> Response:
        """The whole case as one page to print: query, results, verdict, marks, notes, when and by whom."""
        with _known():
            case = store.get(id)
            page = to_page(case, gallery)
        shown = [result.key for result in case.findings.results]
        audit.record(request.state.caller.name, "case", case.search.filters, shown, case=id, format="html")
        # What others wrote is read as a file, not as a page of this service.
        headers = {"Content-Disposition": f'attachment; filename="case-{id[:8]}.html"'}
        return Response(page, media_type="text/html; charset=utf-8", headers=headers)

    @router.get("/case-pictures/{id}", response_class=Response, responses=NO_SUCH_CASE)
    def picture(
        id: str,
        store: Store,
        number: Annotated[Whole, Query(ge=0, lt=MAX_IMAGES, description="of one of its images")] = 0,
    ) -> Response:
        """The small JPEG of what a case searches with."""
        with _known():
            images = store.get(id).images
        if number >= len(images):
            raise HTTPException(404, f"the case has {len(images)} images; `number` counts them from 0")
        headers = {"Cache-Control": "private, max-age=60"}
        return Response(images[number].picture, media_type="image/jpeg", headers=headers)


def add_case_changes(router: APIRouter, searcher: Searcher, audit: Audit) -> None:
    """Add the routes that make and change cases, for keys that may write."""
    gallery = searcher.gallery
    Store = Annotated[CaseStore, Depends(_cases_of(gallery))]  # noqa: N806 - a type
    keeping = [Depends(may_keep)]

    # PUT, PATCH and DELETE, which no page of another site can have a browser send without asking first.
    @router.put("/cases/{id}", dependencies=keeping, responses=UNUSABLE_IMAGE | NO_SUCH_CASE)
    def save(
        request: Request,
        id: str,
        store: Store,
        name: Annotated[str, Form(min_length=1, max_length=MAX_NAME)],
        notes: Annotated[str, Form(max_length=MAX_NOTES)] = "",
        alarms_per_day: Annotated[Real, Form(ge=0, le=1000, description=_ALARMS)] = 0,
        image: Annotated[
            list[UploadFile] | None,
            File(description="of one vehicle, as in a search; kept with the case", max_length=MAX_IMAGES),
        ] = None,
        key: Annotated[str | None, Form(description="in the images' place: one of the gallery's")] = None,
        box: Annotated[
            str | None, Form(description="LEFT,TOP,RIGHT,BOTTOM of the vehicle in the one image, in pixels")
        ] = None,
        words: Annotated[str, Form(max_length=500, description="what the filters were made of")] = "",
        asked: SearchOptions = Depends(search_options),  # noqa: B008
        filters: Filters = Depends(conditions(Form, gallery.model.card)),  # noqa: B008
    ) -> dict[str, Any]:
        """Search, and keep the search and what it finds as a case of this id, new or in its place.

        The id has 32 hexadecimal digits, which whoever makes a case draws.
        """
        if not is_id(id):
            raise HTTPException(422, "a case's id has 32 hexadecimal digits; draw one")
        if image and key:
            raise HTTPException(422, "`image` and `key` are both searched with; leave one out")
        if box and len(image or ()) != 1:
            raise HTTPException(422, "a box is one of a single image; cut the others out before")
        if asked.soft and not image and not key:
            raise HTTPException(422, "soft orders what an image finds; none was sent")
        charge(request, len(image or ()))
        queries: list[Encoded] = []
        images: list[CaseImage] = []
        for upload in image or ():
            data = upload.file.read(MAX_BYTES + 1)
            part = crop(InputImage(data), box_of(box))
            queries.append(searcher.encode(part))
            images.append(CaseImage("", data, box_of(box), display_jpeg(part.pixels)))
        search = SavedSearch(
            words,
            asked.hard(filters),
            asked.feedback,
            asked.k,
            asked.group or "none",
            asked.rerank,
            asked.camera,
            asked.looks(filters),
        )
        with gallery.read_transaction():
            if key:
                query = searcher.recall(key)
                if query is None:
                    raise HTTPException(422, f"{key!r}: the gallery has no image of this key")
                queries.append(query)
                images.append(CaseImage(key, picture=gallery.picture(key) or b""))
            if queries:
                left_out = (key,) if key else ()
                results = searcher.search(queries, asked.k, without=left_out, **asked.refinement(filters))
            else:
                results = gallery.browse(filters, asked.k, without=asked.feedback.negative)
            embedding, findings = findings_of(searcher, queries, search, results, asked.false_match_rate)
        by = request.state.caller.name
        audit.record(by, "case", filters, [result.key for result in results], case=id, key=key or "")
        with _known():
            case = Case(
                id,
                name,
                tuple(images),
                embedding,
                search,
                findings,
                notes=notes,
                alarms_per_day=alarms_per_day,
            )
            return _told(store.put(case, by), store)

    @router.patch("/cases/{id}", dependencies=keeping, responses=NO_SUCH_CASE | UNREADABLE_BODY)
    def change(
        request: Request,
        id: str,
        store: Store,
        name: Annotated[str | None, Body(embed=True, max_length=MAX_NAME)] = None,
        notes: Annotated[str | None, Body(embed=True, max_length=MAX_NOTES)] = None,
        is_closed: Annotated[bool | None, Body(embed=True)] = None,
        alarms_per_day: Annotated[Real | None, Body(embed=True, ge=0, le=1000, description=_ALARMS)] = None,
        is_seen: Annotated[
            bool, Body(embed=True, description="that somebody has looked at what its watch found")
        ] = False,
    ) -> dict[str, Any]:
        """Rename a case, write notes, close it or open it again, set its watch; what is left out stays."""
        asked = {"name": name, "notes": notes, "is_closed": is_closed, "alarms_per_day": alarms_per_day}
        changes = {each: value for each, value in asked.items() if value is not None}
        with _known():
            if is_seen:
                store.mark_seen(id)
            by = request.state.caller.name
            return _told(store.change(id, by, **changes) if changes else store.get(id), store)

    @router.delete("/cases/{id}", dependencies=keeping, responses=NO_SUCH_CASE)
    def delete(id: str, store: Store) -> dict[str, bool]:
        """Take a case away for good; one that is not there is no error."""
        with _known():
            return {"deleted": store.delete(id)}


def _cases_of(gallery: Gallery) -> Callable[[], CaseStore]:
    """What gives the cases of a gallery, or refuses where they cannot be kept."""
    kept = CaseStore(gallery.folder)

    def cases() -> CaseStore:
        if not gallery.owns_folder:
            raise HTTPException(422, "this gallery is not in a folder, where cases are kept")
        return kept

    return cases


@contextmanager
def _known() -> Iterator[None]:
    """Answer 404 where there is no such case, and 422 where it cannot be kept as it is asked."""
    try:
        yield
    except UnknownCaseError as error:
        raise HTTPException(404, str(error)) from error
    except UnfitCaseError as error:
        raise HTTPException(422, str(error)) from error


def _summary(case: Case, store: CaseStore) -> dict[str, Any]:
    state = store.watch_state(case.id)
    return {
        "id": case.id,
        "name": case.name,
        "is_closed": case.is_closed,
        "verdict": case.findings.verdict,
        "results": len(case.findings.results),
        "like": len(case.search.feedback.positive),
        "unlike": len(case.search.feedback.negative),
        "alarms_per_day": case.alarms_per_day,
        "unseen": 0 if state is None else state.unseen,
        "created": case.created,
        "created_by": case.created_by,
        "changed": case.changed,
        "changed_by": case.changed_by,
    }


def _told(case: Case, store: CaseStore) -> dict[str, Any]:
    search, findings = case.search, case.findings
    state = store.watch_state(case.id)
    return _summary(case, store) | {
        "notes": case.notes,
        "images": [{"key": image.key or None, "box": image.box} for image in case.images],
        "words": search.words,
        "filters": search.filters.parameters(),
        "like": search.feedback.positive,
        "unlike": search.feedback.negative,
        "k": search.k,
        "group": None if search.group == "none" else search.group,
        "rerank": search.rerank,
        "query_camera": search.query_camera,
        "soft": None if search.looks is None else {"color": search.looks.colors, "type": search.looks.types},
        "false_match_rate": findings.false_match_rate,
        "model": findings.model,
        "gallery_images": findings.images,
        "searched": findings.searched,
        "results": [result.as_json(_FOUND) for result in findings.results],
        "images_a_day": None if state is None else state.images_a_day(time.time()),
        "alarms": [] if state is None else [asdict(alarm) for alarm in state.found],
    }
