"""Where the launcher of a run on one machine meets the launchers of others: nowhere, for there are none.

torch's own meeting places are a port, which would listen on all of the machine's addresses, or a file, which
grows with every sign of life: on a full disk a half-written one is waited for without end.
"""

from typing import Any

from torch.distributed import HashStore
from torch.distributed.elastic import rendezvous
from torch.distributed.elastic.rendezvous import RendezvousHandler, RendezvousParameters

ALONE = "alone"
"""The name of this rendezvous in a `LaunchConfig`."""


class _Alone(RendezvousHandler):
    """The one launcher's, whose store is its own memory."""

    def __init__(self, parameters: RendezvousParameters) -> None:
        self._run_id, self._store, self._is_closed = parameters.run_id, HashStore(), False

    def get_backend(self) -> str:
        return ALONE

    def next_rendezvous(self) -> Any:
        """Be the first of one launcher. The ranks' MASTER_ADDR and _PORT are set, and stand for nothing."""
        if not hasattr(rendezvous, "RendezvousInfo"):  # torch before 2.4
            return self._store, 0, 1
        nobody = rendezvous.RendezvousStoreInfo("127.0.0.1", 0)
        return rendezvous.RendezvousInfo(self._store, 0, 1, nobody)

    def is_closed(self) -> bool:
        return self._is_closed

    def set_closed(self) -> None:
        self._is_closed = True

    def num_nodes_waiting(self) -> int:
        return 0

    def get_run_id(self) -> str:
        return self._run_id

    def shutdown(self) -> bool:
        self._is_closed = True
        return True


rendezvous.rendezvous_handler_registry.register(ALONE, _Alone)
