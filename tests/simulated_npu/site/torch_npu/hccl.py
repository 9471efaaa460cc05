"""A stand-in for Huawei's HCCL: gloo on the CPU tensors behind the simulated ones."""

import torch
import torch.distributed as dist

from torch_npu import faults, on_cpu


class Hccl(torch._C._distributed_c10d.Backend):
    """A process group's part for npu tensors."""

    def __init__(self, store, rank: int, size: int, timeout) -> None:
        super().__init__(rank, size)
        self.gloo = dist.ProcessGroupGloo(dist.PrefixStore("hccl", store), rank, size, timeout)

    def getBackendName(self) -> str:  # noqa: N802
        return "hccl"

    def allreduce(self, tensors, options):
        faults.at_collective()
        return self.gloo.allreduce(lowered(tensors), options)

    def broadcast(self, tensors, options):
        return self.gloo.broadcast(lowered(tensors), options)

    def allgather(self, outputs, inputs, options):
        return self.gloo.allgather([lowered(tensors) for tensors in outputs], lowered(inputs), options)


def lowered(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """Take over npu tensors as the real one does."""
    for tensor in tensors:
        if tensor.dtype == torch.float64:
            raise RuntimeError("HCCL does not support float64")
        if tensor.device.type != "npu":
            raise RuntimeError(f"HCCL takes npu tensors, not {tensor.device}")
    return [on_cpu(tensor) for tensor in tensors]


dist.Backend.register_backend("hccl", Hccl, devices=["npu"])
