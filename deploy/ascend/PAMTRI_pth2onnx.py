"""The original's call for an ONNX file: --load-weights W --output_path O; what else it took is not needed.

The file is the graph that `python -m serving.ascend` prepares for ATC: float32 [N, 3, H, W], normalised.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Import where it is a checkpoint, export, and put the graph where it is wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--load-weights", required=True, help=".pth.tar, .pth, .safetensors, or a model's name"
    )
    parser.add_argument("--output_path", required=True, type=Path, help="the .onnx file to write")
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=256)
    # The weights tell these; the batch axis of the graph is free.
    for option in ("-d", "-a", "--root", "--batch_size"):
        parser.add_argument(option, help=argparse.SUPPRESS)
    parser.add_argument("--multitask", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        weights, bundle, ascend = arguments.load_weights, Path(folder) / "bundle", Path(folder) / "ascend"
        commands = []
        if weights.endswith((".pth", ".pth.tar", ".pt")):
            imported = str(Path(folder) / "imported.safetensors")
            commands.append(["zoo", "import", weights, "--name", "densenet121.imported", "--out", imported])
            weights = imported
        size = [str(arguments.height), str(arguments.width)]
        commands.append(["serving.export", "--weights", weights, "--size", *size, "--out", str(bundle)])
        commands.append(
            ["serving.ascend", "--bundle", str(bundle), "--out", str(ascend), "--soc", "Ascend310P3"]
        )
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        for command in commands:
            argv, environment = [sys.executable, "-m", *command], {**os.environ, "PYTHONPATH": path}
            if code := subprocess.run(argv, env=environment, check=False).returncode:
                return code
        arguments.output_path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ascend / "float.onnx", arguments.output_path)
    print(f"{arguments.output_path}: written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
