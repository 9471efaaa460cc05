"""A model or its card by name or path, whoever wrote the file.

A card is read without torch wherever it lies beside its weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zoo.card import Card
from zoo.registry import create_model, network_folder, weights_path

if TYPE_CHECKING:
    from torch import nn


def read_card(name_or_path: str | Path) -> Card:
    """Read the card of a shipped or cached model, or of a `.safetensors` file.

    Raises:
        UserError: no such model, or no card with the weights.
    """
    if (bundle := network_folder(name_or_path)) is not None:
        return Card.read(bundle / "card.json")
    path = weights_path(name_or_path)
    beside = path.with_suffix(".json")
    if beside.exists():
        return Card.read(beside)
    from zoo.importing import read_weights

    return read_weights(path)[1]


def load_model(name_or_path: str | Path) -> tuple[nn.Module, Card]:
    """Build a model and load its weights.

    Args:
        name_or_path: name of a shipped or cached model, path of a `.safetensors` file or of a checkpoint that
            `python -m zoo import` takes.

    Returns:
        The model in evaluation mode, float32 on the CPU, and its card.

    Raises:
        UserError: no such model, missing or damaged weights, or weights that do not fit the card.
    """
    from zoo.importing import read_weights
    from zoo.weights import apply_weights

    path = weights_path(name_or_path)
    state, card = read_weights(path)
    model = create_model(card)
    apply_weights(model, state, str(path))
    return model.eval(), card
