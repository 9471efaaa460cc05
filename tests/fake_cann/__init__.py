"""A fake driver of Ascend cards, below the real torch_npu: `make test-npu`. docs/npu.md tells what it proves.

`build` compiles it, and `site/` goes to the front of PYTHONPATH of the processes that run on it.
"""

import os
from pathlib import Path

SITE = Path(__file__).parent / "site"


def is_built() -> bool:
    """Whether the tests were given a fake driver to run on."""
    return "FAKE_CANN" in os.environ


def environment(cards: int) -> dict[str, str]:
    """Variables of a process that sees so many cards."""
    return {
        **os.environ,
        "PYTHONPATH": str(SITE),
        "LD_LIBRARY_PATH": os.environ["FAKE_CANN"],
        "FAKE_NPUS": str(cards),
        # Calls go to the driver at once, not through torch_npu's own thread.
        "TASK_QUEUE_ENABLE": "0",
        "OMP_NUM_THREADS": "1",
    }
