"""Depth images packed as compressedDepth, value by value: what its reader is checked against."""

import struct
from array import array

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage

FARTHEST, ACCURACY = 10.0, 100.0  # depth_max and depth_quantization, image_transport's defaults
INVERSE = (ACCURACY * (ACCURACY + 1), 1 - ACCURACY * (ACCURACY + 1) / FARTHEST)


def packed(depth, encoding, algorithm, header=None):
    """Return a depth image (H, W), millimetres or metres by its encoding, as a message."""
    if encoding == "32FC1":
        a, b = INVERSE
        near = (depth > 0) & (depth < FARTHEST)
        values = np.where(near, a / np.where(near, depth, 1) + b, 0).astype(np.uint16)
    else:
        values = depth
    content = rvl(values) if algorithm == "rvl" else cv2.imencode(".png", values)[1].tobytes()
    return packed_values(content, encoding, algorithm, INVERSE, header)


def packed_values(content, encoding, algorithm, quantisation=(0.0, 0.0), header=None):
    message = CompressedImage(format=f"{encoding}; compressedDepth {algorithm}")
    message.data = array("B", struct.pack("<iff", 0, *quantisation) + content)
    if header is not None:
        message.header = header
    return message


def rvl(values):
    """Return a (H, W) uint16 image as RVL packs it."""
    groups = []

    def write(number):
        while True:
            number, group = number >> 3, number & 7
            groups.append(group | 8 * bool(number))
            if not number:
                return

    rest = values.reshape(-1).tolist()
    before = 0
    while rest:
        zeros = next((i for i, value in enumerate(rest) if value), len(rest))
        end = next((i for i in range(zeros, len(rest)) if not rest[i]), len(rest))
        write(zeros)
        write(end - zeros)
        for value in rest[zeros:end]:
            difference = value - before
            write(2 * difference if difference >= 0 else -2 * difference - 1)
            before = value
        rest = rest[end:]
    groups += [0] * (-len(groups) % 8)
    words = [
        sum(group << 4 * (7 - place) for place, group in enumerate(groups[i : i + 8]))
        for i in range(0, len(groups), 8)
    ]
    height, width = values.shape
    return struct.pack(f"<II{len(words)}I", width, height, *words)
