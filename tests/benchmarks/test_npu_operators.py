"""The operators that NPUs are asked for, against torch_npu's list."""

from pathlib import Path

import pytest

from benchmarks.npu_operators import BEGIN, END, LIST, read_registrations, recorded, table, verdict
from tests.conftest import ROOT
from zoo.errors import UserError

LISTED = set(LIST.read_text(encoding="utf-8").split())


@pytest.mark.parametrize(
    ("operator", "who"),
    [
        ("addmm", "torch_npu"),
        ("convolution_backward", "torch_npu"),
        ("_foreach_norm.Scalar", "torch_npu"),
        # A structured operator, of which the list has the form with `out`.
        ("leaky_relu", "torch_npu"),
        ("conv2d", "torch, from other operators"),
        ("lgamma", "CPU fallback"),
    ],
)
def test_who_runs_it(operator: str, who: str) -> None:
    assert verdict(operator, LISTED) == who


def test_what_falls_back_is_told_with_its_place() -> None:
    text = table({"addmm": ["small"], "lgamma": ["pamtri", "--amp O2"]}, LISTED)
    assert "2 operators were asked for." in text
    assert "| CPU fallback (1) | `lgamma` (pamtri, --amp O2) |" in text


def test_registrations_of_a_wheel(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no npu_native_functions"):
        read_registrations(tmp_path)
    (tmp_path / "npu_native_functions.yaml").write_text(
        "supported:\n  - add.Tensor\n  - func: mm(Tensor self)\nautograd:\n  - silu\n"
    )
    (tmp_path / "npu_native_functions_by_codegen.yaml").write_text("supported: []\n")
    assert read_registrations(tmp_path) == "add.Tensor\nmm\nsilu\n"


@pytest.mark.slow
def test_the_page_has_the_table_of_today() -> None:
    page = (ROOT / "docs" / "npu.md").read_text(encoding="utf-8")
    assert page.split(BEGIN)[1].split(END)[0].strip() == table(recorded(), LISTED)
