"""Filters as a request gives them: the same names in a form and in an address."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import HTTPException

from retrieval.gallery.clock import parse_time
from retrieval.gallery.entries import Box
from retrieval.gallery.filters import Filters
from retrieval.gallery.geography import parse_near
from retrieval.sources.crop import parse_box
from zoo.card import Card
from zoo.errors import UserError

INT64 = {"ge": -(2**63), "le": 2**63 - 1}
MAX_VALUES = 1000
"""Values of one filter."""


def conditions(field: Callable[..., Any], card: Card) -> Callable[..., Filters]:
    """Make the dependency that reads filters.

    Args:
        field: `fastapi.Form` or `fastapi.Query`.
        card: what colours and types there are.
    """
    several = {"max_length": MAX_VALUES}

    def read(
        color: Annotated[list[str] | None, field(description="any of these colours", **several)] = None,
        type: Annotated[list[str] | None, field(description="any of these types", **several)] = None,
        camera: Annotated[list[int] | None, field(description="any of these camera ids", **several)] = None,
        after: Annotated[str | None, field(description="seconds, 8:05:30, or an ISO date")] = None,
        before: Annotated[str | None, field(description="likewise")] = None,
        vehicle: Annotated[list[int] | None, field(description="any of these vehicle ids", **several)] = None,
        near: Annotated[str | None, field(description="LATITUDE,LONGITUDE,METRES")] = None,
        color_confidence: Annotated[
            float, field(ge=0, le=1, description="the colour's least probability")
        ] = 0,
        type_confidence: Annotated[float, field(ge=0, le=1, description="the type's least probability")] = 0,
    ) -> Filters:
        try:
            filters = Filters(
                colors=tuple(color or ()),
                types=tuple(type or ()),
                cameras=_ids("camera", camera),
                after=parse_time(after) if after else None,
                before=parse_time(before) if before else None,
                vehicles=_ids("vehicle", vehicle),
                near=parse_near(near) if near else None,
                color_confidence=color_confidence,
                type_confidence=type_confidence,
            )
            filters.check(card)
        except UserError as error:
            raise HTTPException(422, str(error)) from error
        return filters

    return read


def box_of(text: str | None) -> Box | None:
    """The box that a request gives; 422 where it is none."""
    try:
        return parse_box(text) if text else None
    except UserError as error:
        raise HTTPException(422, str(error)) from error


def _ids(what: str, values: list[int] | None) -> tuple[int, ...]:
    for value in values or ():
        if not INT64["ge"] <= value <= INT64["le"]:
            raise UserError(f"{value} is not a {what} id")
    return tuple(values or ())
