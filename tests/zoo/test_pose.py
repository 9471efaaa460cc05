"""The order of keypoints and segments, and their scaling against numbers worked out by hand."""

import numpy as np
import pytest

from zoo.pose import (
    FLIP_KEYPOINTS,
    FLIP_SEGMENTS,
    NUM_KEYPOINTS,
    NUM_SEGMENTS,
    POSE_MEAN,
    POSE_STD,
    SEGMENTS,
    flip_keypoints,
    scale_keypoints,
    visible_segments,
)


@pytest.fixture
def keypoints() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.uniform((-20, -20, 0), (220, 120, 1.1), (4, NUM_KEYPOINTS, 3)).astype(np.float32)


def test_scaling_by_hand() -> None:
    keypoints = np.zeros((NUM_KEYPOINTS, 3), np.float32)
    keypoints[0] = (50, 25, 0.9)
    keypoints[35] = (-10, 110, 1.123)
    scaled = scale_keypoints(keypoints, source_size=(100, 200), input_size=(256, 128))
    assert scaled.dtype == np.float32
    assert scaled.shape == (108,)
    np.testing.assert_allclose(scaled[:3], [50 / 200 - 0.5, 25 / 100 - 0.5, 0.9 - 0.5], rtol=1e-6)
    np.testing.assert_allclose(scaled[-3:], [-10 / 200 - 0.5, 110 / 100 - 0.5, 1.123 - 0.5], rtol=1e-6)
    assert (scaled[3:-3] == -0.5).all()


def test_scaling_never_changes_its_input(keypoints: np.ndarray) -> None:
    # The reference scaled in place, so that its keypoints drifted from epoch to epoch.
    before = keypoints.copy()
    first = scale_keypoints(keypoints, (100, 200), (256, 256))
    for _ in range(3):
        assert np.array_equal(scale_keypoints(keypoints, (100, 200), (256, 256)), first)
    assert np.array_equal(keypoints, before)


def test_scaling_takes_batches(keypoints: np.ndarray) -> None:
    batch = scale_keypoints(keypoints, (100, 200), (256, 256))
    assert batch.shape == (4, 108)
    assert np.array_equal(batch[2], scale_keypoints(keypoints[2], (100, 200), (256, 256)))


def test_scaling_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"\[\.\.\., 36, 3\]"):
        scale_keypoints(np.zeros((36, 2)), (1, 1), (1, 1))


def test_flips_are_involutions(keypoints: np.ndarray) -> None:
    assert [FLIP_KEYPOINTS[i] for i in FLIP_KEYPOINTS] == list(range(NUM_KEYPOINTS))
    assert [FLIP_SEGMENTS[i] for i in FLIP_SEGMENTS] == list(range(NUM_SEGMENTS))
    np.testing.assert_allclose(flip_keypoints(flip_keypoints(keypoints, 200), 200), keypoints, atol=1e-4)


def test_flip_swaps_the_sides_and_mirrors_the_columns(keypoints: np.ndarray) -> None:
    before = keypoints.copy()
    flipped = flip_keypoints(keypoints, 200)
    assert np.array_equal(keypoints, before)
    np.testing.assert_allclose(flipped[:, 3, 0], 199 - keypoints[:, 21, 0])
    assert np.array_equal(flipped[:, 3, 1:], keypoints[:, 21, 1:])


def test_the_mirror_image_of_every_segment_is_a_segment() -> None:
    for index, corners in enumerate(SEGMENTS):
        mirrored = {FLIP_KEYPOINTS[corner] for corner in corners}
        assert mirrored == set(SEGMENTS[FLIP_SEGMENTS[index]])
    # Three panels on each side change places; the seven that run across stay.
    assert (3, 4, 5, 0, 1, 2, *range(6, 13)) == FLIP_SEGMENTS


def test_a_segment_needs_all_of_its_corners() -> None:
    keypoints = np.full((NUM_KEYPOINTS, 3), 0.5)
    assert visible_segments(keypoints).all()
    keypoints[5, 2] = 0.49
    assert visible_segments(keypoints).tolist() == [5 not in corners for corners in SEGMENTS]
    assert visible_segments(np.stack([keypoints] * 3)).shape == (3, NUM_SEGMENTS)


def test_pose_channels_take_the_average_normalisation() -> None:
    assert pytest.approx((0.485 + 0.456 + 0.406) / 3) == POSE_MEAN
    assert pytest.approx((0.229 + 0.224 + 0.225) / 3) == POSE_STD
