"""The models that run by their name: those the package carries, and networks that were fetched. No torch.

Beside the weights `NAME.safetensors` lies `NAME.onnx`, a graph that holds no weights: they are ONNX external
data, at their places in the weights file. `NAME.sha256` tells the hash of the bundle that `serving.export`
makes of the same weights, so that a gallery knows their embeddings as its own. `python -m serving.export
--weights NAME --graph` writes both.
"""

from pathlib import Path

from serving.bundle import Bundle, ExportedModel
from zoo.card import Card
from zoo.errors import UserError
from zoo.hub.cache import verify_weights
from zoo.registry import PRETRAINED, network_folder


def shipped_names() -> list[str]:
    """Name the models, sorted."""
    return sorted(path.stem for path in PRETRAINED.glob("*.onnx"))


def is_shipped(name: str) -> bool:
    """Tell a shipped model's name from a path; what lies at the path comes first."""
    return name in shipped_names() and not Path(name).exists()


def is_name(name: str) -> bool:
    """Tell the name of a shipped model or of a fetched network from a path."""
    return is_shipped(name) or network_folder(name) is not None


def open_exported(spec: str | Path) -> ExportedModel:
    """Open a bundle by its path, a shipped model or a fetched network by its name.

    Raises:
        UserError: neither, or its files are missing or damaged.
    """
    name = str(spec)
    if not is_shipped(name):
        if (folder := network_folder(name)) is not None:
            return Bundle.open(folder)
        if not Path(name).exists() and "/" not in name:
            raise UserError(
                f"{name}: no bundle there, and no model that is shipped ({', '.join(shipped_names())}); "
                f"make a bundle with: python -m serving.export --out {name}"
            )
        return Bundle.open(name)
    graph = PRETRAINED / f"{name}.onnx"
    card = Card.read(graph.with_suffix(".json"))
    verify_weights(graph.with_suffix(".safetensors"), card.weights_sha256)
    return ExportedModel(graph, card, graph.with_suffix(".sha256").read_text(encoding="utf-8").split()[0])
