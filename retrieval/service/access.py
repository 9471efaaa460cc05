"""Who may ask: everything but health and readiness needs a key, where the service has a key file."""

import base64
import binascii
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Request

from retrieval.keys import KeyRing, Scope
from zoo.errors import UserError

OPEN = frozenset({"/health", "/ready"})
"""Paths that are answered without a key: what a supervisor asks."""


@dataclass(frozen=True)
class Caller:
    """Who asks: the name and the scope of the key."""

    name: str | None
    scope: Scope


LOCAL = Caller(None, "write")
"""Who asks a service without keys, which listens on the loopback address only."""


class Access:
    """ASGI middleware that lets nobody in without a key and tells the service who asks.

    A program sends `Authorization: Bearer KEY`. A browser asks its user for a name, which may be any, and the
    key as the password, and sends it with every request of the page (RFC 7617): pictures, uploads and event
    streams as well.

    Args:
        app: the service.
        keys: None for a service without keys.
    """

    def __init__(self, app: ASGIApp, keys: KeyRing | None) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Request, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "websocket" and self._keys is not None:
            # Nothing here uses one; none slips past the keys.
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            caller: Caller | JSONResponse | None = LOCAL
            if self._keys is not None and scope["path"] not in OPEN:
                caller = await run_in_threadpool(_identify, self._keys, Headers(scope=scope))
            if isinstance(caller, JSONResponse):
                await caller(scope, receive, send)
                return
            scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)


def _identify(keys: KeyRing, headers: Headers) -> Caller | JSONResponse:
    secret = _secret(headers.get("authorization", ""))
    try:
        key = None if secret is None else keys.find(secret)
    except UserError:
        # What is wrong with the file concerns its owner, not who asks.
        return JSONResponse({"detail": "the key file of this service cannot be read"}, 503)
    if key is None:
        return JSONResponse(
            {"detail": "a valid API key is needed: send `Authorization: Bearer KEY`"},
            401,
            {"WWW-Authenticate": 'Basic realm="Vehicle search: the key is the password", charset="UTF-8"'},
        )
    return Caller(key.name, key.scope)


def _secret(authorization: str) -> str | None:
    kind, _, value = authorization.partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, ValueError):
            return None
    return None
