"""A compiled .om file on an Ascend NPU, through the vendor's Python binding. It was never run on one.

The first visible NPU is taken; ASCEND_RT_VISIBLE_DEVICES says which that is.
"""

import json
import threading
from pathlib import Path

import numpy as np

from zoo.card import Card
from zoo.errors import UserError

INPUT = "input"
"""Name of the float image input: float32 [N, 3, H, W], normalised, in the card's channel order."""


def normalise(images: np.ndarray, card: Card) -> np.ndarray:
    """Make `input` of `image`: uint8 [N, H, W, 3] RGB to float32 [N, 3, H, W], as the card says."""
    pixels = images[..., ::-1] if card.channels == "BGR" else images
    mean, std = np.array(card.mean, np.float32), np.array(card.std, np.float32)
    scaled = (pixels.astype(np.float32) / 255 - mean) / std
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


class OmModel:
    """Answers as `zoo.onnx_model.OnnxModel` does. Calls from several threads take turns.

    Args:
        path: of an .om file, in the folder that `serving.ascend` wrote.

    Raises:
        UserError: no such file, the folder does not know it, or the binding is missing or fails.
    """

    def __init__(self, path: Path) -> None:
        manifest = path.with_name("ascend.json")
        if not path.is_file():
            raise UserError(
                f"{path}: no such file; compile it with: sh {path.with_name('atc.sh')} {path.stem}"
            )
        try:
            model = json.loads(manifest.read_text(encoding="utf-8"))["models"][path.stem]
            self._batches, self._aipp = sorted(model["batches"]), bool(model["aipp"])
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise UserError(
                f"{path}: {manifest} does not tell of it; keep the name and folder that atc.sh gave it"
            ) from error
        self.card = Card.read(path.with_name("card.json"))
        try:
            from ais_bench.infer.interface import InferSession
        except ImportError as error:
            raise UserError(
                f"{error.name or 'ais_bench'} is not installed ({error}); .om files run through the vendor's "
                "packages ais_bench and aclruntime, on a machine with CANN"
            ) from error
        try:
            self._session = InferSession(0, str(path))
        except Exception as error:
            raise UserError(f"{path}: the NPU cannot load it ({' '.join(str(error).split())})") from error
        self._lock = threading.Lock()

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer a batch: the card's outputs by name, float32 [N, dimension].

        Batches are filled up to a size that was compiled, and larger ones are split.
        """
        images = inputs["image"]
        largest = self._batches[-1]
        parts = [self._run(images[start : start + largest]) for start in range(0, len(images), largest)]
        return {name: np.concatenate([part[name] for part in parts]) for name in self.card.outputs}

    def _run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        count = len(images)
        size = next(batch for batch in self._batches if batch >= count)
        filled = np.concatenate([images, np.zeros((size - count, *images.shape[1:]), np.uint8)])
        feed = np.ascontiguousarray(filled) if self._aipp else normalise(filled, self.card)
        with self._lock:
            mode = "static" if len(self._batches) == 1 else "dymbatch"
            answers = self._session.infer([feed], mode=mode)
        # The .om keeps the graph's order of outputs; their names are the compiler's own.
        shapes = [np.shape(answer) for answer in answers]
        if shapes != [(size, dimension) for dimension in self.card.outputs.values()]:
            raise UserError(f"{self.card.name}: the .om file answers {shapes}, not what its card says")
        return {
            name: np.asarray(answer, np.float32)[:count]
            for name, answer in zip(self.card.outputs, answers, strict=True)
        }
