"""A simulated NPU: a `torch_npu` for the processes that a test starts, never for the product.

`site/` goes to the front of PYTHONPATH, so that commands run as they are. docs/npu.md tells what that proves.
"""

import os
from pathlib import Path

import pytest
import torch
import torch.utils.backend_registration

SITE = Path(__file__).parent / "site"

IS_POSSIBLE = hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend")

wants_simulation = pytest.mark.skipif(
    not IS_POSSIBLE, reason=f"torch {torch.__version__} has no devices written in Python"
)


def packaged(folder: Path, version: str, files: dict[str, str]) -> None:
    """Lay out a `torch_npu` as pip would install it, with the entry point by which torch finds it."""
    info = folder / f"torch_npu-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch_npu\nVersion: {version}\n")
    (info / "entry_points.txt").write_text("[torch.backends]\ntorch_npu = torch_npu:_autoload\n")
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def release(version: str = str(torch.__version__)) -> str:
    """The release of this torch, without the build's name."""
    return version.partition("+")[0]


def environment(*folders: Path, **variables: str) -> dict[str, str]:
    """Variables of a process whose modules are looked for in these folders first."""
    kept = {name: value for name, value in os.environ.items() if name != "TORCH_DEVICE_BACKEND_AUTOLOAD"}
    path = os.pathsep.join(map(str, folders))
    return {**kept, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **variables}
