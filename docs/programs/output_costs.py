"""What each output of `segmentation_node` costs: the time to make its message, and its size.

The image is of 720p and shows ten instances, which together cover a third of it; depth is of the
same size. What outputs share is computed anew for each, as for a node with that subscriber only.

  . ./env.sh && python docs/programs/output_costs.py
"""

from __future__ import annotations

import argparse
from itertools import product
from time import perf_counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from sipmask_core.instances import Instances
from sipmask_core.tracking.online import OnlineTracker
from sipmask_core.tracking.settings import TrackerSettings
from sipmask_ros.conversions.depth import read_lens
from sipmask_ros.node.camera_tracks import CameraTracks
from sipmask_ros.node.depth_camera import DepthView
from sipmask_ros.node.outputs import OUTPUTS
from sipmask_ros.node.parameters import Parameters
from sipmask_ros.node.scene import Scene
from sipmask_ros.perception import Percept, Perception

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIZE = HEIGHT, WIDTH = 720, 1280
FOCAL = 900.0
NAMES = ("person", "dog")
HEADER = Header(frame_id="camera")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=50, help="of which the fastest counts (50)")
    args = parser.parse_args()
    print("| output | ms | kB |\n|---|---|---|")
    for output in OUTPUTS:
        name = output.name if output.name.startswith("/") else f"~/{output.name}"
        if output.kind is None:
            print(f"| `{name}` | its messages are not installed | |")
            continue
        seconds = []
        for _ in range(args.runs):
            seen = scene()
            began = perf_counter()
            message = output.make(seen)
            seconds.append(perf_counter() - began)
        if message is None:
            print(f"| `{name}` | nothing is followed | |")
            continue
        size = len(serialize_message(message))
        print(f"| `{name}` | {1e3 * min(seconds):.2f} | {size / 1e3:.0f} |")


def scene() -> Scene:
    """Return a scene of which nothing has been computed."""
    model: Any = SimpleNamespace(class_names=NAMES, model_name="none")
    percept = Percept(HEADER, IMAGE, INSTANCES, tracked=True)
    camera: Any = SimpleNamespace(view=lambda header, size: VIEW)
    tracks = CameraTracks(OnlineTracker(TrackerSettings()), lambda header: None)
    return Scene(percept, Perception(model), Parameters(), tracks, camera)


def picture() -> NDArray[np.uint8]:
    """Return an image about as hard to compress as a photograph."""
    rng = np.random.default_rng(0)
    layers = [
        cv2.resize(rng.normal(0, 2.0**i, (HEIGHT >> i, WIDTH >> i, 3)), (WIDTH, HEIGHT))
        for i in range(7)
    ]
    return np.clip(128 + sum(layers), 0, 255).astype(np.uint8)


def instances() -> Instances:
    """Return ten ellipses in two rows, which overlap a little."""
    masks = np.zeros((10, *SIZE), np.uint8)
    for mask, (row, column) in zip(masks, product(range(2), range(5)), strict=True):
        centre = 130 + 255 * column, 190 + 340 * row
        cv2.ellipse(mask, centre, (75, 140), 15, 0, 360, 1, -1)
    found = Instances.from_masks(masks, np.linspace(0.9, 0.4, 10), np.arange(10) % 2)
    found.track_ids[:] = np.arange(10)
    return found


def depth_view() -> DepthView:
    """Return a slope from two to five metres, in millimetres."""
    values = np.linspace(2000, 5000, HEIGHT * WIDTH).reshape(SIZE).astype(np.uint16)
    info = CameraInfo(width=WIDTH, height=HEIGHT, distortion_model="plumb_bob")
    info.k = [FOCAL, 0.0, WIDTH / 2, 0.0, FOCAL, HEIGHT / 2, 0.0, 0.0, 1.0]
    info.d = [0.1, -0.2, 0.0, 0.0, 0.0]
    return DepthView(Image(header=HEADER), values, 1e-3, read_lens(info, SIZE, False), 0.0)


IMAGE, INSTANCES, VIEW = picture(), instances(), depth_view()

if __name__ == "__main__":
    main()
