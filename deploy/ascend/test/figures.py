"""A run's figures in the words that Ascend's ModelZoo looks for: RUN CASE DEVICE SECONDS LOG."""

import json
import sys
from pathlib import Path


def main(run: Path, case: str, device: str, seconds: str, log: Path) -> None:
    """Print the figures, and write them into the case's log."""
    metrics = json.loads((run / "metrics.json").read_text())
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    accuracy = 100 * (metrics["mAP"] or 0.0)
    # The first epoch also compiles and fills caches.
    fps = last["fps"]
    print(f"Final Performance images/sec : {fps:.2f}")
    print(f"Final Train Accuracy : {accuracy:.2f}")
    print(f"E2E Training Duration sec : {seconds}")
    batch = case.split("_bs")[1].partition("_")[0]
    figures = {
        "Network": "PAMTRI",
        "RankSize": metrics["world_size"],
        "BatchSize": batch,
        "DeviceType": device.removesuffix("s").upper(),
        "CaseName": case,
        "ActualFPS": f"{fps:.2f}",
        "TrainingTime": f"{1000 * int(batch) / fps:.2f}",
        "TrainAccuracy": f"{accuracy:.2f}",
        "ActualLoss": last["loss"],
        "E2ETrainingTime": seconds,
    }
    log.write_text("".join(f"{name} = {value}\n" for name, value in figures.items()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:5], Path(sys.argv[5]))
