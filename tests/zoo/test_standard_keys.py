"""Names that state dicts get on their way, and what they are here."""

import pytest
import torch

from zoo.errors import UserError
from zoo.standard_keys import standard_keys

NAMES = ("base.conv0.weight", "base.denseblock1.denselayer2.norm1.weight", "fc_vid.bias")
STATE = {name: torch.full((1,), float(number)) for number, name in enumerate(NAMES)}


@pytest.mark.parametrize(
    "prefix",
    ["module.", "module.module.", "_orig_mod.", "module._orig_mod.", "model.", "net.module.", "a.b."],
)
def test_prefixes_of_all_keys(prefix: str) -> None:
    found, remarks = standard_keys({prefix + key: value for key, value in STATE.items()}, "x.pth")
    assert found == STATE
    assert any("taken off all 3 keys" in remark for remark in remarks)


def test_a_wrapper_around_a_part() -> None:
    wrapped = {key.replace("base.", "base._orig_mod.module."): value for key, value in STATE.items()}
    found, remarks = standard_keys(wrapped, "x.pth")
    assert found == STATE
    assert remarks == ["`_orig_mod.module.` was taken off 2 of 3 keys"]


def test_half_a_prefix_of_somebodys_own_stays_and_is_named_later() -> None:
    mixed = {("net." if key.startswith("fc") else "") + key: value for key, value in STATE.items()}
    assert standard_keys(mixed, "x.pth") == (mixed, [])


def test_names_of_old_releases() -> None:
    old = {key.replace("norm1", "norm.1"): value for key, value in STATE.items()}
    assert standard_keys(old, "x.pth")[0] == STATE


def test_fc_without_multitask() -> None:
    old = {key.replace("fc_vid", "fc"): value for key, value in STATE.items()}
    assert standard_keys(old, "x.pth")[0] == STATE
    others = {"features.conv0.weight": torch.zeros(1), "fc.weight": torch.zeros(1)}
    assert standard_keys(others, "x.pth")[0].keys() == others.keys(), "torchvision's own classifier"


def test_batch_counters_and_averages() -> None:
    state = {"module.base.norm0.running_mean": torch.zeros(2), "n_averaged": torch.tensor(4)}
    found, remarks = standard_keys(state, "x.pth")
    assert found.keys() == {"base.norm0.running_mean", "base.norm0.num_batches_tracked"}
    assert len(remarks) == 3
    counted = {"base.norm0.running_mean": torch.zeros(2), "base.norm0.num_batches_tracked": torch.tensor(7)}
    assert standard_keys(counted, "x.pth") == (counted, [])


def test_two_keys_of_one_name_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"x\.pth: module\.fc_vid\.bias and fc_vid\.bias are both fc_vid\.bias"
    ):
        standard_keys({"module.fc_vid.bias": torch.zeros(1), "fc_vid.bias": torch.zeros(1)}, "x.pth")
