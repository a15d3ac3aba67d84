"""A depth camera beside the colour camera: which depth image belongs to an image."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from sipmask_core.errors import InputError
from sipmask_ros.conversions.compressed_depth import read_compressed_depth
from sipmask_ros.conversions.depth import read_depth, read_lens, same_view
from sipmask_ros.conversions.headers import stamp_nanoseconds
from sipmask_ros.topic_names import COMPRESSED_DEPTH, is_rectified

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rclpy.node import Node
    from std_msgs.msg import Header

    from sipmask_core.positions import Lens

# This many of the newest depth images wait for the image that they belong to.
KEPT_IMAGES = 8
# Seconds between two warnings.
WARNING_PERIOD = 30.0


class DepthView(NamedTuple):
    """The depth image that belongs to an image.

    values: (H, W) uint16 or float32, in `unit` metres, see `read_depth`; often a view of the
    message's data. lens: for the size of the image, not of the depth image. delay: seconds from the
    image's stamp to that of the depth.
    """

    message: Image | CompressedImage
    values: NDArray[Any]
    unit: float
    lens: Lens
    delay: float


class DepthCamera:
    """Finds the depth image that belongs to an image of one camera.

    Depth images are received in one thread and only read in the other, when one is asked for. To an
    image belongs the depth image of the same stamp, or else the one whose stamp is nearest, at most
    `tolerance` seconds off. `registered` says that depth and image share their pixels whatever
    their frames are called. Both may change at any time.

    transport: "raw", or "compressedDepth" for CompressedImages on `<depth_topic>/compressedDepth`.
    """

    def __init__(
        self,
        node: Node,
        depth_topic: str,
        camera_info_topic: str,
        tolerance: float,
        registered: bool = False,
        transport: str = "raw",
    ) -> None:
        self._node = node
        self._topic = depth_topic
        self._camera_info_topic = camera_info_topic
        self.tolerance = tolerance
        self.registered = registered
        self._rectified = is_rectified(depth_topic)
        self._lock = threading.Lock()
        self._images: deque[Image | CompressedImage] = deque(maxlen=KEPT_IMAGES)
        self._camera_info: CameraInfo | None = None
        self._counts = {"depth_matched": 0, "depth_unmatched": 0, "depth_unusable": 0}
        self._next_warning = float("-inf")
        latest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        kind, self._read_depth = Image, read_depth
        if transport == "compressedDepth":
            kind, self._read_depth = CompressedImage, read_compressed_depth
            self._topic += COMPRESSED_DEPTH
        self._subscriptions: list[Any] = [
            node.create_subscription(kind, self._topic, self.on_depth, qos_profile_sensor_data),
            node.create_subscription(CameraInfo, camera_info_topic, self.on_camera_info, latest),
        ]

    def on_depth(self, message: Image | CompressedImage) -> None:
        """Keep a depth image; of more than KEPT_IMAGES let the oldest go."""
        with self._lock:
            self._images.append(message)

    def on_camera_info(self, message: CameraInfo) -> None:
        """Keep the newest camera_info."""
        self._camera_info = message

    @property
    def counts(self) -> dict[str, int]:
        """Images so far, by what became of their positions.

        depth_matched: computed. depth_unmatched: there was no depth image of their time.
        depth_unusable: there was one, but it or the camera_info cannot be used.
        """
        return dict(self._counts)

    def view(self, header: Header, image_size: tuple[int, int]) -> DepthView | None:
        """Return the depth that belongs to an image with this header and (H, W), and count it.

        Return None, after a warning, if none came or if it cannot be used.
        """
        stamp = stamp_nanoseconds(header)
        message = self._nearest(stamp)
        if message is None:
            self._counts["depth_unmatched"] += 1
            self._warn(self._why_none(stamp))
            return None
        try:
            view = self._read(message, header, image_size)
        except InputError as error:
            self._counts["depth_unusable"] += 1
            self._warn(str(error))
            return None
        self._counts["depth_matched"] += 1
        return view

    def close(self) -> None:
        """Receive no more."""
        while self._subscriptions:
            self._node.destroy_subscription(self._subscriptions.pop())

    def _nearest(self, stamp: int) -> Image | CompressedImage | None:
        """Return the depth image of that time in nanoseconds; of equally near ones the newest.

        Return None if none is near enough, or if the camera leaves its stamps empty.
        """
        near = [
            (abs(own - stamp), image)
            for own, image in reversed(self._stamped())
            if own and stamp and abs(own - stamp) <= self.tolerance * 1e9
        ]
        return min(near, key=lambda pair: pair[0])[1] if near else None

    def _stamped(self) -> list[tuple[int, Image | CompressedImage]]:
        with self._lock:
            return [(stamp_nanoseconds(image.header), image) for image in self._images]

    def _why_none(self, stamp: int) -> str:
        if not stamp:
            return "The image has no stamp by which its depth image could be found."
        stamps = [own for own, _ in self._stamped() if own]
        if not stamps:
            return "No depth image with a stamp has come yet."
        nearest = min((own - stamp for own in stamps), key=abs)
        return (
            f"The depth image nearest to the image is {nearest * 1e-9:+.3f} s off; depth_tolerance"
            f" is {self.tolerance:g} s."
        )

    def _read(
        self, depth: Image | CompressedImage, header: Header, image_size: tuple[int, int]
    ) -> DepthView:
        camera_info = self._camera_info
        if camera_info is None:
            raise InputError(f"Nothing has come on {self._camera_info_topic}.")
        frame = header.frame_id
        for name, message in (("depth image", depth), ("camera_info", camera_info)):
            if not self.registered and message.header.frame_id.strip("/") != frame.strip("/"):
                raise InputError(
                    f"The {name} is in the frame {message.header.frame_id!r}, the image in"
                    f" {frame!r}; depth must be registered to the image, as on a topic"
                    " aligned_depth_to_color, or by the node register of depth_image_proc. If it is"
                    " and only its frame_id differs, set the parameter depth_registered."
                )
        values, unit = self._read_depth(depth)
        if not same_view(values.shape, image_size):
            raise InputError(
                f"The depth image has {values.shape[1]} x {values.shape[0]} pixels, the image"
                f" {image_size[1]} x {image_size[0]}; both must show the same view in one aspect"
                " ratio."
            )
        delay = (stamp_nanoseconds(depth.header) - stamp_nanoseconds(header)) * 1e-9
        lens = read_lens(camera_info, image_size, self._rectified)
        return DepthView(depth, values, unit, lens, delay)

    def _warn(self, reason: str) -> None:
        now = time.monotonic()
        if now >= self._next_warning:
            self._next_warning = now + WARNING_PERIOD
            self._node.get_logger().warning(f"No position is known from {self._topic}. {reason}")
