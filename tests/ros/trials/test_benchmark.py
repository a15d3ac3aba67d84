import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")
pytest.importorskip("skimage", reason="the demo scene's photographs are not installed")

from sipmask_ros.trials import benchmark
from sipmask_ros.trials.benchmark import figures, search

STAGES = {"receive", "wait", "decode", "preprocess", "nms", "track", "message", "other"}


def searched(limit, rates=()):
    """Return the rate found for a node that holds all up to the limit, and the rates tried."""
    tried = []

    def holds(rate):
        tried.append(rate)
        return rate <= limit

    return search({rate: rate <= limit for rate in rates}, holds), tried


@pytest.mark.parametrize("limit", [2.0, 17.0, 20.0, 61.0, 400.0])
def test_the_search_ends_just_below_the_highest_rate_that_holds(limit):
    found, tried = searched(limit, (15.0, 30.0, 60.0))
    assert limit / 1.06 <= found <= limit
    assert len(tried) < 12


def test_the_search_goes_on_from_what_is_known():
    _, tried = searched(20.0, (15.0, 30.0, 60.0))
    assert all(15.0 < rate < 30.0 for rate in tried)


def test_a_node_that_holds_no_rate_gets_none():
    found, tried = searched(0.0, (15.0,))
    assert found == 0.0
    assert min(tried) <= 1.0


def test_a_node_that_holds_every_rate_is_not_tried_for_ever():
    found, tried = searched(float("inf"), (60.0,))
    assert found == 1000.0
    assert len(tried) < 8


def recorded(stamps):
    """Return what a recorder holds after images of these stamps, each of which took 50 ms."""
    stages = {f"network_{statistic}_ms": "40.000" for statistic in ("mean", "p50", "p99")}
    constant = {"model": "tiny", "device": "cpu", "precision": "fp32", "peak_memory_mb": "1"}
    return SimpleNamespace(
        receipts=[stamp + 0.05 for stamp in stamps],
        latencies=[0.05] * len(stamps),
        instance_counts=[2] * len(stamps),
        diagnostics=constant | stages | {"received": str(len(stamps))},
    )


@pytest.mark.parametrize(
    ("images_per_second", "number", "holds"), [(60, 100, True), (60, 94, False), (40, 100, False)]
)
def test_a_rate_holds_where_it_was_sent_and_came_through(images_per_second, number, holds):
    trial = figures(60.0, 100, recorded(np.linspace(0, 99 / images_per_second, number)))
    assert trial["holds"] is holds
    assert trial["sent_hz"] == pytest.approx(images_per_second)
    assert trial["achieved_hz"] == pytest.approx(images_per_second * number / 100)
    assert trial["stages_ms"]["deliver"]["mean"] == pytest.approx(10)


def test_a_trial_of_which_nothing_came_through_has_no_latency():
    trial = figures(60.0, 100, recorded([]))
    assert trial["lost_share"] == 1 and not trial["holds"]
    assert trial["latency_p50_ms"] is None
    json.dumps(trial, allow_nan=False)


def test_a_node_that_dies_costs_its_own_trial_alone(monkeypatch, tmp_path, capsys):
    def trial(args, rate, interruption):
        if rate > 5:
            raise benchmark.InputError("segmentation_node ended with exit code -9.")
        return figures(rate, 10, recorded(np.arange(10) / rate))

    monkeypatch.setattr(benchmark, "run_trial", trial)
    assert benchmark.main(["--rates", "5", "20", "--json", str(tmp_path / "node.json")]) == 1
    report = json.loads((tmp_path / "node.json").read_text())
    assert [trial["rate_hz"] for trial in report["trials"]] == [5]
    assert capsys.readouterr().err.endswith(f"benchmark: {report['ended_early']}\n")


def test_rates_stages_and_losses_are_written_and_drawn(tmp_path, capfd):
    record, plot = tmp_path / "node.json", tmp_path / "node.png"
    quick = ("--rates", "5", "--seconds", "1", "--no-search", "--size", "320x180", "--threads", "1")
    code = benchmark.main([*quick, "--json", str(record), "--plot", str(plot)])
    assert code == 0, capfd.readouterr().err
    report = json.loads(record.read_text())
    (trial,) = report["trials"]
    assert trial["sent"] == 5
    assert 0 < trial["recorded"] <= trial["received"] <= 5
    assert trial["lost_share"] == 1 - trial["recorded"] / 5
    assert set(trial["stages_ms"]) >= STAGES
    assert all(stage["mean"] >= 0 for stage in trial["stages_ms"].values())
    assert "network" in capfd.readouterr().out
    assert cv2.imread(str(plot)).shape[1] > 800


def test_a_model_that_is_not_there_is_one_sentence(tmp_path, capfd):
    assert benchmark.main(["--rates", "5", "--model", str(tmp_path / "none.pth")]) == 2
    error = capfd.readouterr().err
    assert "segmentation_node ended with exit code 2" in error
    assert "Traceback" not in error


@pytest.mark.parametrize("arguments", [["--size", "big"], ["--rates", "0"], ["--seconds", "-1"]])
def test_what_cannot_be_measured_is_refused(arguments, capfd):
    with pytest.raises(SystemExit) as exit_:
        benchmark.main(arguments)
    assert exit_.value.code == 2
    assert arguments[0] in capfd.readouterr().err
