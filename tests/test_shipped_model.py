"""The zoo's own models do what their cards say."""

from pathlib import Path

import pytest

from training.release import measure
from training.synthesize.__main__ import main as synthesize
from zoo.registry import list_models, weights_path

MODELS = ("densenet121.synthetic", "osnet_ain.synthetic")
MAX_BYTES = 16_000_000


@pytest.mark.parametrize("model", MODELS)
def test_shipped_weights_are_small(model: str) -> None:
    assert weights_path(model).stat().st_size <= MAX_BYTES


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "dataset", ["shipped-model-check", pytest.param("synthetic", marks=pytest.mark.slow)]
)
def test_measured_again(dataset: str, model: str, tmp_path: Path) -> None:
    """The first twenty test vehicles, and as a slow proof the whole benchmark; named as in the card."""
    (card,) = (card for card in list_models() if card.name == model)
    (expected,) = (entry for entry in card.metrics if entry["dataset"] == dataset)
    root = tmp_path / dataset
    made = ["--train-ids", "0", "--test-ids", str(expected["test_ids"]), "--size", str(expected["size"])]
    made += ["--images-per-id", str(expected["images_per_id"]), "--seed", str(expected["seed"])]
    assert synthesize(["--out", str(root), *made]) == 0
    measured = measure(weights_path(model), root)
    assert measured["generator"] == expected["generator"], "new pictures: release the weights again"
    assert (measured["num_queries"], measured["num_gallery"]) == (
        expected["num_queries"],
        expected["num_gallery"],
    )
    # Another CPU rounds convolutions differently, which may swap a few near neighbours and no more.
    assert measured["mAP"] == pytest.approx(expected["mAP"], abs=2e-3)
    assert measured["rank1"] == pytest.approx(expected["rank1"], abs=0.02)
    assert measured["color_accuracy"] == pytest.approx(expected["color_accuracy"], abs=0.02)
    assert measured["type_accuracy"] == pytest.approx(expected["type_accuracy"], abs=0.02)
