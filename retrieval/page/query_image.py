"""The page's upload field: Gradio's image field, whose files only our own decoder opens."""

import base64
import binascii
from abc import ABCMeta
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.component_meta import ComponentMeta
from gradio.data_classes import ImageData

from retrieval.page.texts import LANGUAGES, Say
from serving.encoders.image import InputImage
from zoo.preprocess import MAX_BYTES


class _WithoutStub(ComponentMeta):
    """Gradio's metaclass writes a `.pyi` file beside each component's source; this one writes nothing."""

    def __new__(mcs, name: str, bases: tuple[type, ...], attributes: dict[str, Any]) -> type:
        return ABCMeta.__new__(mcs, name, bases, attributes)


class QueryImage(gr.Image, metaclass=_WithoutStub):
    """An image field that hands over the file's own bytes.

    Gradio's field opens the file with Pillow, without limits and with every format, and re-encodes it; the
    search has to see the very bytes, and a bad file has to end in a sentence rather than an exception.
    """

    is_template = True

    def preprocess(self, payload: ImageData | None) -> InputImage | None:  # type: ignore[override]
        """Read the upload; `GuardedBlocks` has checked that its path lies in the upload folder."""
        if payload is None:
            return None
        name = payload.orig_name or "the image"
        if payload.url and payload.url.startswith("data:"):
            encoded = payload.url.partition(",")[2]
            try:
                return InputImage(base64.b64decode(encoded, validate=True), name)
            except (binascii.Error, ValueError):
                return InputImage(b"", name)
        if not payload.path:
            return None
        try:
            with open(payload.path, "rb") as file:
                return InputImage(file.read(MAX_BYTES + 1), Path(name).name)
        except FileNotFoundError:
            # Uploads do not stay for ever, pages may; see `retrieval.page.upkeep`.
            told = " ".join(Say(language)("forgotten") for language in LANGUAGES)
            raise gr.Error(told, print_exception=False) from None
