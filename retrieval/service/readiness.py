"""Whether the service can answer: the gallery can be read and the encoder encodes."""

import io
import threading
import time
from concurrent.futures import Future

from PIL import Image

from retrieval.query.searcher import Searcher
from serving.encoders.image import InputImage
from zoo.errors import UserError

PATIENCE = 15.0
"""Seconds: more than an encoder needs that is only busy, and less than a supervisor waits."""

_HOLDS_FOR = 1.0
"""Seconds for which a good answer holds: nobody without a key keeps the encoder busy."""


class Readiness:
    """Asks the encoder for all who want to know, one question at a time: those who come while it is asked
    wait for the same answer, so that an encoder that is stuck is not asked again and again.

    Args:
        searcher: the gallery and its encoder.
        patience: seconds after which an encoder that does not answer counts as one that cannot.
    """

    def __init__(self, searcher: Searcher, patience: float = PATIENCE) -> None:
        self._searcher = searcher
        self._patience = patience
        self._image = _probe_image()
        self._lock = threading.Lock()
        self._answer: Future[float] | None = None

    def check(self) -> int:
        """Return the number of images in the gallery.

        Raises:
            UserError: the encoder fails or does not answer, or the gallery cannot be read.
            ImageError: the encoder refuses a good image.
        """
        with self._lock:
            if self._answer is None or (self._answer.done() and not _holds(self._answer)):
                self._answer = self._ask()
            answer = self._answer
        try:
            answer.result(self._patience)
        except TimeoutError as error:
            raise UserError(f"the encoder has not answered for {self._patience:g} seconds") from error
        return len(self._searcher.gallery)

    def _ask(self) -> Future[float]:
        """The time of a good answer, or the encoder's error."""
        answer: Future[float] = Future()

        def encode() -> None:
            try:
                self._searcher.encode(InputImage(self._image, "probe"))
            except Exception as error:
                answer.set_exception(error)
            else:
                answer.set_result(time.monotonic())

        # Not of a pool: the service's end does not wait for an encoder that is stuck.
        threading.Thread(target=encode, daemon=True).start()
        return answer


def _holds(answer: Future[float]) -> bool:
    return answer.exception() is None and time.monotonic() < answer.result() + _HOLDS_FOR


def _probe_image() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), "gray").save(buffer, "PNG")
    return buffer.getvalue()
