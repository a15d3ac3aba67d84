"""What recordings hold in place of images of ROS 2, and the tool that makes such images of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipmask_ros.bags.storage import CONVERT_ROS1

if TYPE_CHECKING:
    from collections.abc import Mapping

_BY_ENCODING = {
    "ros1": f"messages of ROS 1; {CONVERT_ROS1} makes a bag of ROS 2 of the recording's .bag file",
    "protobuf": "protobuf messages; `pip install mcap-protobuf-support` reads them in Python, and"
    " rosbags writes sensor_msgs/msg/CompressedImage",
    "json": "JSON; the Python package mcap reads it, and rosbags writes sensor_msgs/msg/Image",
    "flatbuffer": "flatbuffers; the Python package mcap reads them, and rosbags writes"
    " sensor_msgs/msg/Image",
}
_VIDEO = (
    "packets of a video; while the bag is played, `ros2 run image_transport republish {} raw` makes"
    " images of them, which can be recorded"
)
_BY_TYPE = {
    "ffmpeg_image_transport_msgs/msg/FFMPEGPacket": _VIDEO.format("ffmpeg"),
    "foxglove_msgs/msg/CompressedVideo": _VIDEO.format("foxglove"),
    "theora_image_transport/msg/Packet": _VIDEO.format("theora"),
}


def advice(topics: Mapping[str, str], encodings: Mapping[str, str]) -> str:
    """Return a sentence for each way in which topics carry what cannot be read here.

    topics: types by name. encodings: of their messages, if known.
    """
    found: dict[str, str] = {}
    for topic, kind in topics.items():
        what = _BY_ENCODING.get(encodings.get(topic, "")) or _BY_TYPE.get(kind)
        if what:
            found.setdefault(what, topic)
    return " ".join(f"{topic} carries {what}." for what, topic in found.items())
