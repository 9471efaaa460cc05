"""Gradio's blocks with a lock on files: an event may name an uploaded file and nothing else."""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.route_utils import FnIndexInferError
from gradio.utils import get_upload_folder
from starlette.requests import Request
from starlette.responses import JSONResponse


class GuardedBlocks(gr.Blocks):
    """Blocks whose events name no path and no address outside the upload folder.

    Gradio copies any file, and fetches any address, that an event's data names to where it serves files from;
    its own check is off until `launch()` has run, which a mounted page never calls.
    """

    async def preprocess_data(
        self, block_fn: Any, inputs: list[Any], state: Any, explicit_call: bool = False
    ) -> list[Any]:
        """Check what came from the browser, then go on as Gradio does."""
        refuse_foreign_files(inputs)
        processed: list[Any] = await super().preprocess_data(block_fn, inputs, state, explicit_call)
        return processed


async def _unknown_function(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": "the page has no such function"}, 404)


UNKNOWN_FUNCTION = {KeyError: _unknown_function, FnIndexInferError: _unknown_function}
"""What Gradio raises where a request names a function that no page has; it would answer 500."""


def refuse_foreign_files(value: Any) -> None:
    """Raise `gr.Error` where a file of an event's data does not lie in the upload folder."""
    if isinstance(value, dict):
        path = value.get("path")
        if path is not None and not _is_upload(path):
            raise gr.Error("Only uploaded images can be searched for.", print_exception=False)
        for item in value.values():
            refuse_foreign_files(item)
    elif isinstance(value, list):
        for item in value:
            refuse_foreign_files(item)


def _is_upload(path: Any) -> bool:
    if not isinstance(path, str) or "\0" in path or "://" in path:
        return False
    return Path(path).resolve().is_relative_to(Path(get_upload_folder()).resolve())
