"""camera.launch.py, with stand-ins for ROS's launch if that is not installed."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from places import ROOT


class Recorded:
    """What a launch action was made of."""

    def __init__(self, *arguments, **options):
        self.arguments, self.options = arguments, options


@pytest.fixture
def launch_file(monkeypatch):
    for name, members in {
        "launch": ("LaunchContext", "LaunchDescription", "LaunchDescriptionEntity"),
        "launch.actions": ("DeclareLaunchArgument", "OpaqueFunction"),
        "launch_ros": (),
        "launch_ros.actions": ("Node",),
        "launch_ros.parameter_descriptions": ("ParameterValue",),
    }.items():
        module = ModuleType(name)
        for member in members:
            setattr(module, member, type(member, (Recorded,), {}))
        monkeypatch.setitem(sys.modules, name, module)
    spec = importlib.util.spec_from_file_location("camera", ROOT / "launch" / "camera.launch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def started(launch_file, **given):
    """Return the nodes that are started with these arguments, by executable."""
    defaults = {name: default for name, (default, _) in launch_file.ARGUMENTS.items()}
    context = SimpleNamespace(launch_configurations=defaults | given)
    return {node.options["executable"]: node.options for node in launch_file.start(context)}


def values(options):
    """Return the parameters that stand above the file, by name."""
    return {name: value.arguments[0] for name, value in options["parameters"][-1].items()}


def topics(options):
    """Return the lists of topics that stand above the file."""
    return options["parameters"][1]


def test_without_arguments_the_demo_scene_is_segmented(launch_file):
    nodes = started(launch_file)
    assert set(nodes) == {"segmentation_node", "camera_source"}
    assert values(nodes["camera_source"]) == {"source": "demo"}
    assert values(nodes["segmentation_node"]) == {}
    assert topics(nodes["segmentation_node"]) == {}
    assert nodes["camera_source"]["remappings"] == nodes["segmentation_node"]["remappings"]


def test_the_topic_of_a_camera_driver_takes_the_place_of_the_source(launch_file):
    nodes = started(launch_file, image_topic="/camera/color/image_raw")
    assert set(nodes) == {"segmentation_node"}
    assert topics(nodes["segmentation_node"]) == {"image_topics": ["/camera/color/image_raw"]}


def test_several_cameras_and_their_depth_images_are_told_with_commas(launch_file):
    nodes = started(launch_file, image_topic="/front,/rear", depth_topic="/front_depth,/rear_depth")
    assert topics(nodes["segmentation_node"]) == {
        "image_topics": ["/front", "/rear"],
        "depth_topics": ["/front_depth", "/rear_depth"],
    }


def test_arguments_stand_above_the_parameter_file(launch_file):
    nodes = started(launch_file, model="my.pth", device="cpu", transport="compressed")
    wanted = {"model": "my.pth", "device": "cpu", "transport": "compressed"}
    assert values(nodes["segmentation_node"]) == wanted
    assert values(nodes["camera_source"]) == {"source": "demo", "transport": "compressed"}
    for name in ("segmentation_node", "camera_source"):
        assert Path(nodes[name]["parameters"][0]).is_file()


def test_rviz_opens_with_the_configuration_of_this_package(launch_file):
    options = started(launch_file, rviz="true")["rviz2"]
    assert Path(options["arguments"][1]).is_file()


def test_every_argument_is_declared_with_its_description(launch_file):
    (actions,) = launch_file.generate_launch_description().arguments
    declared = [action for action in actions if type(action).__name__ == "DeclareLaunchArgument"]
    assert {action.arguments[0] for action in declared} == set(launch_file.ARGUMENTS)
    assert all(action.options["description"] for action in declared)
