"""What the service refuses before anything else sees it: large bodies, foreign hosts, doors nobody needs."""

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zoo.preprocess import MAX_BYTES

MAX_BODY = MAX_BYTES + 2**20
"""Bytes of a request: one image of the largest kind, and the form around it."""

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

# The page never loads anything from elsewhere; a browser that is told so refuses even where a library tries.
_HEADERS = (
    (b"content-security-policy", b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"no-referrer"),
)

# Of Gradio's own interface, what the page uses. The rest can proxy, fetch, profile or edit.
_GRADIO = "/gradio_api/"
_GRADIO_USED = (
    "upload",
    "upload_progress",
    "queue/",
    "heartbeat/",
    "cancel",
    "reset",
    "run/",
    "file=/",
    "startup-events",
    "app_id",
    "info",
    "login_check",
    "token",
    "user",
)
_CLOSED = ("/monitoring", "/vibe", "/dev/", "/runs")


class _BodyTooLargeError(Exception):
    pass


class Limits:
    """ASGI middleware around the whole service.

    Args:
        app: the service.
        hosts: names that the service goes by; a page elsewhere that had its own name resolve to this machine
            (DNS rebinding) is refused. None for any name, where keys protect the service: a browser does
            not send a key to another name than it was entered for.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None = LOOPBACK) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope["path"], headers)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        seen = 0
        refused = False

        async def counted() -> Message:
            nonlocal seen, refused
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > MAX_BODY:
                # Answered from here: what reads the body would call it a broken form.
                refused = True
                await _too_large()(scope, receive, send)
                raise _BodyTooLargeError
            return message

        async def secured(message: Message) -> None:
            if refused:
                return
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        try:
            await self._app(scope, counted, secured)
        except Exception:
            if not refused:
                raise

    def _refusal(self, path: str, headers: Headers) -> JSONResponse | None:
        host = headers.get("host", "")
        if self._hosts is not None and _host_name(host) not in self._hosts:
            return JSONResponse({"detail": "this service answers on the loopback address only"}, 421)
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            # A browser would send along the key that its user entered here.
            return JSONResponse({"detail": "pages of other sites may not use this service"}, 403)
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not _is_link(
            path, headers
        ):
            # What such a page shows or runs of here, such as a picture, is asked for without an Origin.
            return JSONResponse({"detail": "pages of other sites may not use this service"}, 403)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY:
            return _too_large()
        if path.startswith(_CLOSED) or (
            path.startswith(_GRADIO) and not path.removeprefix(_GRADIO).startswith(_GRADIO_USED)
        ):
            return JSONResponse({"detail": "not found"}, 404)
        return None


def _too_large() -> JSONResponse:
    return JSONResponse({"detail": f"the request is larger than {MAX_BODY} bytes; send a smaller image"}, 413)


def _is_link(path: str, headers: Headers) -> bool:
    """Whether a browser opens the page by a link elsewhere, in a tab of its own."""
    return path == "/" and headers.get("sec-fetch-dest") == "document"


def _host_name(host: str) -> str:
    """`[::1]:80` is `::1`, `localhost:80` is `localhost`."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()
