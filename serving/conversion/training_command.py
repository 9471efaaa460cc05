"""The one thing that serving asks of training: the command `training.evaluate`, run as a process.

It knows the data sets, the pose inputs and the metrics. Serving imports nothing of training, so that what is
deployed never depends on it; whoever exports at reduced precision has it installed.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

from zoo.errors import UserError
from zoo.processes import own_module


def evaluate(onnx_file: Path, data_root: str) -> dict[str, Any]:
    """Measure an ONNX file on a data set's queries and gallery.

    Args:
        onnx_file: the file, with its card inside.
        data_root: a data set, `[NAME:]PATH`.

    Returns:
        The figures by name, as fractions; None where nothing could be counted.

    Raises:
        UserError: the command failed; it has told why on stderr.
    """
    return _answer(data_root, "--weights", str(onnx_file), "--json")


def training_images(data_root: str) -> list[Path] | None:
    """List a data set's training images, sorted.

    Returns:
        The files; None where the folder holds no known data set.

    Raises:
        UserError: the data set is missing or damaged, and the command has told on stderr in what.
    """
    images = _answer(data_root, "--list-images", "train")["images"]
    return None if images is None else sorted(map(Path, images))


def _answer(data_root: str, *options: str) -> dict[str, Any]:
    """Run the command and read the JSON of its last line."""
    command, environment = own_module("training.evaluate", "--data-root", data_root, *options)
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise UserError(
            f"{data_root}: training.evaluate ended with exit code {done.returncode}; its message stands above"
        )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer
