"""Which road an evaluation takes: the served graph for many images on a CPU, torch for everything else."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.zoo.conftest import fill_statistics
from training.data.images import ImageStore
from training.data.pose_maps import PoseInputs
from training.datasets.records import Record
from training.evaluation import deployed
from training.evaluation.extract import EvaluationSet, extract
from zoo.inference import InferenceModel, OnnxInference
from zoo.registry import create_model, make_card
from zoo.weights import save_weights

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with keypoints beside the image, at an input that is not square."""
    torch.manual_seed(0)
    model = fill_statistics(create_model("osnet_ain", keypoints=True)).eval()
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_weights(model, make_card(model, "osnet_ain.small", (64, 96)), path)
    return path


class Pictures(ImageStore):
    """Noise for files that are not there."""

    def get(self, index: int, size: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
        return np.random.default_rng(index).integers(0, 256, (*size, 3), np.uint8), (200, 300)


def test_many_images_go_through_the_graph_with_torchs_numbers(weights: Path) -> None:
    with deployed.deployed_model(weights, CPU, deployed.EXPORTED_FROM - 1) as (eager, card):
        assert isinstance(eager, InferenceModel)
    keypoints = np.random.default_rng(0).random((36, 3), np.float32) * 200
    records = [Record(Path(f"{number}.jpg"), 1, 1, keypoints=keypoints) for number in range(7)]
    with deployed.deployed_model(weights, CPU, deployed.EXPORTED_FROM) as (graph, card):
        assert isinstance(graph, OnnxInference)
        pose = PoseInputs(keypoints=True)
        data = EvaluationSet(records, card.input_size, pose, Pictures([r.path for r in records]))
        found = extract(graph, data, batch_size=3)
    expected = extract(eager, data, batch_size=3)
    for name in ("embedding", "color_probs", "type_probs"):
        right = getattr(expected, name)
        assert np.abs(getattr(found, name) - right).max() <= 1e-4 * np.abs(right).max()


class Odd(nn.Module):
    """A network whose trace is not what it computes: it asks for a value that the tracer takes for fixed."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, *pose: Tensor | None) -> object:
        outputs = self.network(image, *pose)
        return outputs._replace(embedding=outputs.embedding * float(image.mean() + 2))


def test_what_answers_otherwise_as_a_graph_stays_in_torch(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_model = deployed.load_model

    def odd(path: Path) -> tuple[nn.Module, object]:
        model, card = load_model(path)
        return Odd(model).eval(), card

    monkeypatch.setattr(deployed, "load_model", odd)
    with deployed.deployed_model(weights, CPU, deployed.EXPORTED_FROM) as (model, _):
        assert isinstance(model, InferenceModel)
