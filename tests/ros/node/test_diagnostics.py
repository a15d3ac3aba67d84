import pytest

pytest.importorskip("diagnostic_msgs", reason="no ROS 2 in this environment")

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.time import Time

from sipmask_ros.node.diagnostics import INACTIVE, LATENCY_WINDOW, Outcome, Reporter, Statistics

FACTS = {"model": "tiny", "device": "cpu", "precision": "fp32"}


def report(reporter, second):
    status = reporter.report(Time(seconds=second), FACTS)
    return status, {pair.key: pair.value for pair in status.values}


def reporter_of(statistics):
    return Reporter(statistics, "node: segmentation")


def test_the_counts_add_up_to_what_was_received():
    statistics = Statistics()
    for outcome in [*Outcome, Outcome.SEGMENTED]:
        statistics.receive()
        statistics.finish(outcome)
    statistics.receive()
    _, values = report(reporter_of(statistics), 1)
    assert values["received"] == "10"
    assert values["segmented"] == "2"
    assert values["in_progress"] == "1"
    assert sum(int(values[o.value]) for o in Outcome) + 1 == 10


def test_the_rate_is_that_since_the_last_report():
    statistics = Statistics()
    reporter = reporter_of(statistics)
    report(reporter, 10)
    for _ in range(30):
        statistics.receive()
        statistics.finish(Outcome.SEGMENTED)
    assert report(reporter, 12)[1]["rate_hz"] == "15.0"
    assert report(reporter, 13)[1]["rate_hz"] == "0.0"


def test_latency_percentiles_are_in_milliseconds_over_the_last_images():
    statistics = Statistics()
    reporter = reporter_of(statistics)
    assert "latency_p50_ms" not in report(reporter, 1)[1]
    for _ in range(LATENCY_WINDOW):
        statistics.add_latency(9.0)
    for index in range(LATENCY_WINDOW):
        statistics.add_latency(index / LATENCY_WINDOW)
    _, values = report(reporter, 2)
    assert float(values["latency_p50_ms"]) == pytest.approx(500, abs=3)
    assert float(values["latency_p99_ms"]) == pytest.approx(990, abs=3)


@pytest.mark.parametrize(
    ("outcome", "level", "message"),
    [
        (Outcome.SEGMENTED, DiagnosticStatus.OK, "segmenting"),
        (Outcome.REPLACED, DiagnosticStatus.OK, "segmenting"),
        (Outcome.LIMITED, DiagnosticStatus.OK, "segmenting"),
        (Outcome.IDLE, DiagnosticStatus.OK, "idle, nobody subscribes"),
        (Outcome.BROKEN, DiagnosticStatus.WARN, "images are broken"),
        (Outcome.STALE, DiagnosticStatus.WARN, "images are older than max_age"),
        (Outcome.FAILED, DiagnosticStatus.ERROR, "segmentation fails"),
    ],
)
def test_the_level_tells_what_happened_since_the_last_report_and_recovers(outcome, level, message):
    statistics = Statistics()
    reporter = reporter_of(statistics)
    statistics.receive()
    statistics.finish(outcome)
    status, _ = report(reporter, 1)
    assert (status.level, status.message) == (level, message)
    status, _ = report(reporter, 2)
    assert (status.level, status.message) == (DiagnosticStatus.WARN, "no images")


def test_device_model_and_memory_are_named():
    status, values = report(reporter_of(Statistics()), 1)
    assert status.hardware_id == values["device"] == "cpu"
    assert (values["model"], values["precision"]) == ("tiny", "fp32")
    assert float(values["peak_memory_mb"]) > 1


def test_the_last_report_says_that_its_counts_are_final():
    reporter = reporter_of(Statistics())
    assert reporter.report(Time(seconds=1), FACTS).message != INACTIVE
    status = reporter.report(Time(seconds=2), FACTS, active=False)
    assert (status.level, status.message) == (DiagnosticStatus.OK, INACTIVE)


def test_stages_are_told_where_they_were_measured():
    statistics = Statistics()
    reporter = reporter_of(statistics)
    _, values = report(reporter, 1)
    assert not any(key.endswith("_mean_ms") for key in values)
    statistics.add_stages({"wait": 0.001, "network": 0.02})
    statistics.add_stages({"wait": 0.003, "network": 0.02, "masks": 0.004})
    _, values = report(reporter, 2)
    assert values["wait_mean_ms"] == "2.000"
    assert values["network_p50_ms"] == values["network_p99_ms"] == "20.000"
    assert values["masks_mean_ms"] == "2.000"  # nothing was found in the other image
