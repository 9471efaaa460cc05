"""Label names in VeRi's order, and VeRi's file names."""

import pytest

from zoo.labels import COLORS, TYPES, VeriName, parse_veri_name


def test_class_order_is_veris() -> None:
    assert COLORS.index("golden") + 1 == 8
    assert TYPES.index("suv") + 1 == 2
    assert (len(COLORS), len(TYPES)) == (10, 9)


def test_a_veri_name() -> None:
    assert parse_veri_name("0002_c002_00030600_0.jpg") == VeriName(2, 2, 30600, 0)
    # The first c of a name is not the camera's.
    assert parse_veri_name("car_0002_c002_00030600_0.jpg") is None


@pytest.mark.parametrize("name", ["", "photo.jpg", "0002_c002_00030600.jpg", "0002_c002_00030600_0.txt"])
def test_other_names_are_not_guessed_at(name: str) -> None:
    assert parse_veri_name(name) is None
