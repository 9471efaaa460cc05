"""A process of the study's pool. Not in `__main__`: a spawned process cannot look anything up there."""

import multiprocessing
import os
import threading

import torch


def start() -> None:
    """Train on one thread, and no longer than the parent lives, however it ends."""
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait for the parent's end and end this process: its results would have nowhere to go."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "only a worker has a parent process to wait for"
    parent.join()
    os._exit(1)
