"""A camera for the segmentation node: a device, a file, a stream or the demo scene as a topic."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from concurrent.futures import Future, wait
from dataclasses import dataclass
from itertools import count, cycle, islice
from typing import TYPE_CHECKING, Any, TypeVar

import cv2
import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from sipmask_core.errors import InputError
from sipmask_core.runtime.interruption import Interruption
from sipmask_core.video import FPS_WHERE_UNKNOWN, Frames
from sipmask_ros.camera.demo_scene import DemoScene
from sipmask_ros.conversions.images import array_to_image, array_to_jpeg
from sipmask_ros.parameter_table import Effect, ParameterTable, declare, parameter, read
from sipmask_ros.topic_names import compressed_topic
from sipmask_ros.transport import join_ros, prepare_for_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

_DEMO_SIZE = (1280, 720)
_JPEG_QUALITY = 90
_LONGEST_WAIT = 0.1  # seconds until a signal is noticed
GRACE = 1.0  # seconds that a read under way gets to return after a signal

T = TypeVar("T")


@dataclass(frozen=True)
class Settings(ParameterTable):
    """The parameters of `camera_source`."""

    source: str = parameter(
        "demo",
        "`demo`, a camera (/dev/video0), a video or image file, a folder of images, or a stream"
        " (rtsp://...).",
        effect=Effect.START,
    )
    rate: float = parameter(
        0.0,
        "Images per second; 0: a video's own, a camera's as it delivers, 30 otherwise.",
        minimum=0.0,
        effect=Effect.START,
    )
    width: int = parameter(
        0,
        "Scale images to this width; 0: the source's own, 1280 for the demo.",
        minimum=0,
        effect=Effect.START,
    )
    height: int = parameter(
        0,
        "Scale images to this height; 0: the source's own, 720 for the demo.",
        minimum=0,
        effect=Effect.START,
    )
    loop: bool = parameter(True, "Start files again when they end.", effect=Effect.START)
    preload: int = parameter(
        0,
        "Keep this many images in memory, the first ones, and send them again and again, which"
        " leaves the CPU to the receivers; 0: make each image when it is due.",
        minimum=0,
        effect=Effect.START,
    )
    frames: int = parameter(
        0, "Stop after this many images; 0: never.", minimum=0, effect=Effect.START
    )
    frame_id: str = parameter("camera", "The frame_id in the images' headers.", effect=Effect.START)
    transport: str = parameter(
        "raw",
        "`raw`: sensor_msgs/Image, bgr8, on `image`; `compressed`: sensor_msgs/CompressedImage,"
        " jpeg, on `image/compressed`.",
        choices=("raw", "compressed"),
        effect=Effect.START,
    )
    reliability: str = parameter(
        "reliable",
        "`reliable`, which serves every subscriber, or `best_effort`.",
        choices=("reliable", "best_effort"),
        effect=Effect.START,
    )
    wait_for_subscriber: bool = parameter(
        False, "Send nothing until somebody subscribes.", effect=Effect.START
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.width == 0) != (self.height == 0):
            raise InputError(
                f"The parameters width and height are {self.width} and {self.height}; "
                "give both, or 0 for both."
            )

    @property
    def size(self) -> tuple[int, int] | None:
        """(width, height) to scale to, or None."""
        return (self.width, self.height) if self.width else None


class CameraSource(Node):
    """Publishes images on `image` or, compressed, `image/compressed`, stamped by the node's clock.

    Raises InputError for a wrong parameter.
    """

    def __init__(self) -> None:
        super().__init__("camera_source")
        declare(self, Settings)
        self.settings = read(self, Settings)
        self.sent = 0
        self._compressed = self.settings.transport == "compressed"
        # Resolved first, so that who remaps the topic moves its compressed images with it.
        topic = self.resolve_topic_name("image")
        self._publisher = self.create_publisher(
            CompressedImage if self._compressed else Image,
            compressed_topic(topic) if self._compressed else topic,
            QoSProfile(depth=1, reliability=ReliabilityPolicy[self.settings.reliability.upper()]),
        )

    def has_subscriber(self) -> bool:
        """Return whether somebody listens."""
        return bool(self._publisher.get_subscription_count())

    def publish(self, image: NDArray[np.uint8]) -> None:
        """Send an image, (H, W, 3) uint8 BGR, with the time of now."""
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self.settings.frame_id)
        if self.settings.size is not None and image.shape[1::-1] != self.settings.size:
            image = np.asarray(cv2.resize(image, self.settings.size), np.uint8)
        make = _jpeg_message if self._compressed else _raw_message
        self._publisher.publish(make(image, header))
        self.sent += 1


def open_source(
    settings: Settings, warn: Callable[[str], object]
) -> tuple[Iterator[NDArray[np.uint8]], float]:
    """Return the images, each (H, W, 3) uint8 BGR, and how many of them to send per second.

    The rate is 0 if they come at a camera's own pace. Images that cannot be read are told to
    `warn` and skipped. Raise InputError if the source cannot be opened; the iterator does if
    a file holds no readable image or a camera or stream stops.
    """
    if settings.source in ("", "demo"):
        width, height = settings.size or _DEMO_SIZE
        rate = settings.rate or FPS_WHERE_UNKNOWN
        images: Iterator[NDArray[np.uint8]] = map(DemoScene(width, height, rate).render, count())
    else:
        frames = Frames(settings.source, settings.size)
        if frames.left_out:
            warn(frames.left_out)
        own_rate = 0.0 if frames.is_live else frames.fps or FPS_WHERE_UNKNOWN
        rate = settings.rate or own_rate
        images = _play(frames, settings, warn)
    if settings.preload:
        images = cycle(list(islice(images, settings.preload)))
    return images, rate


def _play(
    frames: Frames, settings: Settings, warn: Callable[[str], object]
) -> Iterator[NDArray[np.uint8]]:
    for round_ in count():
        delivered = False
        with frames:
            for frame in frames:
                delivered = True
                yield frame.image
        if frames.is_live:
            raise InputError(f"{settings.source} delivers no more images.")
        if round_ == 0:
            for sentence in frames.unreadable:
                warn(sentence)
        if not delivered:
            raise InputError(f"{settings.source} holds no readable image.")
        if not settings.loop:
            return
        frames = Frames(settings.source, settings.size)


def _raw_message(image: NDArray[np.uint8], header: Header) -> Image:
    return array_to_image(image, "bgr8", header)


def _jpeg_message(image: NDArray[np.uint8], header: Header) -> CompressedImage:
    return array_to_jpeg(image, _JPEG_QUALITY, header)


def send_all(node: CameraSource, interruption: Interruption) -> None:
    """Publish one image after the other, each when it is due, until told to stop."""

    def wait_until(moment: float) -> None:
        # In short turns, because a signal does not end rclpy's wait.
        while not interruption.requested and (left := moment - time.monotonic()) > 0:
            rclpy.spin_once(node, timeout_sec=min(left, _LONGEST_WAIT))

    def serve_during(call: Callable[..., T], *arguments: Any) -> T | None:
        """Spin the node while a call that may stall runs; return None if a signal came first."""
        future: Future[T] = Future()
        thread = threading.Thread(target=_fulfil, args=(future, call, *arguments), daemon=True)
        thread.start()
        while not interruption.requested:
            rclpy.spin_once(node, timeout_sec=0)
            if wait((future,), _LONGEST_WAIT).done:
                return future.result()
        # A process that ends while a decoder returns to Python can crash.
        thread.join(GRACE)
        return None

    opened = serve_during(open_source, node.settings, node.get_logger().warning)
    if opened is None:
        return
    images, rate = opened
    images = islice(images, node.settings.frames or None)
    node.get_logger().info(f"Sending {node.settings.source or 'demo'}.")
    while node.settings.wait_for_subscriber and not node.has_subscriber():
        wait_until(time.monotonic() + _LONGEST_WAIT)
        if interruption.requested:
            return
    due = time.monotonic()
    while (image := serve_during(next, images, None)) is not None:
        wait_until(due)
        if interruption.requested:
            return
        node.publish(image)
        # A source that cannot keep up sends later, not in bursts.
        due = max(due + 1 / rate, time.monotonic()) if rate else 0.0


def _fulfil(future: Future[T], call: Callable[..., T], *arguments: Any) -> None:
    try:
        future.set_result(call(*arguments))
    except Exception as error:
        future.set_exception(error)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until the source ends or a signal comes; print the count of sent images as JSON.

    Return 0, or 2 if an argument or a parameter is wrong or the source cannot be opened or stops.
    """
    # Decoders complain on stderr about what is then said in a sentence.
    if "OPENCV_LOG_LEVEL" not in os.environ:
        _silence_opencv()
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    prepare_for_images()
    node = None
    code = 0
    with Interruption(patient=True) as interruption:
        try:
            # Our own handling lets the image in work go out whole.
            join_ros(arguments, signal_handler_options=SignalHandlerOptions.NO)
            node = CameraSource()
            send_all(node, interruption)
        except InputError as error:
            # The same Ctrl-C may have ended what served the stream.
            if not interruption.requested:
                print(f"camera_source: {error}", file=sys.stderr)
                code = 2
        if node is not None:
            print(json.dumps({"sent": node.sent}), flush=True)
            node.destroy_node()
        rclpy.try_shutdown()
    return code


def _silence_opencv() -> None:
    """Let OpenCV say nothing by itself; up to 4.6, which Ubuntu 24.04 has, it is told otherwise."""
    if hasattr(cv2.utils, "logging"):
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    else:
        cv2.setLogLevel(0)  # type: ignore[attr-defined]


if __name__ == "__main__":
    raise SystemExit(main())
