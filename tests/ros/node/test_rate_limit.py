import numpy as np
import pytest

from sipmask_ros.node.rate_limit import RateLimit


def passed(limit, times):
    return [time for time in times if limit.allows(time)]


def test_without_a_rate_all_pass():
    assert passed(RateLimit(0.0), [1.0, 1.0, 1.1]) == [1.0, 1.0, 1.1]


@pytest.mark.parametrize("rate", [1.0, 7.0, 10.0, 15.0, 23.0])
@pytest.mark.parametrize("jitter", [0.0, 0.01])
def test_the_mean_rate_is_the_wanted_one_at_any_rate_of_the_camera(rate, jitter):
    rng = np.random.default_rng(0)
    times = np.sort(100 + np.arange(3000) / 30 + rng.uniform(-jitter, jitter, 3000))
    kept = passed(RateLimit(rate), times)
    assert len(kept) == pytest.approx(100 * rate, rel=0.02)
    assert np.diff(kept).min() >= 1 / rate - 1 / 30 - 2 * jitter - 1e-9


def test_a_pause_is_not_made_up_for():
    limit = RateLimit(10.0)
    passed(limit, [0.0, 0.1, 0.2])
    assert len(passed(limit, [60 + i / 100 for i in range(100)])) <= 11


def test_a_higher_rate_counts_at_once():
    limit = RateLimit(0.01)
    assert passed(limit, [50.0, 51.0]) == [50.0]
    limit.rate = 10.0
    assert limit.allows(51.1)
    assert not limit.allows(51.15)
