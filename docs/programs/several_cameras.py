"""Rates, latencies and fairness of one node that serves several cameras: a table.

Each camera is a process that sends the demo scene, made beforehand, to the node with the model that
ships; a subscriber follows the results. A latency is from an image's stamp to that subscriber. The
batch is the number of images that went through the network together, in the mean.

  . ./env.sh && python docs/programs/several_cameras.py --cameras 1 2 3 4 --rate 30
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import rclpy
from rclpy.time import Time
from sipmask_ros.msg import InstanceArray

from sipmask_core.runtime.arguments import width_by_height
from sipmask_core.runtime.stopwatch import distribution
from sipmask_ros.node.model_loader import load_predictor
from sipmask_ros.node.segmentation_node import main as run_node
from sipmask_ros.trials.processes import START_TIMEOUT, isolate, spin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from rclpy.node import Node

    from sipmask_core.instances import Instances
    from sipmask_core.segmenter import Segmenter
    from sipmask_ros.node.parameters import Parameters

PRELOADED = 30  # images in each camera's memory
AS_NODE = "--as-node"
ROS = "--ros-args"


def main() -> int:
    """Print the table; or, as a process of this program, be the node and print its batches."""
    if sys.argv[1:2] == [AS_NODE]:
        be_node()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--cameras", type=int, nargs="+", default=[1, 2, 3, 4], metavar="N", help="(1 2 3 4)")
    add("--rate", type=float, default=30.0, metavar="HZ", help="of each camera (30)")
    add("--size", type=width_by_height, default=(1280, 720), metavar="WxH", help="(1280x720)")
    add("--seconds", type=float, default=20.0, help="for each number of cameras (20)")
    add("--warm-up", type=int, default=20, help="results of each camera before the clock (20)")
    args = parser.parse_args()
    isolate()
    rclpy.init()
    print(
        "| cameras | results per second | of each camera | smallest and largest share | mean batch"
        " | latency p50 | p99 |\n|---|---|---|---|---|---|---|"
    )
    for cameras in args.cameras:
        print(measure(cameras, args), flush=True)
    rclpy.shutdown()
    return 0


def measure(cameras: int, args: argparse.Namespace) -> str:
    """Return a row of the table."""
    topics = [f"camera{number}/image" for number in range(1, cameras + 1)]
    with ExitStack() as stack:
        listener = rclpy.create_node("listener")
        stack.callback(listener.destroy_node)
        latencies: list[list[float]] = [[] for _ in topics]
        for topic, into in zip(topics, latencies, strict=True):
            output = "segmentation_node/" + (f"{topic}/" if cameras > 1 else "")
            note = partial(_note, listener, into)
            listener.create_subscription(InstanceArray, f"{output}instances", note, 100)
        node = start(stack, __file__, AS_NODE, ROS, "-p", f"image_topics:={json.dumps(topics)}")
        width, height = args.size
        sent = {"width": width, "height": height, "preload": PRELOADED, "rate": args.rate}
        settings = [word for key, value in sent.items() for word in ("-p", f"{key}:={value}")]
        for topic in topics:
            remap = ("-r", f"__ns:=/{topic.removesuffix('/image')}")
            start(stack, "-m", "sipmask_ros.camera.camera_source", ROS, *remap, *settings)

        def all_have(results: int) -> bool:
            return min(map(len, latencies)) >= results

        spin(listener, START_TIMEOUT, lambda: all_have(args.warm_up))
        for into in latencies:
            into.clear()
        began = time.monotonic()
        spin(listener, args.seconds, lambda: False)
        spin(listener, START_TIMEOUT, lambda: all_have(1))  # however slow the machine is
        elapsed = time.monotonic() - began
        node.terminate()
        batches = list(map(int, node.communicate()[0].split()))
        batch = np.mean(batches[1:])  # the first is the warm-up

    counts = np.array([len(into) for into in latencies])
    rates, shares = counts / elapsed, counts / counts.sum()
    spread = distribution(1e3 * np.concatenate(latencies))
    return (
        f"| {cameras} | {rates.sum():.1f} | {', '.join(f'{each:.1f}' for each in rates)}"
        f" | {shares.min():.1%}, {shares.max():.1%} | {batch:.2f}"
        f" | {spread['p50']:.1f} ms | {spread['p99']:.1f} ms |"
    )


def _note(listener: Node, into: list[float], message: InstanceArray) -> None:
    age = listener.get_clock().now() - Time.from_msg(message.header.stamp)
    into.append(age.nanoseconds * 1e-9)


def start(stack: ExitStack, *command: str) -> subprocess.Popen[str]:
    """Start a Python program that ends with the stack."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return process


def be_node() -> NoReturn:
    """Run the node; print the size of each batch."""

    def load(wanted: Parameters) -> Segmenter:
        segmenter = load_predictor(wanted)
        predict = segmenter.predict_batch

        def counted(images: Sequence[NDArray[np.uint8]], /) -> list[Instances]:
            print(len(images))
            return predict(images)

        segmenter.predict_batch = counted  # type: ignore[method-assign]
        return segmenter

    run_node(sys.argv, load)


if __name__ == "__main__":
    raise SystemExit(main())
