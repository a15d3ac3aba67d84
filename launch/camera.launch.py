"""A camera, the segmentation node and, if wished, RViz."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

SHARE = Path(__file__).parents[1]
SOURCE_TOPIC = "camera/image_raw"

ARGUMENTS = {
    "source": ("demo", "demo, a camera (/dev/video0), a video file or a stream (rtsp://...)."),
    "image_topic": (
        "",
        "The topic of a camera driver that runs already, or several with commas between them;"
        " then no source starts, nor if params_file names image_topics.",
    ),
    "depth_topic": (
        "",
        "Depth images registered to those of image_topic, as many topics; then the node publishes"
        " positions.",
    ),
    "depth_transport": (
        "",
        "raw, or compressedDepth for CompressedImages, on depth_topic + /compressedDepth.",
    ),
    "rviz": ("false", "Whether RViz opens, with this package's configuration."),
    "model": (
        "",
        "Fetched weights by name, a model file, or package.module:factory; empty: the one shipped.",
    ),
    "device": ("", "auto, cpu, cuda or cuda:N."),
    "transport": ("", "raw, or compressed for CompressedImages, on image_topic + /compressed."),
    "params_file": (str(SHARE / "config" / "segmentation.yaml"), "The node's parameters."),
    "source_params_file": (
        str(SHARE / "config" / "camera_source.yaml"),
        "The parameters of the source.",
    ),
    "namespace": ("", "Of the nodes and of the topics between them, such as robot_1."),
    "use_sim_time": ("", "true: time is that of /clock, as of a simulator; empty: params_file."),
}


def parameter_sets(content: Any) -> Iterator[dict[str, Any]]:
    """Yield each node's parameters in what a parameter file holds, whatever the nodes' names."""
    for key, value in content.items() if isinstance(content, dict) else ():
        if key == "ros__parameters" and isinstance(value, dict):
            yield value
        else:
            yield from parameter_sets(value)


def names_topics(params_file: str) -> bool:
    """Return whether a parameter file names image topics other than the default."""
    try:
        content = yaml.safe_load(Path(params_file).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return False  # the node says what is wrong with it
    named = [each["image_topics"] for each in parameter_sets(content) if "image_topics" in each]
    return any(topics != ["image"] for topics in named)


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return the processes that the arguments ask for."""
    given = {name: context.launch_configurations[name].strip() for name in ARGUMENTS}
    namespace = given["namespace"].strip("/")
    topics = {}
    for name in ("image_topic", "depth_topic"):
        if named := [part.strip() for part in given[name].split(",") if part.strip()]:
            topics[f"{name}s"] = named

    def node(
        executable: str, *parameters: str | dict[str, Any], texts: tuple[str, ...]
    ) -> LaunchDescriptionEntity:
        """Return one of our nodes; the arguments in `texts` are parameters of the same name."""
        own = {name: ParameterValue(given[name], value_type=str) for name in texts if given[name]}
        if given["use_sim_time"]:
            own["use_sim_time"] = ParameterValue(given["use_sim_time"], value_type=bool)
        return Node(
            package="sipmask_ros",
            executable=executable,
            name=executable,
            namespace=namespace or None,
            parameters=[*parameters, own],
            remappings=[("image", SOURCE_TOPIC)],
            output="screen",
        )

    # It configures and activates itself (parameter autostart).
    processes = [
        node(
            "segmentation_node",
            given["params_file"],
            topics,
            texts=("model", "device", "transport", "depth_transport"),
        )
    ]
    has_camera = "image_topics" in topics or names_topics(given["params_file"])
    if not has_camera or (given["source"] != "demo" and "image_topics" not in topics):
        processes.append(
            node("camera_source", given["source_params_file"], texts=("source", "transport"))
        )
    if given["rviz"].lower() in ("true", "1"):
        moved = ("/segmentation_node/overlay", f"/{SOURCE_TOPIC}") if namespace else ()
        processes.append(
            Node(
                package="rviz2",
                executable="rviz2",
                arguments=["-d", str(SHARE / "config" / "sipmask.rviz")],
                remappings=[(topic, f"/{namespace}{topic}") for topic in moved],
            )
        )
    return processes


def generate_launch_description() -> LaunchDescription:
    """Return what `ros2 launch sipmask_ros camera.launch.py` starts."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(name, default_value=default, description=description)
            for name, (default, description) in ARGUMENTS.items()
        ]
        + [OpaqueFunction(function=start)]
    )
