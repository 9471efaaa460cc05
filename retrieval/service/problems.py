"""The errors of the REST interface, as its OpenAPI describes them."""

from typing import Any

from pydantic import BaseModel

Responses = dict[int | str, dict[str, Any]]


class Problem(BaseModel):
    """A sentence, or a list of what is wrong with each parameter."""

    detail: str | list[dict[str, Any]]


def problems(descriptions: dict[int, str]) -> Responses:
    """Describe what each status means."""
    return {status: {"model": Problem, "description": text} for status, text in descriptions.items()}


EVERYWHERE = problems(
    {
        401: "no valid key",
        403: "the key, or the service, may only read; or another site's page asks",
        422: "a field that there is not, or a value that makes no sense",
        429: "this key asks too often",
        503: "the gallery, the encoder or the audit log fails; `detail` says why",
    }
)
NO_FIELDS = problems({422: "a field, where none is taken"})
NO_SUCH_KEY = problems({404: "no image of this key"})
UNREADABLE_BODY = problems({400: "a body that is not JSON"})
NO_SUCH_CASE = problems({404: "no case of this id"})
NO_KEY_AT_ALL = problems({404: "a key with a line break, which no image can have"})
UNUSABLE_IMAGE = problems(
    {400: "an image that cannot be used, or a form that cannot be read", 413: "too large"}
)
