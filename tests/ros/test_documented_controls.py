"""The YAML in docs/controls.md and docs/lifecycle.md is what the node takes."""

import re
from textwrap import dedent

import pytest

pytest.importorskip("yaml", reason="PyYAML is not installed")
pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

import yaml
from places import ROOT

from sipmask_ros.node.parameters import Parameters


def documented(page):
    """Return the parameters of the node in all YAML of a page."""
    values = {}
    for block in re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / page).read_text(), re.S):
        parsed = yaml.safe_load(dedent(block))
        node = parsed.get("/**/segmentation_node", {"ros__parameters": parsed})
        values |= node["ros__parameters"]
    return values


def test_the_controls_that_are_shown_are_taken():
    topics = ("/front/image_raw", "rear")
    parameters = Parameters(image_topics=topics, **documented("controls.md"))
    assert parameters.thresholds == {"person": 0.5, "traffic light": 0.2}
    assert parameters.lowest_score == 0.2
    both, gripper = (parameters.zones_of(topic) for topic in topics)
    assert both is not None and gripper is not None


def test_a_lifecycle_manager_is_left_to_start_the_node():
    assert not Parameters(**documented("lifecycle.md")).autostart
