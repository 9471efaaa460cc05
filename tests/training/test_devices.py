"""Device choice on a machine that has no accelerator: what is given, and what is said of what is missing."""

import pytest
import torch

from training.devices import choose_device, device_name
from zoo.errors import UserError

ACCELERATOR = torch.accelerator.current_accelerator(check_available=True)


def test_a_cpu_is_always_there() -> None:
    assert choose_device(cpus=1) == torch.device("cpu")
    assert device_name(torch.device("cpu")).startswith("CPU")


def test_the_default_is_what_the_machine_has() -> None:
    assert choose_device().type == (ACCELERATOR.type if ACCELERATOR else "cpu")


@pytest.mark.skipif(ACCELERATOR is not None, reason="this machine has an accelerator")
def test_a_missing_device_is_said() -> None:
    with pytest.raises(UserError, match=r"no usable cuda device here .*--cpus 1"):
        choose_device(gpus=1)
    with pytest.raises(UserError, match=r"torch_npu|no usable npu"):
        choose_device(npus=1)


@pytest.mark.parametrize("wishes", [{"cpus": 2}, {"gpus": 0}, {"cpus": 1, "gpus": 1}])
def test_what_one_process_cannot_do(wishes: dict[str, int]) -> None:
    with pytest.raises(UserError):
        choose_device(**wishes)
