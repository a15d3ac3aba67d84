from collections import Counter

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

from sipmask_ros.trials.soak_disturbances import Disturbances


class Anything:
    """Notes in one log every method called on it and every attribute set."""

    def __init__(self, log):
        self.__dict__["_log"] = log

    def __getattr__(self, name):
        return lambda *arguments: self._log.append((name, *arguments))

    def __setattr__(self, name, value):
        self._log.append(name if name == "silent_until" else (name, value))


class StandIn(Anything):
    """Stands in for the cameras: results come and requests are answered when the test says so."""

    def __init__(self):
        self.__dict__.update(log=[], results=0, waiting=False)
        super().__init__(self.log)
        self.__dict__["cameras"] = [Anything(self.log) for _ in range(3)]

    def is_waiting(self):
        return self.waiting

    def output(self, topic, name):
        return name


def disturbed(seed, results):
    """Return what happened until this many results, with something every 10, and the log of it."""
    cameras = StandIn()
    disturbances = Disturbances(cameras, interval=10, seed=seed)
    for cameras.__dict__["results"] in range(results + 1):
        disturbances.step()
    return disturbances.happened, cameras.log


def test_every_kind_happens_once_before_one_happens_again():
    kinds, _ = disturbed(seed=0, results=10_000)
    happened, _ = disturbed(seed=0, results=10 * len(kinds))
    assert happened == dict.fromkeys(kinds, 1)
    happened, _ = disturbed(seed=0, results=10 * len(kinds) + 10)
    assert sorted(Counter(happened.values()).items()) == [(1, len(kinds) - 1), (2, 1)]


def test_the_seed_decides_what_happens():
    assert disturbed(seed=1, results=500) == disturbed(seed=1, results=500)
    assert disturbed(seed=1, results=500)[1] != disturbed(seed=2, results=500)[1]


def test_in_the_warm_up_more_happens():
    cameras = StandIn()
    disturbances = Disturbances(cameras, interval=10, seed=0, warm_up=100)
    counts = []
    for cameras.__dict__["results"] in range(201):
        disturbances.step()
        counts.append(disturbances.happened.total())
    assert (counts[100], counts[200]) == (50, 60)


def test_nothing_happens_while_an_answer_is_missing():
    cameras = StandIn()
    disturbances = Disturbances(cameras, interval=10, seed=0)
    cameras.__dict__.update(results=10, waiting=True)
    disturbances.step()
    assert disturbances.happened.total() == 0
    cameras.__dict__.update(waiting=False)
    disturbances.step()
    assert disturbances.happened.total() == 1
