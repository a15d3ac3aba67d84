"""What the pages in docs/ let people copy holds against the node."""

import json
import re

import numpy as np
import pytest
from places import ROOT

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

import yaml
from std_msgs.msg import Header

from sipmask_core.data.classes import COCO_CLASSES
from sipmask_core.instances import Instances
from sipmask_core.positions import Lens
from sipmask_ros.conversions.images import array_to_image
from sipmask_ros.conversions.masks import label_image
from sipmask_ros.conversions.points import instance_points, points_to_message
from sipmask_ros.node.outputs import OUTPUTS
from sipmask_ros.node.parameters import Parameters

NODE = "/segmentation_node/"
TOPICS = {output.name for output in OUTPUTS} | {"instances", "label_info", "vision_label_info"}
SERVICES = {"follow", "segment", "reload_model", "reset_tracks"}


def blocks(page, language):
    """Return the blocks of a language in a page: a path, or a name in docs/."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def shown_lines():
    """Return the lines of the shell that the pages show, whole, with the page of each."""
    pages = [ROOT / "README.md", ROOT / "examples" / "README.md", *(ROOT / "docs").glob("*.md")]
    return [
        (page.name, line)
        for page in sorted(pages)
        for block in blocks(page, "bash")
        for line in block.replace("\\\n", " ").splitlines()
    ]


def leaves(content, path=()):
    """Yield every value of nested tables and lists, and the keys that lead to it."""
    if isinstance(content, dict | list):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from leaves(value, (*path, key))
    else:
        yield content, path


def functions(page):
    """Return what the Python of a page defines."""
    defined = {}
    for block in blocks(page, "python"):
        exec(block, defined)
    return defined


YAML = [
    pytest.param(yaml.safe_load(block), id=f"{page.name} {number}")
    for page in sorted((ROOT / "docs").glob("*.md"))
    for number, block in enumerate(blocks(page.name, "yaml"))
]


@pytest.mark.parametrize("content", YAML)
def test_parameters_of_the_node_are_accepted_and_name_classes_that_it_knows(content):
    for node, table in content.items():
        if node.endswith("segmentation_node"):
            parameters = Parameters(**table["ros__parameters"])
            named = {*parameters.classes, *parameters.ignore_classes, *parameters.thresholds}
            assert named <= set(COCO_CLASSES)


@pytest.mark.parametrize("content", YAML)
def test_topics_that_others_are_to_subscribe_to_are_those_of_the_node(content):
    for value, path in leaves(content):
        if isinstance(value, str) and value.startswith(NODE):
            assert value.removeprefix(NODE) in TOPICS, path
        if "classes" in path:
            assert value in COCO_CLASSES, path


def test_launch_arguments_that_the_shell_is_shown_exist():
    text = (ROOT / "launch" / "camera.launch.py").read_text(encoding="utf-8")
    declared = set(re.findall(r'^    "(\w+)": \(', text, re.MULTILINE))
    for page, line in shown_lines():
        if "sipmask_ros camera.launch.py" in line:
            assert set(re.findall(r" (\w+):=", line)) <= declared, f"{page}: {line}"


def test_parameters_topics_and_services_that_the_shell_is_shown_are_the_node_s():
    for page, line in shown_lines():
        for name in re.findall(r"param set /segmentation_node (\w+)", line):
            assert name in Parameters.__dataclass_fields__, f"{page}: {line}"
        for name in re.findall(rf"{NODE}([a-z_/]+)", line):
            assert name in TOPICS | SERVICES, f"{page}: {line}"


def test_nav2_s_layer_names_the_classes_that_the_node_reports():
    node, _, layer = (yaml.safe_load(block) for block in blocks("nav2.md", "yaml"))
    (reported,) = (table["ros__parameters"]["classes"] for table in node.values())
    costmap = layer["local_costmap"]["local_costmap"]["ros__parameters"]
    camera = costmap["semantic_segmentation_layer"]["camera"]
    named = [name for kind in camera["class_types"] for name in camera[kind]["classes"]]
    assert named == reported


def test_foxglove_s_layout_shows_topics_of_the_node_in_panels_that_exist():
    layout = json.loads((ROOT / "config" / "foxglove.json").read_text(encoding="utf-8"))
    shown = {name for name, path in leaves(layout["layout"]) if path[-1] in ("first", "second")}
    assert shown == set(layout["configById"])
    text = json.dumps(layout["configById"])
    topics = set(re.findall(rf'"{NODE}([\w/]+)', text))
    assert topics == {"overlay/compressed", "points", "markers", "instances"}
    assert topics - {"markers"} <= TOPICS


def test_the_complement_of_the_ignore_mask_is_255_where_features_are_allowed():
    mask = np.zeros((4, 6), np.uint8)
    mask[1:3, 2:5] = 255
    allowed = functions("slam.md")["allowed"](array_to_image(mask, "mono8", Header()))
    assert np.array_equal(allowed, np.where(mask, 0, 255))


def test_points_are_told_apart_by_their_instance():
    left, right = np.zeros((2, 4, 6), bool)
    left[:, :2] = right[:, 4:] = True
    seen = Instances.from_masks([left, right], [0.9, 0.8], [0, 16])
    image = np.zeros((4, 6, 3), np.uint8)
    depth = np.full((4, 6), 1000, np.uint16)
    lens = Lens((10.0, 10.0), (2.5, 1.5))
    points = instance_points(seen, label_image(seen), image, depth, 1e-3, lens)
    found = functions("depth.md")["objects"](points_to_message(points, Header()))
    assert [len(found[i]) for i in (0, 1)] == [8, 8]
    assert (found[0]["x"] < 0).all() and (found[1]["x"] > 0).all()
