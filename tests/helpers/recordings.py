"""Bags for tests: two squares on their way to the right, seen by the scripted predictor."""

import dataclasses

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import CompressionFormat, StoragePlugin, Writer
from scripted_node import expected
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from sipmask_ros.bags.writer import typestore
from sipmask_ros.conversions.images import array_to_image, type_name
from sipmask_ros.conversions.instances import instances_to_message

CAMERA = "/camera/image_raw"
START = 1_700_000_000_000_000_000  # ns
PERIOD = 50_000_000
DELAY = 2_000_000  # from the stamp to the recording
HEIGHT, WIDTH = 48, 64


def header(index):
    stamp = START + index * PERIOD
    return Header(stamp=Time(sec=stamp // 10**9, nanosec=stamp % 10**9), frame_id="camera")


def picture(index, height=HEIGHT, width=WIDTH):
    """Return a blue and a red square, for the scripted predictor, on their way to the right."""
    image = np.zeros((height, width, 3), np.uint8)
    image[4:20, 2 + index : 18 + index, 0] = 255
    image[24:44, 10 + index : 30 + index, 2] = 255
    return image


def raw(index):
    return array_to_image(picture(index), "bgr8", header(index))


def compressed(index):
    _, data = cv2.imencode(".png", picture(index))
    return CompressedImage(header=header(index), format="png", data=data.tobytes())


def truth(index):
    """Return a message of what there is to see, with ids that stay."""
    instances = expected(picture(index))
    instances = dataclasses.replace(instances, track_ids=instances.labels + 7)
    return instances_to_message(instances, header(index), ("person", "dog"), "by hand", "rle")


def write(path, topics, storage="mcap", compression=None, indices=range(12)):
    """Write a bag, in the folder `path`, of what `topics` make of each index, by topic name."""
    plugin = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}[storage]
    writer = Writer(path, version=9, storage_plugin=plugin)
    if compression:
        writer.set_compression(compression, CompressionFormat.ZSTD)
    connections = {}
    with writer:
        for index in indices:
            for topic, make in topics.items():
                message = make(index)
                if topic not in connections:
                    name = type_name(type(message))
                    connections[topic] = writer.add_connection(topic, name, typestore=typestore())
                time = START + index * PERIOD + DELAY
                writer.write(connections[topic], time, serialize_message(message))
    return path


def storage_file(path):
    (file,) = (f for f in path.iterdir() if f.suffix in (".mcap", ".db3"))
    return file


def cut(path, share):
    """Leave only the first part of a bag's storage file."""
    file = storage_file(path)
    size = file.stat().st_size
    with file.open("rb+") as stream:
        stream.truncate(int(size * share))
    return file
