"""What a run tells: the time left, TensorBoard's curves, the reference's result line."""

import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training.run.progress import CURVES, Progress, result_table
from training.run.recipe import Recipe


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder / CURVES))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }


def test_the_bar_tells_losses_waiting_and_the_runs_time_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = Recipe(epochs=4, eval_every=2, size=(64, 64), progressive=((2, 32),))
    progress = Progress(recipe, steps=10, images=80, folder=tmp_path)
    progress.judged(5.0)
    with progress.epoch(1):
        for step in range(1, 6):
            # A bar is drawn ten times a second at most.
            time.sleep(0.15)
            progress.step(step, 8, {"triplet": 0.5, "identity": 6.25}, seconds=2.0 * step, waited=0.5 * step)
    progress.close()
    shown = capsys.readouterr().err
    assert "epoch 2/4 at 32x32" in shown
    assert "triplet=0.500, identity=6.250, wait=25%" in shown
    # 5 steps of 2 s, then 20 of four times the pixels, 8 s each, and two evaluations.
    assert f"run=0{(5 * 2 + 20 * 8 + 2 * 5) // 60}:{(5 * 2 + 20 * 8 + 2 * 5) % 60:02d}" in shown
    assert "40/80" in shown


def test_the_curves_of_an_epoch(tmp_path: Path) -> None:
    progress = Progress(Recipe(epochs=2), steps=10, images=80, folder=tmp_path)
    with progress.epoch(0):
        progress.step(1, 8, {"triplet": 0.5}, seconds=2.0, waited=0.5)
    progress.conclude({"epoch": 1, "loss": 1.5, "mAP": 0.25, "color_accuracy": None})
    progress.close()
    assert curves(tmp_path) == {
        "step/triplet": [(1, 0.5)],
        "step/fps": [(1, 4.0)],
        "step/data_wait": [(1, 0.25)],
        "epoch/loss": [(10, 1.5)],
        "epoch/mAP": [(10, 0.25)],
    }


def test_a_run_gone_on_with_draws_no_point_twice(tmp_path: Path) -> None:
    for done, epochs in ((0, (1, 2)), (10, (2, 3))):
        progress = Progress(Recipe(epochs=3), steps=10, images=80, folder=tmp_path, done=done)
        for epoch in epochs:
            progress.conclude({"epoch": epoch, "loss": float(done + epoch)})
        progress.close()
    assert curves(tmp_path)["epoch/loss"] == [(10, 1.0), (20, 12.0), (30, 13.0)]


def test_other_ranks_tell_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(Recipe(epochs=1), steps=1, images=8, folder=None)
    with progress.epoch(0):
        progress.step(1, 8, {"triplet": 0.5}, seconds=2.0, waited=0.5)
    progress.judged(1.0)
    progress.conclude({"epoch": 1, "loss": 1.5})
    progress.close()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("kind", "device"), [("cpu", "CPU-2P"), ("cuda", "GPU-2P"), ("npu", "NPU-2P")])
def test_the_result_line(kind: str, device: str) -> None:
    metrics = {
        "device_type": kind,
        "world_size": 2,
        "mAP": 0.69361,
        "fps": 200.04,
        "epochs": 120,
        "amp": "O2",
    }
    assert result_table(metrics).splitlines() == [
        "Device | mAP | FPS | Epochs | AMP_Type",
        "---|---|---|---|---",
        f"{device} | 69.36 | 200.0 | 120 | O2",
    ]
