"""A node under test in a process of its own, and a camera that sends it images and listens."""

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_harness import ROOT, Client, NodeProcess
from scripted_node import CLASS_NAMES, expected
from sensor_msgs.msg import Image
from sipmask_ros.msg import InstanceArray
from std_msgs.msg import Header

from sipmask_ros.conversions import array_to_image, message_to_instances

SCRIPTED = ROOT / "tests" / "scripted_node.py"
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)


class Camera(Client):
    """Sends images to the node in its namespace, collects what that says of them."""

    def __init__(self, process, namespace, image_type):
        super().__init__("camera", namespace)
        self._process = process
        self._images = self.create_publisher(image_type, "image", RELIABLE)
        self._sent = 0
        self.counts = {}
        self.received = []
        self.create_subscription(
            InstanceArray, "segmentation_node/instances", self.received.append, RELIABLE
        )
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, RELIABLE)

    def _on_diagnostics(self, message):
        status = message.status[0]
        if status.name == f"{self.get_namespace()[1:]}/segmentation_node: segmentation":
            self.counts = {pair.key: pair.value for pair in status.values}

    def wait(self, condition):
        self.wait_until(condition, self._process)

    def header(self):
        """A header of the present moment, unlike any other."""
        self._sent += 1
        return Header(stamp=self.get_clock().now().to_msg(), frame_id=f"camera_{self._sent}")

    def image(self, pixels):
        return array_to_image(pixels, "bgr8", self.header())

    def send(self, message):
        self._images.publish(message)
        return message.header

    def answer(self, message):
        """What the node says of this image."""
        header = self.send(message)
        self.wait(lambda: any(answer.header == header for answer in self.received))
        return next(answer for answer in self.received if answer.header == header)

    def wait_for_counts(self, **wanted):
        """Wait for diagnostics with these counts; return all of them."""
        self.wait(lambda: all(self.counts.get(k) == str(v) for k, v in wanted.items()))
        return {key: int(value) for key, value in self.counts.items() if value.isdigit()}


class Starter:
    """Starts nodes, each in a namespace of its own; ends them when the tests are done."""

    def __init__(self, folder):
        self._folder = folder
        self._processes = []
        self._cameras = []

    def process(self, *options, program=(SCRIPTED,), environment=None, **parameters):
        """A node as a process, and its namespace."""
        namespace = f"/{self._folder.name.replace('-', '_')}_{len(self._processes)}"
        settings = {"reliability": "reliable"} | parameters
        arguments = [word for k, v in settings.items() for word in ("-p", f"{k}:={v}")]
        command = [*program, "--ros-args", "-r", f"__ns:={namespace}", *arguments, *options]
        log = self._folder / f"node{len(self._processes)}.log"
        process = NodeProcess(log, *command, environment=environment)
        self._processes.append(process)
        return process, namespace

    def node(self, *options, image_type=Image, **settings):
        """A node that is ready for images, and a camera for it."""
        process, namespace = self.process(*options, **settings)
        camera = Camera(process, namespace, image_type)
        self._cameras.append(camera)
        # The one that has found the other first must not send before that has found it, too.
        camera.wait(
            lambda: (
                camera._images.get_subscription_count()
                and camera.counts.get("image_publishers") == "1"
                and camera.counts.get("instances_subscribers") == "1"
            )
        )
        return camera, process

    def end(self):
        for camera in self._cameras:
            camera.close()
        for process in self._processes:
            process.end()


def picture(seed=0, size=(48, 64)):
    """Blue and red shapes that overlap, with holes."""
    canvas = np.zeros((*size, 3), np.uint8)
    shift = seed % 8
    cv2.circle(canvas, (24 + shift, 20), 14, (255, 0, 0), 5)
    cv2.rectangle(canvas, (10, 14 + shift), (55, 30 + shift), (0, 0, 255), 3)
    overlap = canvas.copy()
    cv2.circle(overlap, (24 + shift, 20), 14, (255, 0, 255), 5)
    canvas[canvas[..., 2] > 0] = overlap[canvas[..., 2] > 0]
    return canvas


def assert_instances(message, image):
    wanted, found = expected(image), message_to_instances(message)
    assert (message.height, message.width) == image.shape[:2]
    assert np.array_equal(found.masks, wanted.masks)
    assert np.array_equal(found.boxes, wanted.boxes)
    assert np.array_equal(found.scores, wanted.scores)
    assert [i.class_name for i in message.instances] == [CLASS_NAMES[k] for k in wanted.labels]
    ids = [i.track_id for i in message.instances if i.track_id != -1]
    assert len(set(ids)) == len(ids)
