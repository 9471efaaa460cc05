"""What a request asks for: filters, by the same names in a form and in an address, and nothing unknown."""

from collections.abc import Callable, Iterator
from inspect import Parameter, Signature
from typing import Annotated, Any

from fastapi import HTTPException, Request
from fastapi.dependencies.models import Dependant
from pydantic import BeforeValidator

from retrieval.gallery.entries import Box
from retrieval.gallery.filters import FIELDS, FilterField, Filters, Kind, unknown_field
from retrieval.sources.crop import parse_box
from zoo.card import Card
from zoo.errors import UserError
from zoo.numbers import plain

Whole = Annotated[int, BeforeValidator(plain)]
Real = Annotated[float, BeforeValidator(plain)]
"""Numbers of requests."""

MAX_VALUES = 1000
"""Values of one filter."""

_TYPES: dict[Kind, Any] = {
    "class": list[str] | None,
    "camera": list[Whole] | None,
    "id": list[Whole] | None,
    "time": str | None,
    "place": str | None,
    "probability": Real,
}
_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


def conditions(source: Callable[..., Any], card: Card) -> Callable[..., Filters]:
    """Make the dependency that reads filters.

    Args:
        source: `fastapi.Form` or `fastapi.Query`.
        card: what colours and types there are.
    """

    def read(**values: Any) -> Filters:
        try:
            filters = Filters.read(values)
            filters.check(card)
        except UserError as error:
            raise HTTPException(422, str(error)) from error
        return filters

    # FastAPI reads the signature, and describes each parameter in OpenAPI.
    vars(read)["__signature__"] = Signature([_parameter(field, source) for field in FIELDS])
    return read


def _parameter(field: FilterField, source: Callable[..., Any]) -> Parameter:
    limits: dict[str, Any] = {"max_length": MAX_VALUES} if field.is_multiple else {}
    if field.kind == "probability":
        limits = {"ge": 0, "le": 1}
    described = source(description=f"{field.help} ({field.form})", **limits)
    return Parameter(
        field.name,
        Parameter.KEYWORD_ONLY,
        default=0 if field.kind == "probability" else None,
        annotation=Annotated[_TYPES[field.kind], described],
    )


async def refuse_unknown_fields(request: Request) -> None:
    """Answer 422, as a dependency of a route, where a field is given that the route does not take."""
    dependant = request.scope["route"].dependant
    in_address = {field.alias for each in _all(dependant) for field in each.query_params}
    in_body = {field.alias for each in _all(dependant) for field in each.body_params}
    for name in request.query_params:
        if name in in_body and name not in in_address:
            raise HTTPException(422, f"the field {name!r} belongs into the form, not into the address")
        if name not in in_address:
            raise HTTPException(422, unknown_field(name, in_address or in_body))
    for name in await _body_fields(request):
        if name in in_address and name not in in_body:
            raise HTTPException(422, f"the field {name!r} belongs into the address, not into the body")
        if name not in in_body:
            raise HTTPException(422, unknown_field(name, in_body or in_address))


def _all(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for each in dependant.dependencies:
        yield from _all(each)


async def _body_fields(request: Request) -> list[str]:
    """Names of a form's fields, or of a JSON object's."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in _FORMS:
        # FastAPI has read it already, where the route takes a form.
        return list(await request.form())
    if kind != "application/json":
        return []
    try:
        content = await request.json()
    except (ValueError, RecursionError):
        return []
    return list(content) if isinstance(content, dict) else []


def box_of(text: str | None) -> Box | None:
    """The box that a request gives; 422 where it is none."""
    try:
        return parse_box(text) if text else None
    except UserError as error:
        raise HTTPException(422, str(error)) from error
