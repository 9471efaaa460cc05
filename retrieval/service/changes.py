"""Changes of the gallery over REST: add an image, add many, remove one."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, HTTPException, Path, Request, UploadFile
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Json, model_validator

from retrieval.gallery.base import Gallery
from retrieval.gallery.clock import parse_time
from retrieval.gallery.entries import Box, Entry, Facts, Result
from retrieval.gallery.filters import INT64, unknown_field
from retrieval.query.searcher import Searcher
from retrieval.service.conditions import Real, Whole, box_of
from retrieval.service.entries import LISTED
from retrieval.service.problems import NO_KEY_AT_ALL, UNUSABLE_IMAGE
from retrieval.service.prometheus import Metrics
from retrieval.service.rates import charge
from retrieval.sources.crop import crop
from retrieval.sources.source import digest, display_jpeg
from serving.encoders.image import InputImage
from zoo.errors import UserError
from zoo.preprocess import MAX_BYTES, ImageError

MAX_KEY = 512
MAX_BATCH = 64
"""Images of one request."""


def _printable(key: str) -> str:
    if not key.isprintable():
        raise ValueError("a key consists of printable characters")
    return key


_FormId = Annotated[Whole | None, Form(**INT64)]
_Id = Annotated[Whole | None, Field(**INT64)]


class Item(BaseModel):
    """What is known of one image of many."""

    model_config = ConfigDict(extra="forbid")

    key: Annotated[str, Field(min_length=1, max_length=MAX_KEY), AfterValidator(_printable)]
    vehicle_id: _Id = None
    track_id: _Id = None
    camera: _Id = None
    time: str | float | None = Field(None, description="seconds, 8:05:30, or an ISO date")
    latitude: Real | None = Field(None, ge=-90, le=90)
    longitude: Real | None = Field(None, ge=-180, le=180)
    box: str | None = Field(None, description="LEFT,TOP,RIGHT,BOTTOM of the vehicle, in pixels, upright")

    @model_validator(mode="before")
    @classmethod
    def _known(cls, values: Any) -> Any:
        for name in values if isinstance(values, dict) else ():
            if name not in cls.model_fields:
                raise ValueError(unknown_field(name, cls.model_fields))
        return values

    def facts(self) -> Facts:
        """The same as the gallery keeps it; 422 where it makes no sense."""
        if (self.latitude is None) != (self.longitude is None):
            raise HTTPException(422, f"{self.key}: a place has a latitude and a longitude")
        try:
            seconds = None if self.time in (None, "") else parse_time(str(self.time))
        except UserError as error:
            raise HTTPException(422, f"{self.key}: {error}") from error
        return Facts(
            vehicle_id=self.vehicle_id,
            track_id=self.track_id,
            camera=self.camera,
            time=seconds,
            latitude=self.latitude,
            longitude=self.longitude,
            box=box_of(self.box),
        )


def may_write(gallery: Gallery) -> Callable[[Request], None]:
    """What refuses, with 403, who may not write to a gallery."""

    def check(request: Request) -> None:
        if request.state.caller.scope != "write":
            raise HTTPException(403, "this key may only read; a key of the scope `write` is needed")
        if not gallery.writable:
            raise HTTPException(403, "this service only reads the gallery; start it with --writable")

    return check


def add_change_routes(router: APIRouter, searcher: Searcher, metrics: Metrics) -> None:
    """Add the routes that change the gallery of `searcher`."""
    gallery = searcher.gallery
    card = gallery.model.card

    writing = [Depends(may_write(gallery))]

    # PUT and DELETE, which no page of another site can have a browser send without asking first.
    @router.put("/entries", dependencies=writing, responses=UNUSABLE_IMAGE)
    def add_many(
        request: Request,
        image: Annotated[
            list[UploadFile],
            File(description="JPEG, PNG, WebP or BMP files, in the order of `entries`", max_length=MAX_BATCH),
        ],
        entries: Annotated[
            Json[list[Item]],
            Form(description="a JSON list with what is known of each image, its `key` first"),
        ],
    ) -> dict[str, Any]:
        """Add images, or replace those of these keys; once answered, they survive whatever happens.

        An image that cannot be used is reported in `errors`, by its key, and the others are added.
        """
        if len(entries) != len(image):
            raise HTTPException(422, f"{len(image)} images and {len(entries)} entries; one of each is needed")
        if len({item.key for item in entries}) != len(entries):
            raise HTTPException(422, "a key comes twice")
        charge(request, len(image))
        asked = [
            (item.key, item.facts(), upload.file.read(MAX_BYTES + 1))
            for item, upload in zip(entries, image, strict=True)
        ]
        made, errors = _encode(searcher, asked)
        changed = gallery.add(made)
        metrics.added.inc(changed)
        return {
            "changed": changed,
            "entries": [Result.of(entry, card).as_json(LISTED) for entry in made],
            "errors": errors,
        }

    @router.put("/entries/{key:path}", dependencies=writing, responses=UNUSABLE_IMAGE | NO_KEY_AT_ALL)
    def add(
        key: Annotated[str, Path(min_length=1, max_length=MAX_KEY), AfterValidator(_printable)],
        image: Annotated[UploadFile, File(description="a JPEG, PNG, WebP or BMP of one vehicle")],
        vehicle_id: _FormId = None,
        track_id: _FormId = None,
        camera: _FormId = None,
        time: Annotated[str | None, Form(description="seconds, 8:05:30, or an ISO date")] = None,
        latitude: Annotated[Real | None, Form(ge=-90, le=90)] = None,
        longitude: Annotated[Real | None, Form(ge=-180, le=180)] = None,
        box: Annotated[
            str | None, Form(description="LEFT,TOP,RIGHT,BOTTOM of the vehicle, in pixels, upright")
        ] = None,
    ) -> dict[str, Any]:
        """Add an image, or replace the one of this key; once answered, it survives whatever happens."""
        item = Item(
            key=key,
            vehicle_id=vehicle_id,
            track_id=track_id,
            camera=camera,
            time=time,
            latitude=latitude,
            longitude=longitude,
            box=box,
        )
        made, errors = _encode(searcher, [(key, item.facts(), image.file.read(MAX_BYTES + 1))])
        if errors:
            raise HTTPException(400, errors[key])
        changed = gallery.add(made)
        metrics.added.inc(changed)
        return {"changed": bool(changed), "entry": Result.of(made[0], card).as_json(LISTED)}

    @router.delete("/entries/{key:path}", dependencies=writing, responses=NO_KEY_AT_ALL)
    def remove(key: str) -> dict[str, bool]:
        """Take an image out; one that is not there is no error."""
        removed = gallery.remove([key])
        metrics.removed.inc(removed)
        return {"removed": bool(removed)}


def _encode(
    searcher: Searcher, asked: Sequence[tuple[str, Facts, bytes]]
) -> tuple[list[Entry], dict[str, str]]:
    """Make entries of keys, facts and image files; what cannot be used, and why, by its key."""
    usable: list[tuple[str, Facts, str, InputImage, bytes]] = []
    errors: dict[str, str] = {}
    card = searcher.encoder.card

    def made_small(data: bytes, box: Box | None) -> tuple[bytes, InputImage]:
        image = crop(InputImage(data), box)
        return display_jpeg(image.pixels), image.at_size(card.input_size, card.antialias)

    for key, facts, data in asked:
        try:
            # The pixels of one go before the next are decoded.
            picture, image = made_small(data, facts.box)
            usable.append((key, facts, digest(data, facts), image, picture))
        except ImageError as error:
            errors[key] = str(error)
    made = []
    queries = searcher.encode_all([image for *_, image, _ in usable]) if usable else []
    for (key, facts, found, _, picture), query in zip(usable, queries, strict=True):
        if isinstance(query, str):
            errors[key] = query
            continue
        entry = Entry(
            key=key,
            embedding=query.embedding,
            color_probs=query.color_probs,
            type_probs=query.type_probs,
            picture=picture,
            source="REST",
            digest=found,
            **facts.facts,
        )
        made.append(entry)
    return made, errors
