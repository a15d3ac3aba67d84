"""Start a camera, the segmentation node and, with rviz:=true, RViz."""

import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import get_package_prefix
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit
from launch.events import matches_action
from launch.events.process import ShutdownProcess
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from sipmask_core.errors import InputError
from sipmask_ros.node.launch_arguments import (
    in_file,
    node_name,
    parameter_file,
    passed_over,
    require_known,
    truth,
)
from sipmask_ros.node.rviz import rviz_configuration

SHARE = Path(__file__).parents[1]
SOURCE_TOPIC = "camera/image_raw"

ARGUMENTS = {
    "source": (
        "demo",
        "demo, a camera (/dev/video0), a video or image file, a folder, or a stream (rtsp://...).",
    ),
    "image_topic": (
        "",
        "The topic of a camera that is already running, or several, separated by commas. Then no"
        " source starts; the same holds if params_file names image_topics.",
    ),
    "depth_topic": (
        "",
        "Depth images registered to image_topic, as many topics; the node then publishes"
        " positions.",
    ),
    "depth_transport": (
        "",
        "raw, or compressedDepth for CompressedImages on depth_topic + /compressedDepth.",
    ),
    "target_frame": (
        "",
        "The tf2 frame of velocities and of ~/target, such as odom; also RViz's fixed frame.",
    ),
    "rviz": ("false", "true opens RViz with this package's configuration."),
    "model": (
        "",
        "Fetched weights by name, a model file, or package.module:factory; empty: the model that"
        " ships.",
    ),
    "device": ("", "auto, cpu, cuda or cuda:N."),
    "transport": ("", "raw, or compressed for CompressedImages on image_topic + /compressed."),
    "params_file": (
        str(SHARE / "config" / "segmentation.yaml"),
        "A YAML file with the node's parameters.",
    ),
    "source_params_file": (
        str(SHARE / "config" / "camera_source.yaml"),
        "A YAML file with the parameters of the source.",
    ),
    "name": (
        "segmentation_node",
        "The node's name, also the key of its parameters in params_file.",
    ),
    "namespace": (
        "",
        "The namespace of the nodes and of the topics between them, such as robot_1.",
    ),
    "use_sim_time": (
        "",
        "true: use the time of /clock, as in a simulator; empty: see params_file.",
    ),
}


def rviz(node: str, cameras: Any, fixed_frame: Any) -> LaunchDescriptionEntity:
    """Return RViz with a configuration for this node, written into a file of its own.

    Raise InputError if RViz is not installed.
    """
    try:
        get_package_prefix("rviz2")
    except LookupError as error:
        raise InputError(
            "rviz is true, but the package rviz2 is not installed; install it, or leave rviz out."
        ) from error
    template = yaml.safe_load((SHARE / "config" / "sipmask.rviz").read_text(encoding="utf-8"))
    if not isinstance(cameras, list) or not all(isinstance(each, str) for each in cameras):
        cameras = [SOURCE_TOPIC]  # the node says what is wrong with them
    fixed_frame = fixed_frame if isinstance(fixed_frame, str) else ""
    content = rviz_configuration(template, node, cameras, fixed_frame)
    with tempfile.NamedTemporaryFile("w", suffix=".rviz", delete=False, encoding="utf-8") as file:
        yaml.safe_dump(content, file, sort_keys=False)
    return Node(package="rviz2", executable="rviz2", arguments=["-d", file.name])


def end_together(
    first: LaunchDescriptionEntity, second: LaunchDescriptionEntity
) -> LaunchDescriptionEntity:
    """Return what ends the second process once the first has ended, and nothing else of a robot."""
    end = EmitEvent(event=ShutdownProcess(process_matcher=matches_action(second)))
    return RegisterEventHandler(OnProcessExit(target_action=first, on_exit=[end]))


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return what the arguments ask for: processes, and which of them end together.

    Raise InputError if an argument cannot be used.
    """
    require_known(sys.argv, Path(__file__).name, ARGUMENTS)
    given = {name: context.launch_configurations[name].strip() for name in ARGUMENTS}
    namespace = given["namespace"].strip("/")
    full_name = node_name(namespace, given["name"])
    file = parameter_file("params_file", given["params_file"])
    topics = {}
    for name in ("image_topic", "depth_topic"):
        if named := [part.strip() for part in given[name].split(",") if part.strip()]:
            topics[f"{name}s"] = named

    def node(
        executable: str, name: str, *parameters: str | dict[str, Any], texts: tuple[str, ...]
    ) -> LaunchDescriptionEntity:
        """Return one of our nodes; the arguments in `texts` are parameters of the same name."""
        own = {name: ParameterValue(given[name], value_type=str) for name in texts if given[name]}
        if given["use_sim_time"]:
            own["use_sim_time"] = truth("use_sim_time", given["use_sim_time"])
        return Node(
            package="sipmask_ros",
            executable=executable,
            name=name,
            namespace=namespace or None,
            parameters=[*parameters, own],
            remappings=[("image", SOURCE_TOPIC)],
            output="screen",
        )

    # It configures and activates itself (parameter autostart).
    segmentation = node(
        "segmentation_node",
        given["name"],
        given["params_file"],
        topics,
        texts=("model", "device", "transport", "depth_transport", "target_frame"),
    )
    entities = [segmentation]
    in_params_file = in_file(file, "image_topics")
    has_camera = "image_topics" in topics or in_params_file is not None
    if not has_camera or (given["source"] != "demo" and "image_topics" not in topics):
        parameter_file("source_params_file", given["source_params_file"])
        source = node(
            "camera_source",
            "camera_source",
            given["source_params_file"],
            texts=("source", "transport"),
        )
        # Neither has anything to do without the other.
        entities += [source, end_together(segmentation, source), end_together(source, segmentation)]
    if truth("rviz", given["rviz"] or "false"):
        cameras = topics.get("image_topics") or in_params_file or [SOURCE_TOPIC]
        frame = given["target_frame"] or in_file(file, "target_frame")
        window = rviz(full_name, cameras, frame)
        entities += [window, end_together(segmentation, window)]
    others = passed_over(file, full_name)
    if others and given["params_file"] != ARGUMENTS["params_file"][0]:
        entities.insert(
            0,
            LogInfo(
                msg=f"Nothing in {given['params_file']} is for the node {full_name}: it has"
                f" parameters of {others}; the key /** would be for every node."
            ),
        )
    return entities


def generate_launch_description() -> LaunchDescription:
    """Return what `ros2 launch sipmask_ros camera.launch.py` starts."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(name, default_value=default, description=description)
            for name, (default, description) in ARGUMENTS.items()
        ]
        + [OpaqueFunction(function=start)]
    )
