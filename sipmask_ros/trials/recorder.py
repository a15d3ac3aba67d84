"""Watches the segmentation node from outside: its results, its overlay, its diagnostics."""

from __future__ import annotations

import threading
from queue import Full, Queue
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import Image

from sipmask_ros.conversions.images import image_to_bgr
from sipmask_ros.msg import InstanceArray
from sipmask_ros.node.diagnostics import INACTIVE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sipmask_core.video import VideoWriter

WATCHED = "segmentation_node"
RESULT_QUEUE = 1000  # results that may wait here; they are small, and each is counted
OVERLAY_QUEUE = 16  # overlays that may wait for the video encoder; beyond, they are not filmed
_LONGEST_GAP = 2.0  # seconds that the film stands still at most while no overlay comes
_SHEET_WIDTH = 640


class Film:
    """Encodes overlays in a thread of its own, at the pace of their stamps.

    writer: an opened video. seconds: the expected length, over which `moments` pictures are kept
    for a contact sheet.
    """

    def __init__(self, writer: VideoWriter, seconds: float, moments: int) -> None:
        self.stills: list[NDArray[np.uint8]] = []
        self.skipped = 0
        self._writer = writer
        self._due = [seconds * (i + 0.5) / moments for i in range(moments)]
        self._queue: Queue[tuple[float, NDArray[np.uint8]] | None] = Queue(OVERLAY_QUEUE)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="film", daemon=True)
        self._thread.start()

    def add(self, seconds: float, picture: NDArray[np.uint8]) -> None:
        """Leave an (H, W, 3) uint8 BGR picture and its stamp; never wait."""
        try:
            self._queue.put_nowait((seconds, picture))
        except Full:
            self.skipped += 1

    @property
    def failed(self) -> bool:
        """Whether the encoding has ended with an error, which `finish` will raise."""
        return self._error is not None

    def finish(self) -> None:
        """Encode what still waits. Raise, once, the error that the encoding ended with."""
        self._queue.put(None)
        self._thread.join()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _work(self) -> None:
        try:
            self._encode()
        except Exception as error:
            self._error = error
            # Until its end the queue must have room, or `finish` would wait for ever.
            while self._queue.get() is not None:
                pass

    def _encode(self) -> None:
        fps = self._writer.fps
        start: float | None = None
        cut = 0  # frames of silence that were left out
        previous: NDArray[np.uint8] | None = None
        while (item := self._queue.get()) is not None:
            seconds, picture = item
            start = seconds if start is None else start
            silent = max(0, round((seconds - start) * fps) - cut - self._writer.count)
            shown = min(silent, int(_LONGEST_GAP * fps))
            cut += silent - shown
            for _ in range(shown):
                self._writer.write(picture if previous is None else previous)
            self._writer.write(picture)
            previous = picture
            if len(self.stills) < len(self._due) and seconds - start >= self._due[len(self.stills)]:
                height = round(picture.shape[0] * _SHEET_WIDTH / picture.shape[1])
                small = cv2.resize(picture, (_SHEET_WIDTH, height), interpolation=cv2.INTER_AREA)
                self.stills.append(np.asarray(small, np.uint8))


class Recorder(Node):
    """Notes for each InstanceArray how many it holds and how old its image is by then.

    film: takes the overlays; if it is None, the node need not draw any. The lists grow by one
    number per image; whoever records decides for how long.
    """

    def __init__(self, film: Film | None = None) -> None:
        super().__init__("recorder")
        self.instance_counts: list[int] = []
        self.latencies: list[float] = []  # seconds from the image's stamp to the receipt here
        self.receipts: list[float] = []  # seconds
        self.diagnostics: dict[str, str] = {}  # the newest report, by key
        self._finished = False
        qos = QoSProfile(depth=10)
        all_results = QoSProfile(depth=RESULT_QUEUE)
        self.create_subscription(
            InstanceArray, f"{WATCHED}/instances", self.on_instances, all_results
        )
        if film is not None:
            self._film = film
            self.create_subscription(Image, f"{WATCHED}/overlay", self._on_overlay, qos)
        self.create_subscription(DiagnosticArray, "/diagnostics", self.on_diagnostics, qos)
        self._change_state = self.create_client(ChangeState, f"{WATCHED}/change_state")

    def deactivate_watched(self) -> Any:
        """Ask the node to finish and to publish its final counts; return the pending answer."""
        transition = Transition(id=Transition.TRANSITION_DEACTIVATE)
        return self._change_state.call_async(ChangeState.Request(transition=transition))

    def will_hear(self) -> bool:
        """Return whether the node has found this subscriber, so that no result will be lost."""
        return self.diagnostics.get("instances_subscribers", "0") != "0"

    def has_everything(self) -> bool:
        """Return whether the final counts came and every result that they tell of."""
        return self._finished and len(self.receipts) >= int(self.diagnostics["segmented"])

    def on_instances(self, message: InstanceArray) -> None:
        """Note a result."""
        now = self.get_clock().now()
        self.receipts.append(now.nanoseconds * 1e-9)
        self.latencies.append((now - Time.from_msg(message.header.stamp)).nanoseconds * 1e-9)
        self.instance_counts.append(len(message.instances))

    def _on_overlay(self, message: Image) -> None:
        seconds = Time.from_msg(message.header.stamp).nanoseconds * 1e-9
        self._film.add(seconds, image_to_bgr(message))

    def on_diagnostics(self, message: DiagnosticArray) -> None:
        """Keep what the watched node reports of itself."""
        for status in message.status:
            if status.name.startswith(WATCHED):
                self.diagnostics = {value.key: value.value for value in status.values}
                self._finished = status.message == INACTIVE
