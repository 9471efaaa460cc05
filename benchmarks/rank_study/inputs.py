"""What the study trains on and starts from, made by the product's own commands as far as it is not there."""

import subprocess
import sys
from pathlib import Path

DATA = Path("data/study")
OTHERS = Path("data/others")
START = Path("runs/others")
WEIGHTS = START / "best.safetensors"

_VEHICLES = ("--train-ids", "128", "--test-ids", "60")
_IMAGES = ("--images-per-id", "16", "--size", "96")
_RECIPE = Path(__file__).parent / "pretraining.toml"


def make_data() -> Path:
    """The data set, made or completed."""
    _run("training.synthesize", "--out", DATA, *_VEHICLES, *_IMAGES, "--seed", 12)
    return DATA


def make_weights() -> Path:
    """The pretrained start, trained on other vehicles of an easier style, or the rest of that training."""
    # The best so far is there from the first epoch on, the metrics when all are trained.
    if not (START / "metrics.json").exists():
        style = ("--seed", 77, "--difficulty", "easy")
        _run("training.synthesize", "--out", OTHERS, "--train-ids", 200, "--test-ids", 20, *_IMAGES, *style)
        begun = START.is_dir() and any(START.iterdir())
        training: tuple[object, ...] = (
            "--data-root",
            OTHERS,
            "--recipe",
            _RECIPE,
            "--cpus",
            1,
            "--seed",
            77,
            "--out",
            START,
        )
        if begun:
            training += ("--resume",)
        _run("training.launch", *training)
    return WEIGHTS


def _run(module: str, *arguments: object) -> None:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    if code := subprocess.run(command, check=False, stdout=sys.stderr).returncode:
        # It has said itself what is wrong.
        raise SystemExit(code)
