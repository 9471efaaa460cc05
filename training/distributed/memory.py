"""Memory of a process that trains on the CPU: freed blocks are kept for the next step.

A step allocates and frees gigabytes of activations. By itself glibc gives blocks of more than 32 MB back to
the kernel, which then hands out and zeroes a million pages anew in each step.
"""

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Parameters of mallopt(3)."""


def keep_freed_memory() -> bool:
    """Let the C library keep what is freed; for the life of the process.

    The process stays as large as it once was, which a training is again in each step.

    Returns:
        Whether it will: other C libraries than glibc have no such setting.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # No block from a mapping of its own, and nothing cut off the heap's end.
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, -1))
