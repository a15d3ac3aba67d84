"""Stages of a frame: what is inside another stage counts once, and off means off."""

from __future__ import annotations

from threading import Thread

import pytest
from torch import device, nn, zeros

from sipmask_core.runtime import stopwatch
from sipmask_core.runtime.stopwatch import Stopwatch, latencies, stage, time_module


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the clock go on by one second whenever somebody looks."""
    now = iter(range(1000))
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: float(next(now)))


@pytest.mark.usefixtures("seconds")
def test_an_inner_stage_is_not_counted_for_the_outer_one() -> None:
    watch = Stopwatch()
    with watch.listening(), stage("whole"), stage("part"), stage("whole"):
        pass
    assert watch.seconds == {"whole": 3.0, "part": 2.0}


@pytest.mark.usefixtures("seconds")
def test_a_stage_that_fails_is_closed() -> None:
    watch = Stopwatch()
    with watch.listening(), stage("whole"):
        with pytest.raises(ValueError, match="failed"), stage("part"):
            raise ValueError("failed")
        with stage("rest"):
            pass
    assert watch.seconds == {"whole": 3.0, "part": 1.0, "rest": 1.0}


def test_nothing_is_timed_while_nobody_listens() -> None:
    watch = Stopwatch()
    assert stage("a") is stage("b")
    with stage("a"):
        pass
    assert watch.seconds == {}


def test_the_device_is_waited_for_at_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[device] = []
    monkeypatch.setattr(stopwatch, "wait_for", waits.append)
    gpu = device("cuda")
    with Stopwatch().listening(gpu), stage("a"):
        assert waits == [gpu]
    assert waits == [gpu, gpu]


def test_a_thread_is_timed_by_its_own_stopwatch_alone() -> None:
    def work() -> None:
        with stage("unheard"), Stopwatch().listening() as own, stage("heard"):
            pass
        seen.append(own)

    seen: list[Stopwatch] = []
    with Stopwatch().listening() as watch, stage("a"):
        thread = Thread(target=work)
        thread.start()
        thread.join()
    assert set(watch.seconds) == {"a"}
    assert set(seen[0].seconds) == {"heard"}


def test_a_module_can_be_a_stage() -> None:
    module = nn.Linear(2, 2)
    time_module(module, "linear")
    module(zeros(1, 2))
    watch = Stopwatch()
    with watch.listening():
        module(zeros(1, 2))
    assert set(watch.seconds) == {"linear"}


def test_latencies_are_percentiles_in_milliseconds_by_stage_and_in_total() -> None:
    seconds = [{"decode": 0.001 * i, "network": 0.009} for i in range(1, 102)]
    table = latencies(seconds)
    assert list(table) == ["decode", "network", "total"]
    expected = {"mean": 51, "p50": 51, "p99": 100, "max": 101}
    assert table["decode"] == pytest.approx(expected)
    assert table["total"] == pytest.approx({name: value + 9 for name, value in expected.items()})
    assert latencies([]) == {}
