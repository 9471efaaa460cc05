"""What the page's events do to the image that is searched with: chosen, boxed, recalled, or brought back."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from retrieval.cases.case import Case
from retrieval.cases.store import CaseStore
from retrieval.gallery.entries import Box
from retrieval.page import panels
from retrieval.page.address import MAX_OTHERS, OF_GALLERY, Address
from retrieval.page.audited_searcher import AuditedSearcher
from retrieval.page.filter_fields import EMPTY, contents
from retrieval.page.state import Answer, QueryState, detail
from retrieval.page.texts import Say
from retrieval.page.uploads import Uploads
from retrieval.query.feedback import Feedback
from retrieval.sources.crop import crop
from retrieval.sources.detector import Detection, Detector, DetectorError
from retrieval.sources.scenes import vehicles_of
from retrieval.sources.source import display_jpeg
from serving.encoders.image import InputImage
from zoo.decoding_memory import DecoderBusyError
from zoo.errors import UserError
from zoo.preprocess import MAX_BYTES, ImageError

DEFAULT_RESULTS = 20
MAX_RESULTS = 100
"""Of the slider, until more are asked for."""
MAX_SHARED = 1000
"""Results that an address may ask for."""
_FRESH: Answer = {"state": QueryState(), "feedback": Feedback(), "looks": None, "scene": "", "case": ""}
"""No query, and nothing that was said of one."""

_THUMBNAIL = 160
"""Pixels of an example's longer side."""


class QueryEvents:
    """The handlers of what changes the query; see `PageEvents`.

    Attributes:
        cases: of the gallery, whose searches can be brought back.
    """

    def __init__(
        self,
        searcher: AuditedSearcher,
        examples: Sequence[Path],
        uploads: Uploads,
        detector: Detector | None = None,
    ) -> None:
        self._searcher = searcher
        self._detector = detector
        self._uploads = uploads
        self._gallery = searcher.gallery
        self.cases = CaseStore(searcher.gallery.folder)
        self._examples = [(path, picture) for path in examples if (picture := _thumbnail(path)) is not None]

    def examples(self, say: Say) -> str:
        """The images to try."""
        return panels.examples([picture for _, picture in self._examples], say)

    def take_example(self, event: gr.EventData) -> Answer:
        """Put an example into the upload field, as if it had been chosen there."""
        number = detail(event, "example")
        if not isinstance(number, int) or not 0 <= number < len(self._examples):
            return {}
        return {"upload": str(self._examples[number][0])}

    def encode(self, upload: InputImage | None, state: QueryState, say: Say) -> Answer:
        """Encode a new query image: the state, no marks yet, and the scene."""
        if upload is None and state.query is not None:
            # The field was emptied because something else is searched with.
            return {}
        return _FRESH if upload is None else _FRESH | self._encode(upload, None, say)

    def draw(self, event: gr.EventData, state: QueryState, say: Say) -> Answer:
        """Encode what a box chooses; its sides come as shares of the picture's."""
        shares = _shares(detail(event, "box"))
        image = self.image(state)
        if image is None:
            return self._gone(say)
        try:
            box = None if shares is None else _in_pixels(shares, image.size)
        except (DecoderBusyError, ImageError, UserError) as error:
            return {"state": QueryState(fault=say.error(str(error)))}
        return self._encode(image, box, say, state.others)

    def whole(self, state: QueryState, say: Say) -> Answer:
        """Encode the whole picture again."""
        image = self.image(state)
        return self._gone(say) if image is None else self._encode(image, None, say, state.others)

    def add(self, further: list[str] | None, state: QueryState, say: Say) -> Answer:
        """Search with more pictures of the same vehicle; one that cannot be used is named and left out."""
        others, faults = list(state.others), []
        for path in further or ():
            if len(others) == MAX_OTHERS:
                faults.append(say("others.full", count=MAX_OTHERS + 1))
                break
            with open(path, "rb") as file:
                image = InputImage(file.read(MAX_BYTES + 1), Path(path).name)
            try:
                others.append(self._encoded(image, None))
            except (DecoderBusyError, ImageError, UserError) as error:
                faults.append(say.error(str(error)))
        if faults:
            gr.Warning(escape("; ".join(faults)))
        return {"further": None} | self._with(replace(state, others=tuple(others)), say)

    def drop(self, event: gr.EventData, state: QueryState, say: Say) -> Answer:
        """Search without one of the further pictures."""
        number = detail(event, "number")
        others = tuple(each for place, each in enumerate(state.others) if place != number)
        return self._with(replace(state, others=others), say)

    def swap(self, event: gr.EventData, state: QueryState, say: Say) -> Answer:
        """Let one of the further pictures be the one in which a box is drawn."""
        number = detail(event, "number")
        if not isinstance(number, int) or not 0 <= number < len(state.others):
            return {}
        others = list(state.others)
        chosen, others[number] = others[number], replace(state, others=())
        return self._with(replace(chosen, others=tuple(others)), say)

    def _with(self, state: QueryState, say: Say) -> Answer:
        return {"state": state} | self.scene(state, say)

    def image(self, state: QueryState) -> InputImage | None:
        """The whole picture that is searched with; None where it was forgotten."""
        if state.key:
            return InputImage(state.picture, state.key)
        data = self._uploads.get(state.upload)
        return None if data is None else InputImage(data, "the picture")

    def _gone(self, say: Say) -> Answer:
        return {"state": QueryState(fault=say("upload.gone", hours=f"{self._uploads.hours:g}")), "scene": ""}

    def _encode(
        self, upload: InputImage, box: Box | None, say: Say, others: tuple[QueryState, ...] = ()
    ) -> Answer:
        try:
            state = replace(self._encoded(upload, box), others=others)
            scene = self._drawn(upload, state, say)
        except (DecoderBusyError, ImageError, UserError) as error:
            return {"state": QueryState(fault=say.error(str(error))), "scene": ""}
        return {"state": state, "scene": scene}

    def _encoded(self, upload: InputImage, box: Box | None) -> QueryState:
        data = upload.data
        image = crop(upload, box)
        picture = display_jpeg(image.pixels)
        query = self._searcher.encode(image)
        return QueryState(query, picture, upload=self._uploads.keep(data or b""), box=box)

    def _drawn(self, upload: InputImage, state: QueryState, say: Say) -> str:
        others = [each.picture for each in state.others]
        found: list[Detection] | None = None
        if self._detector is not None:
            # Where it fails, a box can still be drawn.
            with suppress(DetectorError):
                found = vehicles_of(upload, self._detector)
        boxes = [each.box for each in found or ()]
        return panels.scene(upload, state.box, boxes, f"{self._uploads.hours:g}", others, say)

    def empty(self) -> Answer:
        """Search with no image; where the upload field was not empty, this ends in `encode` as well."""
        return _FRESH | {"upload": None}

    def similar(self, event: gr.EventData, say: Say) -> Answer:
        """Search with an image of the gallery; marks stay, and the upload field is emptied."""
        return self._recall(str(detail(event, "key")), say)

    def _recall(self, key: str, say: Say) -> Answer:
        with self._gallery.read_transaction():
            query, picture = self._searcher.recall(key), self._gallery.picture(key)
        if query is None:
            return {}
        return {
            "state": QueryState(query, picture or b"", key=key),
            "scene": panels.gallery_scene(key, [], say),
            "upload": None,
        }

    def restore(self, event: gr.EventData, say: Say) -> Answer:
        """Bring back what an address says, whatever the page shows."""
        return self.bring_back(str(detail(event, "address") or ""), say)

    def bring_back(self, address: str, say: Say) -> Answer:
        """Bring back what an address says; one of a case alone, what the case says."""
        answer: Answer = {"upload": None, "state": QueryState(), "scene": "", "words": "", "understood": ""}
        try:
            told = Address.read(address)
            if told.case:
                told = self._address_of(self.cases.get(told.case), told)
            told.search.filters.check(self._gallery.model.card)
        except UserError as error:
            return answer | {"state": QueryState(fault=say.error(str(error))), "case": ""}
        answer["case"] = told.case
        search = told.search
        found = self._searcher.understand(search.words, say.zone)
        answer |= EMPTY | contents(search.filters, say.zone)
        answer |= {
            "words": search.words,
            "understood": panels.understood(found, say),
            "words_before": found.filters,
            "feedback": search.feedback,
            "looks": search.looks,
            "group": search.group,
            "rerank": search.rerank,
            "query_camera": search.query_camera,
        }
        wanted = min(search.k or DEFAULT_RESULTS, MAX_SHARED)
        answer["k"] = gr.update(value=wanted, maximum=max(MAX_RESULTS, wanted))
        if told.key:
            recalled = self._recall(told.key, say)
            answer |= recalled or {"state": QueryState(fault=say("key.gone", key=told.key))}
        elif told.upload:
            data = self._uploads.get(told.upload)
            if data is None:
                return answer | self._gone(say)
            answer |= self._encode(InputImage(data, "the picture"), told.box, say)
        state = answer["state"]
        return answer | self._with_others(state, told, say) if state.query and told.others else answer

    def _with_others(self, state: QueryState, told: Address, say: Say) -> Answer:
        """The same with the further pictures of an address."""
        others = []
        for name, box in told.others:
            if name.startswith(OF_GALLERY):
                recalled = self._recall(name.removeprefix(OF_GALLERY), say)
                others += [recalled["state"]] if recalled else []
                continue
            data = self._uploads.get(name)
            if data is None:
                return self._gone(say)
            try:
                others.append(self._encoded(InputImage(data, "the picture"), box))
            except (DecoderBusyError, ImageError, UserError) as error:
                return {"state": QueryState(fault=say.error(str(error))), "scene": ""}
        return self._with(replace(state, others=tuple(others)), say)

    def _address_of(self, case: Case, told: Address) -> Address:
        """The address of a case's search, or the one that goes on from it; its files become uploads."""
        kept = [self._uploads.keep(image.data) if image.data else "" for image in case.images]
        if told != Address(case=case.id):
            return told
        if not case.images:
            return Address(search=case.search, case=case.id)
        first, others = case.images[0], zip(kept[1:], case.images[1:], strict=True)
        also = tuple((name or f"{OF_GALLERY}{image.key}", image.box) for name, image in others)
        return Address(kept[0], first.key, first.box, also, case.search, case.id)

    def scene(self, state: QueryState, say: Say) -> Answer:
        """The scene in another language."""
        html = ""
        if state.key:
            html = panels.gallery_scene(state.key, [each.picture for each in state.others], say)
        elif state.query is not None and (image := self.image(state)) is not None:
            html = self._drawn(image, state, say)
        return {"scene": html}


def _thumbnail(path: Path) -> bytes | None:
    """A small picture of an example; None where its file is none."""
    try:
        return display_jpeg(InputImage.open(path).pixels, _THUMBNAIL)
    except (DecoderBusyError, ImageError):
        return None


def _shares(value: Any) -> Box | None:
    try:
        left, top, right, bottom = (min(max(float(side), 0.0), 1.0) for side in value)
    except (TypeError, ValueError):
        return None
    return (left, top, right, bottom) if left < right and top < bottom else None


def _in_pixels(shares: Box, size: tuple[int, int]) -> Box:
    """A box in shares of an image's sides, in whole pixels of its (height, width)."""
    height, width = size
    left, top, right, bottom = (
        float(round(share * side)) for share, side in zip(shares, (width, height, width, height), strict=True)
    )
    return left, top, right, bottom
