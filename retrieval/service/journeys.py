"""Vehicles' ways through the cameras over REST, and what people say of their links."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Form, HTTPException, Request

from retrieval.gallery.filters import Filters
from retrieval.journeys.journey import Step, journey
from retrieval.journeys.store import LinkStore
from retrieval.query.searcher import Searcher
from retrieval.service.audit import Audit
from retrieval.service.problems import NO_SUCH_KEY


def add_journey_routes(
    router: APIRouter, searcher: Searcher, audit: Audit, may_write: Callable[[Request], None]
) -> None:
    """Add the routes that show journeys and mark their links, where the gallery is in a folder."""
    gallery = searcher.gallery

    def links() -> LinkStore:
        if not gallery.owns_folder:
            raise HTTPException(422, "this gallery is not in a folder, where journeys are kept")
        return LinkStore(gallery.folder)

    def way(key: str, store: LinkStore) -> list[Step]:
        steps = journey(gallery, store, key)
        if steps is None:
            raise HTTPException(404, f"{key!r}: the gallery has no image of this key")
        return steps

    @router.get("/journey/{key:path}", responses=NO_SUCH_KEY)
    def show(request: Request, key: str, store: Annotated[LinkStore, Depends(links)]) -> dict[str, Any]:
        """The way of the vehicle that an image shows, as `vehicle-reid link` and people have joined it.

        Each step says how certain the next one is, the time and the speed to it, and what else may come next.
        """
        steps = way(key, store)
        shown = [image.key for step in steps for image in step.images]
        audit.record(request.state.caller.name, "journey", Filters(), shown, key=key)
        return {"key": key, "steps": [step.as_json() for step in steps]}

    # PUT, which no page of another site can have a browser send without asking first.
    @router.put("/links", dependencies=[Depends(may_write)], responses=NO_SUCH_KEY)
    def mark(
        request: Request,
        earlier: Annotated[str, Form(description="the key of an image")],
        later: Annotated[
            str, Form(description="the key of an image of the pass after it, or of another one")
        ],
        verdict: Annotated[
            Literal["confirmed", "cut", "none"],
            Form(
                description="`confirmed`: the later one comes next in the vehicle's way; `cut`: they show "
                "different vehicles; `none` takes it back"
            ),
        ],
        store: Annotated[LinkStore, Depends(links)],
    ) -> dict[str, Any]:
        """Confirm a link between two passes, or cut it; runs to come keep to it."""
        with gallery.read_transaction():
            found = {result.key: result for result in gallery.results([earlier, later])}
            for key in (earlier, later):
                if key not in found:
                    raise HTTPException(404, f"{key!r}: the gallery has no image of this key")
            if store.pass_of(earlier) == store.pass_of(later):
                raise HTTPException(422, "`earlier` and `later` show the same pass")
            times = found[earlier].time, found[later].time
            if verdict == "confirmed" and (times[0] is None or times[1] is None or times[0] >= times[1]):
                raise HTTPException(422, "`later` has to be of a later time than `earlier`")
            name = request.state.caller.name
            store.mark(earlier, later, None if verdict == "none" else verdict, name)
            return {"key": earlier, "steps": [step.as_json() for step in way(earlier, store)]}
