"""Cameras that keep a segmentation node busy, and hear and count what it answers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from sipmask_core.instances import UNTRACKED
from sipmask_ros.conversions.images import array_to_image
from sipmask_ros.msg import InstanceArray
from sipmask_ros.node.diagnostics import INACTIVE
from sipmask_ros.trials.recorder import RESULT_QUEUE, WATCHED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from rclpy.client import Client

PATIENCE = 0.5  # seconds that a result may take before the next image goes out without it

# How images can be encoded, and what OpenCV makes them with.
ENCODINGS = {
    "bgr8": None,
    "rgb8": cv2.COLOR_BGR2RGB,
    "mono8": cv2.COLOR_BGR2GRAY,
    "bgra8": cv2.COLOR_BGR2BGRA,
}
# What a camera's stamps can be: seconds to add to the time of now, or None for no stamp.
CLOCKS = (0.0, -3600.0, 60.0, None)
SCALES = (1.0, 0.75, 1.25)  # of the size of the images


class Camera:
    """One image topic: the next image goes out when the result of the last one has come.

    images: (H, W, 3) uint8 BGR each, sent again and again, beginning with number `start`.

    Public attributes say how the next image is made; whoever disturbs the run changes them.
    """

    def __init__(
        self, node: Node, topic: str, results: str, images: Sequence[NDArray[np.uint8]], start: int
    ) -> None:
        self.topic = topic
        self.encoding = "bgr8"
        self.scale = 1.0
        self.clock: float | None = 0.0
        self.silent_until = 0.0  # time.monotonic
        self.sent = 0
        self.results = 0
        self.latencies: list[float] = []  # seconds, of the last images; whoever reads clears it
        self.ids_used_twice = 0
        self._node = node
        self._images = images
        self._start = start
        self._awaited: str | None = None
        self._sent_at = 0.0
        self._highest_id = UNTRACKED
        self._publisher = node.create_publisher(Image, topic, QoSProfile(depth=1))
        node.create_subscription(
            InstanceArray, results, self._on_result, QoSProfile(depth=RESULT_QUEUE)
        )

    def has_subscriber(self) -> bool:
        """Return whether the node listens."""
        return bool(self._publisher.get_subscription_count())

    def is_due(self) -> bool:
        """Return whether no pause is on and the last result has come, or will not come any more."""
        now = time.monotonic()
        return now >= self.silent_until and (
            self._awaited is None or now > self._sent_at + PATIENCE
        )

    def send(self) -> None:
        """Send the next image."""
        message = self._next_image()
        self._awaited, self._sent_at = message.header.frame_id, time.monotonic()
        self._publisher.publish(message)

    def send_broken(self) -> None:
        """Send an image whose data ends too early; no result will come."""
        message = self._next_image()
        message.data = message.data[: len(message.data) // 2]
        self._publisher.publish(message)

    def _next_image(self) -> Image:
        image = self._images[(self._start + self.sent) % len(self._images)]
        if self.scale != 1:
            image = np.asarray(cv2.resize(image, None, fx=self.scale, fy=self.scale), np.uint8)
        if (code := ENCODINGS[self.encoding]) is not None:
            image = np.asarray(cv2.cvtColor(image, code), np.uint8)
        # The node copies the header to the result, which shows its image whatever the stamp says.
        header = Header(frame_id=f"{self.topic}:{self.sent}")
        if self.clock is not None:
            now = self._node.get_clock().now().nanoseconds
            header.stamp = Time(nanoseconds=now + int(self.clock * 1e9)).to_msg()
        self.sent += 1
        return array_to_image(image, self.encoding, header)

    def _on_result(self, message: InstanceArray) -> None:
        self.results += 1
        if message.header.frame_id == self._awaited:
            self.latencies.append(time.monotonic() - self._sent_at)
            self._awaited = None
        ids = [i.track_id for i in message.instances if i.track_id != UNTRACKED]
        born = [i.track_id for i in message.instances if i.track_id in ids and i.track_age == 0]
        # Ids count up: one that begins a track is greater than all before.
        self.ids_used_twice += len(ids) - len(set(ids)) + sum(n <= self._highest_id for n in born)
        self._highest_id = max([self._highest_id, *ids])


class Cameras(Node):
    """Several cameras on one segmentation node, and everything else that is told to and by it.

    number: of cameras. images: what they send, each beginning elsewhere.
    """

    def __init__(self, number: int, images: Sequence[NDArray[np.uint8]]) -> None:
        super().__init__("soak")
        self.topics = ["image"] if number == 1 else [f"camera_{i}/image" for i in range(number)]
        self.cameras = [
            Camera(self, topic, self.output(topic, "instances"), images, i * len(images) // number)
            for i, topic in enumerate(self.topics)
        ]
        self.told: dict[str, dict[str, str]] = {}  # the newest diagnostics, by camera and key
        self.refusals: list[str] = []  # requests that the node did not grant
        self.finished = False  # whether the diagnostics are final
        self._pending: set[str] = set()
        self._viewers: dict[str, Any] = {}
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._change_state = self.create_client(ChangeState, f"{WATCHED}/change_state")
        self._set_parameters = self.create_client(SetParameters, f"{WATCHED}/set_parameters")
        self._triggers = {
            name: self.create_client(Trigger, f"{WATCHED}/{name}")
            for name in ("reset_tracks", "reload_model")
        }

    def output(self, topic: str, name: str) -> str:
        """Return the node's topic for one output of one camera."""
        return f"{WATCHED}/{name}" if len(self.topics) == 1 else f"{WATCHED}/{topic}/{name}"

    @property
    def sent(self) -> int:
        """How many images all cameras have sent."""
        return sum(camera.sent for camera in self.cameras)

    @property
    def results(self) -> int:
        """How many results all cameras have heard."""
        return sum(camera.results for camera in self.cameras)

    @property
    def counts(self) -> dict[str, int]:
        """What the node counted, over all cameras: received, segmented, dropped by reason."""
        totals: dict[str, int] = {}
        for values in self.told.values():
            for key, value in values.items():
                if key in ("received", "segmented") or key.startswith("dropped_"):
                    totals[key] = totals.get(key, 0) + int(value)
        return totals

    def are_heard(self) -> bool:
        """Return whether the node has found everything here, so that no message is lost."""
        clients = (self._change_state, self._set_parameters, *self._triggers.values())
        return (
            len(self.told) == len(self.cameras)
            and all(told["instances_subscribers"] != "0" for told in self.told.values())
            and all(camera.has_subscriber() for camera in self.cameras)
            and all(client.service_is_ready() for client in clients)
        )

    def send_due(self) -> None:
        """Let every camera whose turn it is send an image."""
        for camera in self.cameras:
            if camera.is_due():
                camera.send()

    def take_latencies(self) -> list[float]:
        """Return the seconds from sending to receiving of all results since the last call."""
        taken = []
        for camera in self.cameras:
            taken += camera.latencies
            camera.latencies = []
        return taken

    def toggle_viewer(self, topic: str) -> None:
        """Subscribe to an image that the node draws, or, if that was done before, unsubscribe."""
        if viewer := self._viewers.pop(topic, None):
            self.destroy_subscription(viewer)
        else:
            self._viewers[topic] = self.create_subscription(Image, topic, lambda _: None, 1)

    def set_parameter(self, name: str, value: float) -> None:
        """Ask the node to give a parameter another value."""
        message: ParameterMessage = Parameter(name, value=value).to_parameter_msg()
        self._call(self._set_parameters, SetParameters.Request(parameters=[message]), name)

    def trigger(self, name: str) -> None:
        """Call one of the node's own services."""
        self._call(self._triggers[name], Trigger.Request(), name)

    def restart(self) -> None:
        """Deactivate the node and activate it again."""
        self._change(
            "deactivate",
            Transition.TRANSITION_DEACTIVATE,
            lambda: self._change("activate", Transition.TRANSITION_ACTIVATE),
        )

    def finish(self) -> None:
        """Ask the node to finish and to publish its final counts."""
        self.finished = False
        self._change("deactivate", Transition.TRANSITION_DEACTIVATE)

    def is_waiting(self) -> bool:
        """Return whether a request is not answered yet."""
        return bool(self._pending)

    def has_everything(self) -> bool:
        """Return whether the final counts came and every result that they tell of."""
        return (
            self.finished and not self._pending and self.results >= self.counts.get("segmented", 0)
        )

    def _change(self, name: str, transition: int, then: Callable[[], None] = lambda: None) -> None:
        request = ChangeState.Request(transition=Transition(id=transition))
        self._call(self._change_state, request, name, then)

    def _call(
        self, client: Client, request: Any, name: str, then: Callable[[], None] = lambda: None
    ) -> None:
        def answered(future: Any) -> None:
            answer = future.result()
            self._pending.discard(name)
            results = getattr(answer, "results", None)  # of SetParameters, one for each
            granted = results[0].successful if results else answer.success
            if granted:
                then()
            else:
                self.refusals.append(name)

        self._pending.add(name)
        client.call_async(request).add_done_callback(answered)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith(WATCHED):
                self.told[status.name] = {value.key: value.value for value in status.values}
                self.finished = status.message == INACTIVE
