"""Who may ask: everything but health and readiness needs a key, where the service has a key file."""

import asyncio
import base64
import binascii
from dataclasses import dataclass

from anyio import CancelScope, CapacityLimiter, to_thread
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Send
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

CHECKED_AGAIN = 2.0
"""Seconds after which the key of an answer that goes on is looked up again."""

_PIECE = 2**16
"""Bytes of an answer that are handed on at a time: what is handed on already cannot be held back."""

_THREADS = 4
"""For keys alone, which therefore never wait for work."""


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
        self._threads = CapacityLimiter(_THREADS)

    async def __call__(self, scope: Request, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "websocket" and self._keys is not None:
            # Nothing here uses one; none slips past the keys.
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            caller: Caller | JSONResponse | None = LOCAL
            if self._keys is not None and scope["path"] not in OPEN:
                caller = await self._identify(self._keys, scope)
            if isinstance(caller, JSONResponse):
                await caller(scope, receive, send)
                return
            scope.setdefault("state", {})["caller"] = caller
            if self._keys is not None and scope["path"] not in OPEN:
                await self._while_known(self._keys, scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _identify(self, keys: KeyRing, scope: Request) -> Caller | JSONResponse:
        return await to_thread.run_sync(_identify, keys, Headers(scope=scope), limiter=self._threads)

    async def _while_known(self, keys: KeyRing, scope: Request, receive: Receive, send: Send) -> None:
        """Answer as long as the key is one: a download lasts as long as its reader is slow, and an event
        stream as long as its page is open.
        """
        begun = ended = has_length = False

        async def in_pieces(message: Message) -> None:
            nonlocal begun, ended, has_length
            body, more = message.get("body", b""), message.get("more_body", False)
            begun = True
            has_length |= any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
            start = 0
            while len(body) - start > _PIECE:
                piece = body[start : start + _PIECE]
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                start += _PIECE
            await send({**message, "body": body[start:]} if start else message)
            ended = message["type"] == "http.response.body" and not more

        async def watch() -> None:
            while True:
                await asyncio.sleep(CHECKED_AGAIN)
                if isinstance(await self._identify(keys, scope), JSONResponse):
                    allowed.cancel()

        with CancelScope() as allowed:
            watcher = asyncio.ensure_future(watch())
            try:
                await self._app(scope, receive, in_pieces)
            finally:
                watcher.cancel()
        if allowed.cancelled_caught and not ended:
            refusal = await self._identify(keys, scope)
            if begun and not has_length:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            elif not begun and isinstance(refusal, JSONResponse):
                await refusal(scope, receive, send)
            # Of an answer that has said how long it is, the server closes the connection: what has come of
            # it must not look whole.


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
