"""What may be wrong with a machine, injected by SIMULATED_NPU_FAULT=NAME or NAME:CARD.

| name | what happens |
|---|---|
| format | internal formats stay on |
| saturation | half precision yields 65504 for Inf, and the overflow flag is never raised |
| dead | operators fail on the card |
| slow | products of matrices take a tenth of a second longer on the card |
| killed | the card's process dies in its first collective |
| hang | the card never comes to its first collective |
"""

import os
import signal
import time

_name, _, _card = os.environ.get("SIMULATED_NPU_FAULT", "").partition(":")
_here = _card in ("", os.environ.get("LOCAL_RANK", "0"))


def here(name: str) -> bool:
    """Whether this card has the fault."""
    return _here and name == _name


def at_operator(name: str) -> None:
    """Do what the fault does to each operator."""
    if here("dead"):
        raise RuntimeError("call aclnnMm failed: EZ9999: Inner Error, error code is 507015, aicore exception")
    if here("slow") and name.startswith("mm."):
        time.sleep(0.1)


def at_collective() -> None:
    """Do what the fault does to a collective."""
    if here("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    while here("hang"):
        time.sleep(1)
