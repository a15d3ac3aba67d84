import numpy as np
import pytest

from sipmask_core.motion import LEAST_SIGHTINGS, MOST_SIGHTINGS, WINDOW, TrackMotions

VELOCITY = np.array([0.6, -0.2, 1.1])


def follow_many(stamps, positions, deviations):
    """Show tracks at (n, T, 3) positions; return their velocities (n, T, 3), deviations (n, T)."""
    motions, ids = TrackMotions(), np.arange(positions.shape[1])
    found = [
        motions.update(stamp, ids, points, np.full(len(ids), deviation), set(ids.tolist()))
        for stamp, points, deviation in zip(stamps, positions, deviations, strict=True)
    ]
    return np.array([f.values for f in found]), np.array([f.deviations for f in found])


def follow(stamps, positions, motions):
    """Show track 1 at (n, 3) positions; return its velocities (n, 3) and deviations (n,)."""
    found = [
        motions.update(stamp, np.array([1]), position[None], np.array([0.05]), {1})
        for stamp, position in zip(stamps, positions, strict=True)
    ]
    return np.array([f.values[0] for f in found]), np.array([f.deviations[0] for f in found])


@pytest.mark.parametrize("rate", [2, 15, 60])
@pytest.mark.parametrize("noise", [0.005, 0.05])
def test_errors_are_as_large_as_the_stated_deviations(rate, noise):
    rng = np.random.default_rng(5)
    stamps = 1.7e9 + np.arange(40) / rate
    true = np.array([1, 2, 3]) + np.outer(stamps - stamps[0], VELOCITY)
    seen = true[:, None] + rng.normal(0, noise, (40, 1000, 3))
    values, stated = follow_many(stamps, seen, np.full(40, 0.05))
    errors = values - VELOCITY
    for index in (2, 3, 5, 39):
        expected = np.sqrt((stated[index] ** 2).mean())
        assert np.sqrt((errors[index] ** 2).mean()) == pytest.approx(expected, rel=0.1), index
        assert (np.abs(errors[index].mean(axis=0)) < 4 * expected / np.sqrt(1000)).all()


def test_a_sighting_counts_by_how_well_its_depth_is_known():
    rng = np.random.default_rng(6)
    stamps = np.arange(12) / 15
    noise = np.where(np.arange(12) % 3, 0.02, 0.3)
    seen = (
        np.outer(stamps, VELOCITY)[:, None] + rng.normal(0, 1, (12, 1000, 3)) * noise[:, None, None]
    )
    values, stated = follow_many(stamps, seen, noise)
    alike, _ = follow_many(stamps, seen, np.full(12, 0.05))
    error = np.sqrt(((values[-1] - VELOCITY) ** 2).mean())
    assert error == pytest.approx(np.sqrt((stated[-1] ** 2).mean()), rel=0.1)
    assert error < np.sqrt(((alike[-1] - VELOCITY) ** 2).mean()) / 3


def test_nothing_is_said_before_the_third_sighting_and_what_is_said_then_is_exact():
    stamps = np.arange(4) / 10
    values, deviations = follow(stamps, np.outer(stamps, VELOCITY), TrackMotions())
    assert np.isnan(values[: LEAST_SIGHTINGS - 1]).all()
    assert np.isnan(deviations[: LEAST_SIGHTINGS - 1]).all()
    assert np.allclose(values[LEAST_SIGHTINGS - 1 :], VELOCITY)
    assert (deviations[LEAST_SIGHTINGS - 1 :] > 0).all(), "no position is known without an error"


def test_slow_cameras_have_velocities_too_and_fast_ones_follow_a_change_in_a_second():
    stamps = np.arange(5) * 3.0
    assert np.allclose(follow(stamps, np.outer(stamps, VELOCITY), TrackMotions())[0][2:], VELOCITY)
    stamps = np.arange(60) / 20
    turned = np.maximum(0, stamps - 1.5)
    values, deviations = follow(stamps, np.outer(turned, VELOCITY), TrackMotions())
    assert np.allclose(values[stamps < 1.5][2:], 0)
    assert np.allclose(values[stamps > 1.5 + WINDOW], VELOCITY)
    during = (stamps > 1.6) & (stamps < 1.4 + WINDOW)
    assert (deviations[during] > 3 * deviations[-1]).all(), "a turn is no straight line"


def test_objects_have_velocities_of_their_own_in_their_order():
    motions, unseen = TrackMotions(), [np.nan] * 3
    for step in range(5):
        found = motions.update(
            step / 10,
            np.array([7, -1, 3, 9]),
            np.array([[0.1 * step, 0, 2], [0.5 * step, 0, 2], unseen, [0, 0, 5 - 0.2 * step]]),
            np.array([0.02, 0.02, np.nan, 0.02]),
            {3, 7, 9},
        )
    assert np.allclose(found.values[[0, 3]], [[1, 0, 0], [0, 0, -2]])
    assert np.isnan(found.values[[1, 2]]).all() and np.isnan(found.deviations[[1, 2]]).all()
    assert len(motions) == 2


def test_a_track_that_is_hidden_is_remembered_while_it_lives_and_no_longer():
    motions = TrackMotions()
    nobody = np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros(0)
    follow([0.0, 0.1, 0.2], np.zeros((3, 3)), motions)
    assert len(motions.update(0.3, *nobody, {1}).values) == 0
    values, _ = follow([1.1], np.zeros((1, 3)), motions)
    assert np.allclose(values, 0), "it comes out of hiding with what was known"
    motions.update(1.2, *nobody, set())
    assert len(motions) == 0
    assert np.isnan(follow([1.3], np.zeros((1, 3)), motions)[0]).all()


def test_when_time_jumps_back_all_is_forgotten_and_an_image_that_comes_twice_counts_once():
    motions = TrackMotions()
    stamps = np.array([10.0, 10.1, 10.1, 10.1])
    assert np.isnan(follow(stamps, np.zeros((4, 3)), motions)[0]).all()
    assert np.isfinite(follow([10.2, 10.2], np.zeros((2, 3)), motions)[0]).all()
    back = follow([5.0, 5.1, 5.2], np.outer([5.0, 5.1, 5.2], VELOCITY), motions)[0]
    assert np.isnan(back[:2]).all() and np.allclose(back[2], VELOCITY)


def test_memory_is_bounded_by_the_tracks_that_live_and_sightings_by_their_number():
    motions = TrackMotions()
    for step in range(3 * MOST_SIGHTINGS):
        ids = np.arange(step, step + 5)
        motions.update(step / 1000, ids, np.zeros((5, 3)), np.zeros(5), set(ids.tolist()))
    assert len(motions) == 5
    stamps = np.arange(3 * MOST_SIGHTINGS) / 1000
    assert np.allclose(
        follow(stamps, np.outer(stamps, VELOCITY), TrackMotions())[0][2:], VELOCITY, atol=1e-6
    )
