"""A camera, the segmentation node and, if wished, RViz."""

from pathlib import Path

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
        " then no source starts.",
    ),
    "depth_topic": (
        "",
        "Depth images registered to those of image_topic, as many topics; then the node publishes"
        " positions.",
    ),
    "rviz": ("false", "Whether RViz opens, with this package's configuration."),
    "model": (
        "",
        "Fetched weights by name, a model file, or package.module:factory; empty: the one shipped.",
    ),
    "device": ("", "auto, cpu, cuda or cuda:N."),
    "transport": ("", "raw, or compressed where the image topic carries CompressedImage."),
    "params_file": (str(SHARE / "config" / "segmentation.yaml"), "The node's parameters."),
    "source_params_file": (
        str(SHARE / "config" / "camera_source.yaml"),
        "The parameters of the source.",
    ),
}


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return the processes that the arguments ask for."""
    given = {name: context.launch_configurations[name] for name in ARGUMENTS}

    def parameters(*names: str) -> dict[str, ParameterValue]:
        return {name: ParameterValue(given[name], value_type=str) for name in names if given[name]}

    def topics(*names: str) -> dict[str, list[str]]:
        return {f"{name}s": given[name].split(",") for name in names if given[name]}

    processes = [
        # It configures and activates itself (parameter autostart).
        Node(
            package="sipmask_ros",
            executable="segmentation_node",
            name="segmentation_node",
            parameters=[
                given["params_file"],
                topics("image_topic", "depth_topic"),
                parameters("model", "device", "transport"),
            ],
            remappings=[("image", SOURCE_TOPIC)],
            output="screen",
        )
    ]
    if not given["image_topic"]:
        processes.append(
            Node(
                package="sipmask_ros",
                executable="camera_source",
                name="camera_source",
                parameters=[given["source_params_file"], parameters("source", "transport")],
                remappings=[("image", SOURCE_TOPIC)],
                output="screen",
            )
        )
    if given["rviz"].lower() in ("true", "1"):
        processes.append(
            Node(
                package="rviz2",
                executable="rviz2",
                arguments=["-d", str(SHARE / "config" / "sipmask.rviz")],
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
