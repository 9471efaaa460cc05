"""What a request to a server is called: the server's own logs and traces tell it."""

from contextvars import ContextVar

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""Of what this thread or task does; empty where it has no name."""
