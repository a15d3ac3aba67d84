import argparse
import hashlib
import json
import os
import signal
import time
from pathlib import Path

import cv2
import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")
pytest.importorskip("skimage", reason="the demo scene's photographs are not installed")

from ros_harness import PATIENCE, NodeProcess, isolate_discovery

import sipmask_core as sm
from sipmask_core.video import Frames
from sipmask_ros.start import MODULES
from sipmask_ros.trials import demo


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return untrained weights: the tests are about the way of the frames, not what is seen."""
    path = tmp_path_factory.mktemp("model") / "untrained.safetensors"
    names = ("person",)
    sm.save_checkpoint(sm.build_model("sipmask_r18_lite", len(names), names), path, {})
    return path


@pytest.fixture
def start(tmp_path, model):
    """Return what starts a demo that writes to tmp_path / "demo"."""
    started = []

    def start(*options):
        command = ("-m", "sipmask_ros.trials.demo", "--size", "320x180", "--rate", "5")
        output = ("--model", model, "--output", tmp_path / "demo")
        started.append(NodeProcess(tmp_path / "log", *command, *output, *options))
        return started[-1]

    yield start
    for process in started:
        process.end()


def wait_for(process, text):
    end = time.monotonic() + PATIENCE
    while text not in process.output:
        assert process.running, process.output
        assert time.monotonic() < end, process.output
        time.sleep(0.02)


def processes_with(argument):
    """Return the command lines of running processes that contain it, by process id."""
    lines = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended meanwhile
            continue
        if str(argument) in line:
            lines[int(path.parent.name)] = line
    return lines


def parent_of(pid):
    # After the name in brackets: the state, the parent.
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_every_frame_is_accounted_for_and_the_pictures_are_there(start, tmp_path, model):
    process = start("--seconds", "3")
    assert process.wait() == 0, process.output
    report = json.loads((tmp_path / "demo" / "report.json").read_text())
    frames = report["frames"]
    dropped = sum(value for key, value in frames.items() if key.startswith("dropped_"))
    assert report["adds_up"] is True
    assert frames["sent"] == frames["received"] + frames["lost_in_transport"]
    assert frames["received"] == frames["segmented"] + dropped
    assert frames["recorded"] == frames["segmented"] > 0
    assert 0 < report["latency_p50_ms"] <= report["latency_p99_ms"]
    assert f"{frames['sent']} frames sent" in process.output
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    assert report["provenance"]["inputs"] == {str(model): digest}
    with Frames(tmp_path / "demo" / "overlay.mp4") as film:
        assert len(list(film)) > 0
    assert cv2.imread(str(tmp_path / "demo" / "sheet.png")).shape[1] > 1000
    assert processes_with(model) == {}


@pytest.mark.parametrize("name", ["camera_source", "segmentation_node"])
def test_a_node_that_dies_is_named_and_what_was_recorded_is_kept(name, start, tmp_path):
    process = start("--seconds", "300")
    wait_for(process, "Recording")
    (pid,) = (
        pid for pid, line in processes_with(MODULES[name]).items() if parent_of(pid) == process.pid
    )
    os.kill(pid, signal.SIGKILL)
    assert process.wait() == 1
    sentence = f"{name} ended with exit code -9 while recording; what came before is kept."
    assert process.output.splitlines()[-1] == f"demo: {sentence}"
    report = json.loads((tmp_path / "demo" / "report.json").read_text())
    assert report["ended_early"] == sentence and report["frames"]["recorded"] > 0
    with Frames(tmp_path / "demo" / "overlay.mp4") as film:
        assert len(list(film)) > 0


@pytest.fixture
def happened(monkeypatch):
    """Return what happens: the names of nodes, none of which runs, and "waits"."""
    happened = []

    class Silent:
        def __init__(self, name, parameters):
            happened.append(name)

        def is_running(self):
            return True

        def stop(self):
            return ""

    isolate_discovery()
    monkeypatch.setattr(demo, "NodeProcess", Silent)
    monkeypatch.setattr(demo, "spin", lambda *_: happened.append("waits"))
    return happened


def test_nodes_that_stay_silent_have_a_sentence_of_their_own(happened, tmp_path, capsys):
    assert demo.main(["--output", str(tmp_path / "demo")]) == 2
    assert "No image was segmented within 120 s" in capsys.readouterr().err
    assert list(tmp_path.glob("demo/*")) == []


def test_the_camera_starts_with_the_node_which_warns_of_a_topic_without_one(happened, tmp_path):
    demo.main(["--output", str(tmp_path / "demo")])
    assert happened == ["segmentation_node", "camera_source", "waits"]


def test_without_a_model_named_the_shipped_one_is_hashed(monkeypatch, tmp_path):
    shipped = tmp_path / "shipped.safetensors"
    shipped.write_bytes(b"weights")
    monkeypatch.setattr("sipmask_core.inference.predictor.PRETRAINED", shipped)
    record = demo.provenance_record(argparse.Namespace(command=[], model="", source="demo"))
    assert record["inputs"] == {str(shipped): hashlib.sha256(b"weights").hexdigest()}


def test_ctrl_c_keeps_what_was_recorded_and_leaves_no_process(start, tmp_path, model):
    process = start("--seconds", "300")
    wait_for(process, "Recording")
    code, _ = process.signal(signal.SIGINT)
    assert code == 130 and "Traceback" not in process.output
    assert processes_with(model) == {}
    names = {path.name for path in (tmp_path / "demo").iterdir()}
    assert "report.json" in names and not any(".part" in name for name in names)
    report = json.loads((tmp_path / "demo" / "report.json").read_text())
    assert report["adds_up"] is True


def test_the_nodes_end_with_a_demo_that_is_killed(start, model):
    process = start("--seconds", "300")
    wait_for(process, "Recording")
    nodes = [
        pid
        for pid in processes_with("-m sipmask_ros.trials.tether")
        if parent_of(pid) == process.pid
    ]
    assert len(nodes) == 2
    process.end()
    end = time.monotonic() + PATIENCE
    while any(Path(f"/proc/{pid}/exe").exists() for pid in nodes):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert processes_with(model) == {}


def test_ctrl_c_before_the_first_frame_leaves_nothing(start, tmp_path, model):
    process = start()
    wait_for(process, "Starting")
    code, _ = process.signal(signal.SIGINT)
    assert code == 130 and "Traceback" not in process.output
    assert processes_with(model) == {}
    assert list(tmp_path.glob("demo/*")) == []


def test_a_source_that_cannot_be_opened_ends_the_demo_with_its_reason(start, tmp_path):
    process = start("--source", str(tmp_path / "nothing.mp4"))
    assert process.wait() == 2
    assert "nothing.mp4 does not exist" in process.output
    assert "camera_source ended with exit code 2" in process.output
    assert list(tmp_path.glob("demo/*")) == []
