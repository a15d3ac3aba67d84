import json
from types import SimpleNamespace

import cv2
import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")
pytest.importorskip("skimage", reason="the demo scene's photographs are not installed")

from sipmask_ros.trials import soak

SAMPLE = {
    "frames": 100,
    "rate_hz": 60.0,
    "latency_p50_ms": 10.0,
    "latency_p99_ms": 20.0,
    "rss": 9e8,
    "pss": 7e8,
    "anonymous": 5e8,
    "handles": 23,
    "threads": 15,
}


def test_hundreds_of_frames_leave_nothing_behind(tmp_path, capfd):
    record, plot = tmp_path / "soak.json", tmp_path / "soak.png"
    files = ("--json", str(record), "--plot", str(plot))
    code = soak.main(["--frames", "200", "--cameras", "2", *files])
    output = capfd.readouterr()
    assert code == 0, output.err
    report = json.loads(record.read_text())
    holds = {criterion["name"]: criterion["holds"] for criterion in report["criteria"]}
    assert holds.pop("memory") is None  # that takes a longer run
    assert holds == dict.fromkeys(("handles", "threads", "counters", "ids", "requests"), True)
    assert report["frames"]["recorded"] >= 200
    assert report["happened"]["image is broken"] > 0
    assert len(report["happened"]) == 12  # everything
    assert "counters  holds" in output.out and "Traceback" not in output.err
    assert cv2.imread(str(plot)).shape[0] > 500


def stopped(cameras, **node):
    """Return what ends a run of 100 frames with these cameras and this node."""
    args = SimpleNamespace(frames=100, calm=True)
    node = SimpleNamespace(describe_end=lambda: "segmentation_node ended with exit code -9", **node)
    return soak.send_and_hear(args, cameras, None, node, SimpleNamespace(requested=False))


def test_a_node_that_dies_is_named():
    samples, reason = stopped(SimpleNamespace(results=7), is_running=lambda: False)
    assert samples == []
    assert reason == "segmentation_node ended with exit code -9 after 7 frames."


def test_a_node_that_falls_silent_is_given_up(monkeypatch):
    monkeypatch.setattr(soak, "STALLED", 0.0)
    _, reason = stopped(SimpleNamespace(results=7), is_running=lambda: True)
    assert reason == "Fewer than 10 results came in 0 s."


def run(monkeypatch, tmp_path, requested=False, **report):
    """Return the exit code if the run gives this report, which is written to tmp_path."""

    def measure(args, interruption):
        interruption.requested = requested
        return {
            "cameras": 3,
            "model": "tiny",
            "device": "cpu",
            "frames": {"recorded": 100},
            "criteria": [],
            "samples": [SAMPLE],
            "ended_early": None,
        } | report

    monkeypatch.setattr(soak, "measure", measure)
    return soak.main(["--json", str(tmp_path / "a.json"), "--plot", str(tmp_path / "a.png")])


@pytest.mark.parametrize(
    ("holds", "ended_early", "sentence"),
    [
        (False, None, "There were 23 handles after the warm-up and 29 at the end."),
        (False, "segmentation_node ended.", "segmentation_node ended."),
        (None, "segmentation_node ended.", "segmentation_node ended."),
    ],
)
def test_what_fails_is_one_sentence_and_the_rest_is_kept(
    holds, ended_early, sentence, monkeypatch, tmp_path, capsys
):
    says = "There were 23 handles after the warm-up and 29 at the end."
    criteria = [
        {"name": "handles", "holds": holds, "says": says},
        {"name": "ids", "holds": True, "says": "0 track ids were used for two objects."},
    ]
    code = run(monkeypatch, tmp_path, criteria=criteria, ended_early=ended_early)
    assert code == 1
    assert capsys.readouterr().err == f"soak: {sentence}\n"
    assert json.loads((tmp_path / "a.json").read_text())["criteria"] == criteria
    assert (tmp_path / "a.png").exists()


def test_ctrl_c_keeps_what_was_measured(monkeypatch, tmp_path):
    assert run(monkeypatch, tmp_path, requested=True) == 130
    assert json.loads((tmp_path / "a.json").read_text())["samples"] == [SAMPLE]


def test_without_samples_there_is_no_picture(monkeypatch, tmp_path):
    assert run(monkeypatch, tmp_path, samples=[]) == 0
    assert not (tmp_path / "a.png").exists()


def test_a_model_that_is_not_there_is_one_sentence(tmp_path, capfd):
    assert soak.main(["--model", str(tmp_path / "none.safetensors")]) == 2
    error = capfd.readouterr().err
    assert "none.safetensors" in error and "Traceback" not in error


@pytest.mark.parametrize("arguments", [["--frames", "0"], ["--cameras", "-1"], ["--size", "big"]])
def test_what_cannot_be_run_is_refused(arguments, capfd):
    with pytest.raises(SystemExit) as exit_:
        soak.main(arguments)
    assert exit_.value.code == 2
    assert arguments[0] in capfd.readouterr().err
