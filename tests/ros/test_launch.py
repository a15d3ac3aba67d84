"""camera.launch.py, with stand-ins for ROS's launch if that is not installed."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import yaml
from places import ROOT

from sipmask_core.errors import InputError


class Recorded:
    """What a launch action was made of."""

    def __init__(self, *arguments, **options):
        self.arguments, self.options = arguments, options


@pytest.fixture
def launch_file(monkeypatch):
    for name, members in {
        "launch": ("LaunchContext", "LaunchDescription", "LaunchDescriptionEntity"),
        "launch.actions": (
            "DeclareLaunchArgument",
            "EmitEvent",
            "LogInfo",
            "OpaqueFunction",
            "RegisterEventHandler",
        ),
        "launch.event_handlers": ("OnProcessExit",),
        "launch.events": ("matches_action",),
        "launch.events.process": ("ShutdownProcess",),
        "launch_ros": (),
        "launch_ros.actions": ("Node",),
        "launch_ros.parameter_descriptions": ("ParameterValue",),
        "ament_index_python.packages": ("get_package_prefix",),
    }.items():
        module = ModuleType(name)
        for member in members:
            setattr(module, member, type(member, (Recorded,), {}))
        monkeypatch.setitem(sys.modules, name, module)
    spec = importlib.util.spec_from_file_location("camera", ROOT / "launch" / "camera.launch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def entities(launch_file, **given):
    """Return what the launch file gives for these arguments."""
    defaults = {name: default for name, (default, _) in launch_file.ARGUMENTS.items()}
    return launch_file.start(SimpleNamespace(launch_configurations=defaults | given))


def of_type(name, given):
    return [each for each in given if type(each).__name__ == name]


def started(launch_file, **given):
    """Return the nodes that are started with these arguments, by executable."""
    nodes = of_type("Node", entities(launch_file, **given))
    return {node.options["executable"]: node.options for node in nodes}


def values(options):
    """Return the parameters that stand above the file, by name."""
    return {
        name: value.arguments[0] if isinstance(value, Recorded) else value
        for name, value in options["parameters"][-1].items()
    }


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


def test_compressed_depth_is_asked_for_by_an_argument(launch_file):
    nodes = started(launch_file, image_topic="/a", depth_transport="compressedDepth")
    assert values(nodes["segmentation_node"]) == {"depth_transport": "compressedDepth"}


def test_spaces_after_commas_and_empty_names_are_no_part_of_a_topic(launch_file):
    nodes = started(launch_file, image_topic=" /front, /rear ,", depth_topic="/a , /b")
    assert topics(nodes["segmentation_node"]) == {
        "image_topics": ["/front", "/rear"],
        "depth_topics": ["/a", "/b"],
    }
    assert set(started(launch_file, image_topic=" , ")) == {"segmentation_node", "camera_source"}


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("segmentation_node: {ros__parameters: {image_topics: [/front/image]}}", True),
        ("/**: {ros__parameters: {image_topics: [/front/image]}}", True),
        ("/**/segmentation_node: {ros__parameters: {image_topics: [image, /rear]}}", True),
        ("robot: {segmentation_node: {ros__parameters: {image_topics: [/rear]}}}", True),
        ("segmentation_node: {ros__parameters: {image_topics: [image]}}", False),
        ("segmentation_node: {ros__parameters: {device: cpu}}", False),
        ("/**: {ros__parameters: 5}", False),
        ("", False),
    ],
)
def test_no_demo_comes_beside_topics_that_the_params_file_names(
    launch_file, tmp_path, content, names
):
    file = tmp_path / "own.yaml"
    file.write_text(content)
    assert ("camera_source" not in started(launch_file, params_file=str(file))) is names
    asked = started(launch_file, params_file=str(file), source="clip.mp4")
    assert "camera_source" in asked, "who names a source gets it"


def shown(nodes):
    """Return the topics of RViz's displays, by name, and its fixed frame."""
    manager = yaml.safe_load(Path(nodes["rviz2"]["arguments"][1]).read_text())[
        "Visualization Manager"
    ]
    topics = {
        display["Name"]: display["Topic"]["Value"]
        for display in manager["Displays"]
        if "Topic" in display
    }
    return topics, manager["Global Options"]["Fixed Frame"]


def test_a_namespace_holds_both_nodes_and_what_rviz_shows(launch_file):
    nodes = started(launch_file, namespace="/robot_1/", rviz="true")
    for name in ("segmentation_node", "camera_source"):
        assert nodes[name]["namespace"] == "robot_1"
    assert shown(nodes) == (
        {
            "Instances": "/robot_1/segmentation_node/overlay",
            "Camera": "/robot_1/camera/image_raw",
            "Objects": "/robot_1/segmentation_node/markers",
        },
        "camera",
    )
    assert started(launch_file)["segmentation_node"]["namespace"] is None


def test_rviz_follows_the_name_of_the_node_and_its_cameras(launch_file, tmp_path):
    nodes = started(
        launch_file,
        name="eyes",
        image_topic="/front/image,rear/image",
        target_frame="odom",
        rviz="1",
    )
    assert nodes["segmentation_node"]["name"] == "eyes"
    assert values(nodes["segmentation_node"]) == {"target_frame": "odom"}
    topics, frame = shown(nodes)
    assert frame == "odom"
    assert topics["Instances"] == "/eyes/front/image/overlay", "which keeps its place in the window"
    assert topics["Instances rear/image"] == "/eyes/rear/image/overlay"
    assert topics["Camera rear/image"] == "/rear/image"
    assert topics["Objects"] == "/eyes/front/image/markers"
    file = tmp_path / "own.yaml"
    file.write_text("/**: {ros__parameters: {image_topics: [/rear], target_frame: map}}")
    topics, frame = shown(started(launch_file, params_file=str(file), rviz="true"))
    assert (topics["Camera"], topics["Instances"], frame) == (
        "/rear",
        "/segmentation_node/overlay",
        "map",
    )


def test_simulated_time_is_for_both_nodes_and_left_to_the_file_if_not_named(launch_file):
    for given, wanted in (
        ({"use_sim_time": "true"}, True),
        ({"use_sim_time": "True"}, True),
        ({"use_sim_time": "1"}, True),
        ({"use_sim_time": "off"}, False),
        ({}, None),
    ):
        nodes = started(launch_file, **given)
        for name in ("segmentation_node", "camera_source"):
            assert values(nodes[name]).get("use_sim_time") is wanted


def ends(given):
    """Return which executable ends which other one."""
    handlers = [each.arguments[0] for each in of_type("RegisterEventHandler", given)]
    pairs = []
    for handler in handlers:
        (action,) = handler.options["on_exit"]
        (target,) = action.options["event"].options["process_matcher"].arguments
        pairs.append(
            (handler.options["target_action"].options["executable"], target.options["executable"])
        )
    return pairs


def test_node_and_source_end_together_and_rviz_with_them(launch_file):
    both = [("segmentation_node", "camera_source"), ("camera_source", "segmentation_node")]
    assert ends(entities(launch_file)) == both
    assert ends(entities(launch_file, rviz="true")) == [*both, ("segmentation_node", "rviz2")]
    assert ends(entities(launch_file, image_topic="/camera/image")) == []


def test_without_rviz_whoever_asks_for_it_is_told_before_anything_starts(launch_file, monkeypatch):
    def find(name):
        raise KeyError(name)

    monkeypatch.setattr(launch_file, "get_package_prefix", find)
    with pytest.raises(InputError, match="rviz2 is not installed"):
        entities(launch_file, rviz="True")
    assert started(launch_file, rviz="False")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"use_sim_time": "garbage"}, "use_sim_time is 'garbage'; it must be true or false"),
        ({"rviz": "maybe"}, "rviz is 'maybe'"),
        ({"name": "my-node"}, "name is 'my-node'"),
        ({"name": ""}, "name is ''"),
        ({"name": "a/b"}, "name is 'a/b'"),
        ({"namespace": "robot 1"}, "namespace is 'robot 1'"),
        ({"namespace": "/fleet/1st"}, "namespace is 'fleet/1st'"),
        ({"params_file": "/no/such.yaml"}, "params_file is '/no/such.yaml'"),
        ({"params_file": "/"}, "params_file is '/'"),
        ({"source_params_file": "/no/such.yaml"}, "source_params_file is '/no/such.yaml'"),
    ],
)
def test_an_argument_that_cannot_be_used_is_one_sentence_before_anything_starts(
    launch_file, given, sentence
):
    with pytest.raises(InputError) as refused:
        entities(launch_file, **given)
    assert sentence in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"[1, 2", "is not YAML: line"),
        (b"x: 1\na: b: c", "is not YAML: line 2: mapping values are not allowed here."),
        (b"\x01\xff", "is no text in UTF-8"),
        (b"\x00", "is no text in UTF-8"),
        (b"hello", "holds no parameters"),
        (b"[1, 2]", "holds no parameters"),
    ],
)
def test_a_parameter_file_that_is_none_is_one_sentence(launch_file, tmp_path, content, sentence):
    file = tmp_path / "own.yaml"
    file.write_bytes(content)
    for argument in ("params_file", "source_params_file"):
        with pytest.raises(InputError) as refused:
            entities(launch_file, **{argument: str(file)})
        assert sentence in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("key", "namespace", "is_for_it"),
    [
        ("/**", "", True),
        ("/**", "fleet/robot_1", True),
        ("segmentation_node", "", True),
        ("/segmentation_node", "", True),
        ("segmentation_node", "robot_1", False),
        ("/robot_1/segmentation_node", "/robot_1/", True),
        ("/**/segmentation_node", "fleet/robot_1", True),
        ("/*/segmentation_node", "robot_1", True),
        ("/*/segmentation_node", "fleet/robot_1", False),
        ("/*", "", True),
        ("segmentation", "", False),
    ],
)
def test_parameters_that_are_for_other_nodes_alone_are_told(
    launch_file, tmp_path, key, namespace, is_for_it
):
    file = tmp_path / "own.yaml"
    file.write_text(f"{key}: {{ros__parameters: {{score_threshold: 0.5}}}}")
    told = of_type("LogInfo", entities(launch_file, params_file=str(file), namespace=namespace))
    assert len(told) == (not is_for_it)
    assert all(key in each.options["msg"] for each in told)


def test_an_argument_that_the_launch_file_lacks_is_refused_with_those_that_it_has(
    launch_file, monkeypatch
):
    command = ["/opt/ros/bin/ros2", "launch", "sipmask_ros", "camera.launch.py"]
    monkeypatch.setattr(sys, "argv", [*command, "source:=demo", "image_topics:=/front"])
    with pytest.raises(InputError, match=r"no argument 'image_topics'; it has .*image_topic,"):
        entities(launch_file)
    including = ["ros2", "launch", "robot", "robot.launch.py", "arm:=left"]
    for others in ([*command, "source:=demo", "launch-prefix:=gdb"], including):
        monkeypatch.setattr(sys, "argv", others)
        assert started(launch_file)


def test_arguments_stand_above_the_parameter_file(launch_file):
    nodes = started(launch_file, model="my.pth", device="cpu", transport="compressed")
    wanted = {"model": "my.pth", "device": "cpu", "transport": "compressed"}
    assert values(nodes["segmentation_node"]) == wanted
    assert values(nodes["camera_source"]) == {"source": "demo", "transport": "compressed"}
    for name in ("segmentation_node", "camera_source"):
        assert Path(nodes[name]["parameters"][0]).is_file()


def test_what_rviz_opens_has_a_place_for_each_window_that_its_file_names(launch_file):
    opened = yaml.safe_load(
        Path(started(launch_file, rviz="true")["rviz2"]["arguments"][1]).read_text()
    )
    assert opened == yaml.safe_load((ROOT / "config" / "sipmask.rviz").read_text())
    window = opened["Window Geometry"]
    places = bytes.fromhex(window["QMainWindow State"])
    for name in ("Displays", "Instances"):
        assert name in window and name.encode("utf-16-be") in places


def test_every_argument_is_declared_with_its_description(launch_file):
    (actions,) = launch_file.generate_launch_description().arguments
    declared = [action for action in actions if type(action).__name__ == "DeclareLaunchArgument"]
    assert {action.arguments[0] for action in declared} == set(launch_file.ARGUMENTS)
    assert all(action.options["description"] for action in declared)
