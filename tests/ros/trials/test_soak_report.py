import cv2
import numpy as np
import pytest

from sipmask_ros.trials.soak_report import draw, growth, judge

FRAMES = np.arange(100, 100_001, 100)
LEVEL = 500e6  # bytes
COUNTED = {
    "sent": 110,
    "received": 105,
    "segmented": 100,
    "dropped_replaced": 5,
    "recorded": 100,
}
TALLIES = {"ids_used_twice": 0, "refusals": 0}


def noise(share):
    return LEVEL * share * np.random.default_rng(0).normal(size=len(FRAMES))


def samples(**changes):
    """Return samples of a run in which nothing grows, but for the series given."""
    series = {"frames": FRAMES, "anonymous": LEVEL, "handles": 23, "threads": 15}
    series = {key: np.broadcast_to(value, len(FRAMES)) for key, value in (series | changes).items()}
    return [dict(zip(series, row, strict=True)) for row in zip(*series.values(), strict=True)]


def failing(counted=COUNTED, tallies=TALLIES, **series):
    """Return the names of the criteria that do not hold."""
    return {c.name for c in judge(counted, samples(**series), tallies) if c.holds is False}


def test_a_run_in_which_nothing_grows_holds_every_criterion():
    assert all(criterion.holds for criterion in judge(COUNTED, samples(), TALLIES))


@pytest.mark.parametrize("noisy", [0, 0.002])
def test_a_leak_of_one_percent_is_found(noisy):
    after_warm_up = FRAMES.max() * 0.9
    leak = 0.0105 * LEVEL * FRAMES / after_warm_up
    assert failing(anonymous=LEVEL + leak + noise(noisy)) == {"memory"}
    grown = growth(FRAMES, LEVEL + leak + noise(noisy))
    assert grown.per_frame == pytest.approx(0.0105 * LEVEL / after_warm_up, rel=0.1)


def test_a_late_step_is_growth():
    assert failing(anonymous=LEVEL + 0.02 * LEVEL * (FRAMES > 80_000)) == {"memory"}


def test_noise_is_no_growth():
    assert failing(anonymous=LEVEL + noise(0.01)) == set()


def test_single_outliers_are_no_growth():
    outliers = np.where(np.arange(len(FRAMES)) % 50 == 49, 0.2 * LEVEL, 0)
    assert failing(anonymous=LEVEL + outliers) == set()


def test_what_grows_while_it_warms_up_does_not_count():
    warming = np.minimum(FRAMES / 10_000, 1)
    assert failing(anonymous=LEVEL * (0.5 + 0.5 * warming)) == set()


def test_less_memory_than_before_is_no_growth():
    assert failing(anonymous=LEVEL - 0.1 * LEVEL * (FRAMES > 50_000)) == set()


@pytest.mark.parametrize("name", ["handles", "threads"])
def test_one_handle_or_thread_more_is_found(name):
    usual = {"handles": 23, "threads": 15}[name]
    assert failing(**{name: usual + (FRAMES > 70_000)}) == {name}


def test_a_thread_that_ends_and_starts_again_is_none_more():
    assert failing(threads=15 - (np.arange(len(FRAMES)) % 7 == 0) * (FRAMES < 30_000)) == set()


@pytest.mark.parametrize(
    "change",
    [
        {"received": 106},  # one of them has no outcome
        {"dropped_replaced": 4},
        {"sent": 104},  # more were received
        {"recorded": 99},
        {"segmented": 0, "dropped_replaced": 105, "recorded": 0},
    ],
)
def test_counts_that_do_not_add_up_are_found(change):
    assert failing(COUNTED | change) == {"counters"}


def test_counts_that_are_not_final_are_not_judged():
    criteria = judge(COUNTED | {"received": 106}, samples(), TALLIES, final=False)
    assert {c.name for c in criteria if c.holds is None} == {"counters"}


def test_ids_used_twice_and_refused_requests_are_found():
    assert failing(tallies={"ids_used_twice": 1, "refusals": 1}) == {"ids", "requests"}


def test_memory_is_not_judged_by_few_frames():
    short = [sample | {"frames": sample["frames"] // 100} for sample in samples()]
    assert {c.name for c in judge(COUNTED, short, TALLIES) if c.holds is None} == {"memory"}


@pytest.mark.parametrize("number", [0, 1, 5])
def test_without_samples_nothing_is_said_of_what_was_sampled(number):
    criteria = judge(COUNTED, samples()[:number], TALLIES)
    assert {c.name for c in criteria if c.holds is None} == {"memory", "handles", "threads"}


@pytest.mark.parametrize("number", [1, len(FRAMES)])
def test_the_picture_is_drawn_also_of_what_is_incomplete(number, tmp_path):
    report = {
        "frames": COUNTED,
        "cameras": 3,
        "model": "tiny",
        "device": "cpu",
        "samples": [
            sample | {"latency_p50_ms": None, "latency_p99_ms": 9.0, "rate_hz": 60.0}
            for sample in samples()[:number]
        ],
    }
    draw(report, tmp_path / "soak.png")
    assert cv2.imread(str(tmp_path / "soak.png")).shape[0] > 500
