"""Plain vehicles: a share of them, and nothing changed where there are none."""

import numpy as np

from training.synthesize.vehicle_pictures import Parameters, as_json, make_vehicle


def same(seed: int, number: int, share: float) -> bool:
    loud, other = (make_vehicle(seed, "train", number, plain_share=s) for s in (0.0, share))
    return np.array_equal(loud.mesh.texture, other.mesh.texture)


def test_a_share_of_vehicles_is_plain() -> None:
    plain = sum(not same(0, number, 0.5) for number in range(24))
    assert 4 <= plain <= 20


def test_a_share_of_none_changes_nothing() -> None:
    assert all(same(0, number, 0.0) for number in range(3))


def test_a_data_set_without_plain_vehicles_is_described_as_before() -> None:
    described = {
        share: as_json(Parameters(0, 1, 0, 2, 64, "normal", 2, False, False, plain_share=share))
        for share in (0.0, 0.5)
    }
    assert "plain_share" not in described[0.0]
    assert described[0.5]["plain_share"] == 0.5
