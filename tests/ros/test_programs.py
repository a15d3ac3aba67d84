"""The programs in docs/programs that need ROS do what the pages say, on a small scale."""

import cv2
import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")
pytest.importorskip("skimage", reason="scikit-image is not installed")

import programs


def test_one_node_serves_two_cameras_and_the_table_has_their_shares(monkeypatch, capsys):
    small = ("--size", "64x48", "--rate", 5, "--seconds", 2, "--warm-up", 2)
    programs.run(monkeypatch, "several_cameras", "--cameras", 2, *small)
    row = capsys.readouterr().out.splitlines()[2]
    cameras, together, each, shares, batch, *latencies = row.strip("| ").split(" | ")
    assert cameras == "2"
    assert sum(map(float, each.split(", "))) == pytest.approx(float(together), abs=0.2)
    smallest, largest = (float(share.rstrip("%")) for share in shares.split(", "))
    assert 0 < smallest <= 50 <= largest and smallest + largest == pytest.approx(100, abs=0.2)
    assert 1 <= float(batch) <= 2
    p50, p99 = (float(latency.removesuffix(" ms")) for latency in latencies)
    assert 0 < p50 <= p99


def test_the_picture_of_a_scene_in_space_is_drawn_from_its_markers(monkeypatch, tmp_path):
    pytest.importorskip("visualization_msgs", reason="visualization_msgs is not installed")
    programs.run(monkeypatch, "scene_3d", tmp_path / "scene.png")
    assert cv2.imread(str(tmp_path / "scene.png")).shape[1] > 1000
