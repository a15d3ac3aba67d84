"""The filter that says where boxes should be."""

from __future__ import annotations

import numpy as np
import pytest

from sipmask_core.tracking.box_motion import (
    FIRST_SPEED,
    SPEED_HALF_LIFE,
    corrected,
    first_motions,
    predicted,
    uncertainty,
)

FRAME = 1 / 30
BOX = np.array([[100, 50, 140, 130]], np.float32)


def seconds(passed: float, count: int = 1) -> np.ndarray:
    return np.full(count, passed)


def followed(boxes: list[np.ndarray]) -> np.ndarray:
    motions = first_motions(boxes[0])
    for seen in boxes[1:]:
        motions = corrected(predicted(motions, seconds(FRAME)), seen)
    return motions


def test_a_box_that_moves_steadily_is_expected_where_it_will_be() -> None:
    step = np.array([4, -2, 4, -2], np.float32)
    motions = followed([BOX + n * step for n in range(20)])
    np.testing.assert_allclose(
        predicted(motions, seconds(FRAME))[0, :4], BOX[0] + 20 * step, atol=2
    )
    np.testing.assert_allclose(motions[0, 4:6], [120, -60], rtol=0.15)


def test_a_box_that_trembles_is_smoothed_and_gets_little_velocity() -> None:
    rng = np.random.default_rng(0)
    shakes = np.tile(rng.normal(0, 4, (200, 2)), 2).astype(np.float32)
    motions = first_motions(BOX + shakes[:1])
    misses = []
    for shake in shakes[1:]:
        motions = corrected(predicted(motions, seconds(FRAME)), BOX + shake)
        misses.append(motions[0, :4] - BOX[0])
    assert np.std(misses[20:]) < 0.8 * np.std(shakes)
    # From one frame to the next it moves by more than 4 pixels, which would be 120 in a second.
    assert np.abs(motions[0, 4:6]).max() < 60


def test_half_of_a_change_of_size_is_believed_and_none_goes_on_unseen() -> None:
    half = BOX + np.array([[0, 0, -20, 0]], np.float32)
    motions = corrected(predicted(first_motions(BOX), seconds(FRAME)), half)
    width = motions[0, 2] - motions[0, 0]
    assert width == pytest.approx(30)
    later = predicted(motions, seconds(1.0))[0]
    assert later[2] - later[0] == pytest.approx(width, abs=1e-3)


def test_an_unseen_box_slows_down() -> None:
    motions = followed([BOX + 3 * n for n in range(20)])
    speed = motions[0, 4]
    later = predicted(motions, seconds(SPEED_HALF_LIFE))
    assert later[0, 4] == pytest.approx(speed / 2, rel=1e-4)
    assert predicted(motions, seconds(1e6))[0, 0] < motions[0, 0] + speed


def test_what_is_not_seen_gets_uncertain_and_being_seen_mends_it() -> None:
    motions = followed([BOX] * 10)
    soon, late = (predicted(motions, seconds(s)) for s in (FRAME, 1.0))
    assert uncertainty(motions) < uncertainty(soon) < uncertainty(late)
    assert uncertainty(corrected(late, BOX)) < 0.1 * uncertainty(late)


def test_a_newcomer_is_less_certain_than_who_is_known() -> None:
    known, new = followed([BOX] * 10), first_motions(BOX)
    assert new[0, 8] == FIRST_SPEED**2 > known[0, 8]
    assert uncertainty(predicted(new, seconds(0.2))) > uncertainty(predicted(known, seconds(0.2)))


def test_a_longer_prediction_is_that_of_its_parts() -> None:
    motions = followed([BOX + 3 * n for n in range(5)])
    once = predicted(motions, seconds(0.2))
    twice = predicted(predicted(motions, seconds(0.1)), seconds(0.1))
    np.testing.assert_allclose(once[:, :6], twice[:, :6], rtol=1e-4)
    np.testing.assert_allclose(uncertainty(once), uncertainty(twice), rtol=0.05)


def test_each_box_of_many_is_filtered_as_if_it_were_alone() -> None:
    rng = np.random.default_rng(0)
    boxes = rng.uniform(0, 300, (5, 4)).astype(np.float32)
    passed = rng.uniform(0.01, 1, 5)
    together = corrected(predicted(first_motions(boxes), passed), boxes + 3)
    for n in range(5):
        alone = predicted(first_motions(boxes[n : n + 1]), passed[n : n + 1])
        np.testing.assert_allclose(
            corrected(alone, boxes[n : n + 1] + 3), together[n : n + 1], rtol=1e-5, atol=1e-6
        )


def test_no_box_gives_no_motion() -> None:
    motions = predicted(first_motions(np.zeros((0, 4), np.float32)), np.zeros(0))
    assert corrected(motions, np.zeros((0, 4), np.float32)).shape == (0, 9)
