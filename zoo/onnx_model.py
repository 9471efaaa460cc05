"""An ONNX file of this project: it carries its model's card, and answers by name. Imports no torch."""

from pathlib import Path

import numpy as np

from zoo.card import Card
from zoo.errors import UserError

CARD_KEY = "card"
"""Of the ONNX metadata (and of the Triton config's parameters): the card as JSON."""


class OnnxModel:
    """A model in onnxruntime on the CPU. Safe to use from several threads.

    Args:
        path: of the file.
        threads: that one inference uses; every core where None is given.
        is_normalised: whether it takes normalised pixels, as Ascend's graph does, and not bytes.

    Attributes:
        card: the model's card.

    Raises:
        UserError: it cannot be opened, or carries no card.
    """

    def __init__(self, path: str | Path, threads: int | None = None, is_normalised: bool = False) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        # Threads that are done would else spin for tens of milliseconds, on a core that others could use.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.log_severity_level = 4  # a model that fails is reported in one line, by an exception
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{path}: cannot be opened ({reason}); export the model again") from error
        card = self._session.get_modelmeta().custom_metadata_map.get(CARD_KEY)
        if card is None:
            raise UserError(f"{path}: carries no card; export the model with serving.export")
        kinds = {taken.name: taken.type for taken in self._session.get_inputs()}
        if not is_normalised and kinds.get("image") != "tensor(uint8)":
            raise UserError(
                f"{path}: takes {', '.join(map(' '.join, kinds.items()))}, not bytes as `image`; give "
                "the model.onnx of a bundle, or make one of it: python -m serving.export "
                f"--onnx {path} --out FOLDER"
            )
        self.card = Card.from_json(card, str(path))

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer a batch: the card's outputs by name, float32 [N, dimension]."""
        names = list(self.card.outputs)
        return dict(zip(names, self._session.run(names, inputs), strict=True))
