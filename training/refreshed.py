"""The shipped models trained again from nothing, on pictures drawn for it, within a number of minutes.

How many epochs fit is found by steps on noise first, because the rate falls to zero at the last one and a
training that is cut off has not learnt what it could.
"""

import dataclasses
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from training.calibrate import main as calibrate
from training.data.batches import Batch
from training.distributed.ranks import Ranks
from training.run.recipe import Recipe, load_recipe
from training.run.state import TrainState
from training.run.step import train_step
from training.run.trainer import train
from training.synthesize.dataset import make_dataset
from training.synthesize.vehicle_pictures import Parameters
from zoo.errors import UserError
from zoo.registry import create_model, make_card

RECIPES = {"osnet_ain.synthetic": "small", "densenet121.synthetic": "synthetic"}
"""Shipped model -> the recipe that trains it; the small one first, which is soonest done."""

FEWEST_EPOCHS, MOST_EPOCHS = 2, 60

TRAINED_SHARE = 0.8
"""Of a model's minutes that its steps get; the others are for loading, evaluation and the card."""

IMAGES_A_CORE = 250
"""A second, decoded and augmented at 256x256 by one process of the loader (docs/measured.md)."""


@dataclass(frozen=True)
class Pictures:
    """The data that are drawn.

    Attributes:
        train_ids: vehicles to train on; a tenth as many others calibrate colours and types, as many
            again calibrate searches, 100 test the model.
        images_per_id: pictures of each.
        size: of pictures and networks, in pixels.
    """

    train_ids: int
    images_per_id: int
    size: int

    def draw(self, out: Path) -> tuple[Path, Path]:
        """Draw what is not there yet: the data set, and vehicles of its own for the calibration."""
        test_ids = max(4, min(100, self.train_ids // 5))
        main = self._parameters(0, self.train_ids, test_ids)
        other = self._parameters(1, max(4, self.train_ids // 10), max(40, self.train_ids // 10))
        for name, parameters in (("synthetic", main), ("calibration", other)):
            make_dataset(out / name, parameters, len(os.sched_getaffinity(0)))
        return out / "synthetic", out / "calibration"

    def _parameters(self, seed: int, train_ids: int, test_ids: int) -> Parameters:
        return Parameters(
            seed=seed,
            train_ids=train_ids,
            test_ids=test_ids,
            images_per_id=self.images_per_id,
            size=self.size,
            difficulty="normal",
            cameras=20,
            heatmaps=False,
            segments=False,
        )


@dataclass(frozen=True)
class Refreshed:
    """A model that was trained again: its weights, the data to measure it on, and those to calibrate it."""

    weights: Path
    data: Path
    calibration: Path


def refreshed_recipe(name: str, pictures: Pictures, device: torch.device, seconds: float) -> Recipe:
    """The recipe of a shipped model at the pictures' size, with as many epochs as the seconds allow."""
    size = pictures.size
    base = load_recipe(RECIPES[name])
    workers = min(16, max(1, len(os.sched_getaffinity(0)) - 1)) if device.type != "cpu" else 0
    recipe = dataclasses.replace(
        base, size=(size, size), workers=workers, cache=not workers, progressive=((1, max(32, size // 2)),)
    )
    images = pictures.train_ids * pictures.images_per_id
    cores = max(1, workers)
    small, large = (
        images / min(step_rate(recipe, side, device), cores * IMAGES_A_CORE)
        for side in (max(32, size // 2), size)
    )
    # Half of the epochs at half the side, then the whole one.
    epochs = int(max(FEWEST_EPOCHS, min(MOST_EPOCHS, 2 * TRAINED_SHARE * seconds / (small + large))))
    return dataclasses.replace(
        recipe,
        epochs=epochs,
        eval_every=epochs,
        progressive=((epochs // 2, max(32, size // 2)),),
        loss=dataclasses.replace(
            base.loss, triplet_start=round(epochs * base.loss.triplet_start / base.epochs)
        ),
    )


def step_rate(recipe: Recipe, side: int, device: torch.device, steps: int = 6) -> float:
    """Images/s of the recipe's step on noise that the device holds."""
    count = recipe.num_identities * recipe.num_instances
    model = create_model(recipe.model.arch, num_ids=1000, **recipe.model.options()).train()
    card = make_card(model, "speed.test", (side, side))
    state = TrainState(model, card, recipe, Ranks(device=device))
    image = torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8)
    label = torch.arange(count) // recipe.num_instances
    batch = Batch(image, label, label % 10, label % 9).to(device)
    train_step(state, batch, progress=0.0)
    began = time.perf_counter()
    for _ in range(steps):
        # It ends with figures on the CPU, and so with the device's work.
        train_step(state, batch, progress=0.0)
    return steps * count / (time.perf_counter() - began)


def refresh(
    names: Sequence[str], pictures: Pictures, device: torch.device, minutes: float, out: Path
) -> dict[str, Refreshed]:
    """Draw the pictures and train the models, one after the other.

    Args:
        names: of shipped models.
        pictures: to draw, into `out`/data.
        device: that this process has entered.
        minutes: for all of it.
        out: the folder of data and runs.

    Returns:
        For each model its best weights, in whose card colours and types are calibrated, and the data.

    Raises:
        UserError: a folder holds something else.
    """
    began = time.monotonic()
    data, other = pictures.draw(out / "data")
    found: dict[str, Refreshed] = {}
    for number, name in enumerate(names):
        left = 60 * minutes - (time.monotonic() - began)
        recipe = refreshed_recipe(name, pictures, device, left / (len(names) - number))
        print(f"{name}: {recipe.epochs} epochs at {pictures.size}x{pictures.size}", file=sys.stderr)
        run = out / "runs" / name
        command = f"python -m training.release --device {device.type}"
        train(recipe, [data], Ranks(device=device), command=command, out=run, overwrite=True)
        weights = run / "best.safetensors"
        calibrated(weights, other, device)
        found[name] = Refreshed(weights, data, other)
    return found


def calibrated(weights: Path, data: Path, device: torch.device, *options: str) -> None:
    """Write a calibration into the card beside the weights.

    Raises:
        UserError: there is too little to calibrate on.
    """
    place = {"cuda": "--gpus", "npu": "--npus"}.get(device.type, "--cpus")
    if calibrate(["--data-root", str(data), "--weights", str(weights), place, "1", *options]) != 0:
        raise UserError(f"{weights}: could not be calibrated; see above")
