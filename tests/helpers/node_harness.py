"""A node under test in a process of its own, and a camera that sends it images and listens."""

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import GetParameters, SetParameters, SetParametersAtomically
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from ros_harness import ROOT, Client, NodeProcess
from scripted_node import CLASS_NAMES, expected
from sensor_msgs.msg import Image
from sipmask_ros.msg import InstanceArray
from sipmask_ros.srv import Segment
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from sipmask_ros.conversions.images import array_to_image
from sipmask_ros.conversions.instances import message_to_instances

SCRIPTED = ROOT / "tests" / "helpers" / "scripted_node.py"
# Of the node; in this order a manager makes its clients.
SERVICES = {
    "change_state": ChangeState,
    "set_parameters": SetParameters,
    "set_parameters_atomically": SetParametersAtomically,
    "reset_tracks": Trigger,
    "reload_model": Trigger,
    "segment": Segment,
    "get_parameters": GetParameters,
}
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)


class Manager(Client):
    """Calls the services of the node in its namespace."""

    def __init__(self, process, namespace, name="manager"):
        super().__init__(name, namespace)
        self.process = process
        self._services_by_name = {
            service: self.create_client(kind, f"segmentation_node/{service}")
            for service, kind in SERVICES.items()
        }
        self._is_known = False

    def wait(self, condition):
        self.wait_until(condition, self.process)

    def begin(self, service, **request):
        """Call a service of the node; return the future that the answer comes with."""
        self._make_known()
        return self._services_by_name[service].call_async(SERVICES[service].Request(**request))

    def call(self, service, **request):
        future = self.begin(service, **request)
        self.wait(future.done)
        return future.result()

    def _make_known(self):
        """Wait until the node has found these clients: its answer to one that it has not is lost.

        It finds them in the order in which they were made, so asking by the last is enough.
        """
        answers = []

        def answered():
            request = GetParameters.Request(names=["autostart"])
            answers.append(self._services_by_name["get_parameters"].call_async(request))
            return any(answer.done() for answer in answers)

        if not self._is_known:
            self.wait(lambda: all(c.service_is_ready() for c in self._services_by_name.values()))
            self.wait(answered)
            self._is_known = True

    def trigger(self, service):
        return self.call(service)

    def transition(self, *numbers):
        for number in numbers:
            answer = self.call("change_state", transition=Transition(id=number))
            assert answer.success, f"{number}\n{self.process.output}"

    def set(self, **values):
        """Change parameters of the node one after the other. Return why some are refused."""
        changes = [Parameter(name, value=value) for name, value in values.items()]
        messages = [change.to_parameter_msg() for change in changes]
        results = self.call("set_parameters", parameters=messages).results
        return [result.reason for result in results if not result.successful]

    def get(self, name):
        (value,) = self.call("get_parameters", names=[name]).values
        return parameter_value_to_python(value)


class Camera(Manager):
    """Sends images to the node in its namespace, and collects what the node says of them.

    topic: of the images. alone: whether the node has no other camera.
    """

    def __init__(self, process, namespace, image_type=Image, topic="image", alone=True):
        super().__init__(process, namespace, "camera" if alone else topic.replace("/", "_"))
        self._image_type, self._topic = image_type, topic
        self._outputs = "segmentation_node" + ("" if alone else f"/{topic}")
        self._status = f"{namespace[1:]}/segmentation_node: " + ("segmentation" if alone else topic)
        self._sent = 0
        self._reported = Time(clock_type=self.get_clock().clock_type)
        self.level, self.message, self.counts = None, None, {}
        self.received = []
        self.plug_in()
        self.listen()
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, RELIABLE)

    def __str__(self):
        return f"The last diagnostics: {self.message} {self.counts}"

    def plug_in(self):
        self._images = self.create_publisher(self._image_type, self._topic, RELIABLE)

    def unplug(self):
        self.destroy_publisher(self._images)

    def listen(self):
        self._instances = self.subscribe(InstanceArray, "instances", self.received)

    def stop_listening(self):
        self.destroy_subscription(self._instances)

    def subscribe(self, kind, output, into):
        """Put what the node says of this camera's images into a list."""
        return self.create_subscription(kind, f"{self._outputs}/{output}", into.append, RELIABLE)

    def _on_diagnostics(self, message):
        for status in message.status:
            if status.name == self._status:
                self._reported = Time.from_msg(message.header.stamp)
                self.level, self.message = status.level, status.message
                self.counts = {pair.key: pair.value for pair in status.values}

    def wait_for_connection(self, subscribers=1):
        """Wait until each side has found the other: what is sent before that is lost."""
        self.wait(
            lambda: (
                self._images.get_subscription_count()
                and self.counts.get("image_publishers") == "1"
                and self.counts.get("instances_subscribers") == str(subscribers)
            )
        )

    def header(self):
        """Return a header of the present moment, unlike any other."""
        self._sent += 1
        return Header(stamp=self.get_clock().now().to_msg(), frame_id=f"camera_{self._sent}")

    def image(self, pixels):
        return array_to_image(pixels, "bgr8", self.header())

    def send(self, message):
        self._images.publish(message)
        return message.header

    def answer(self, message):
        """Send an image and return what the node says of it."""
        return self.answer_to(self.send(message))

    def answer_to(self, header):
        """Return what the node says of the image that was sent with this header."""
        self.wait(lambda: any(answer.header == header for answer in self.received))
        return next(answer for answer in self.received if answer.header == header)

    def wait_for_counts(self, **wanted):
        """Wait for diagnostics with these counts; return all of them."""
        self.wait(lambda: all(self.counts.get(k) == str(v) for k, v in wanted.items()))
        return {key: int(value) for key, value in self.counts.items() if value.isdigit()}

    def final_counts(self, since=None):
        """Return the counts of a moment after `since`, or after this call, with none under way."""
        since = since or self.get_clock().now()
        self.wait(lambda: self._reported > since)
        return self.wait_for_counts(in_progress=0)


class Starter:
    """Starts nodes, each in a namespace of its own; ends them when the tests are done."""

    def __init__(self, folder):
        self._folder = folder
        self._processes = []
        self._clients = []

    def process(
        self, *options, program=(SCRIPTED,), environment=None, namespace=None, **parameters
    ):
        """Start a node as a process. Return the process and the node's namespace."""
        if namespace is None:
            namespace = f"/{self._folder.name.replace('-', '_')}_{len(self._processes)}"
        settings = {"reliability": "reliable"} | parameters
        arguments = [word for k, v in settings.items() for word in ("-p", f"{k}:={v}")]
        command = [*program, "--ros-args", "-r", f"__ns:={namespace}", *arguments, *options]
        return self.run(*command, environment=environment), namespace

    def run(self, *command, environment=None):
        """Start any other program. Return its process."""
        log = self._folder / f"process{len(self._processes)}.log"
        self._processes.append(NodeProcess(log, *command, environment=environment))
        return self._processes[-1]

    def node(self, *options, image_type=Image, **settings):
        """Start a node. Return a camera for it, once it is ready for images, and its process."""
        process, namespace = self.process(*options, **settings)
        camera = self.add(Camera(process, namespace, image_type))
        camera.wait_for_connection()
        return camera, process

    def cameras(self, *topics, **settings):
        """Start one node. Return a camera for each of these topics of it."""
        process, namespace = self.process(image_topics=f"[{', '.join(topics)}]", **settings)
        cameras = [
            self.add(Camera(process, namespace, topic=topic, alone=False)) for topic in topics
        ]
        for camera in cameras:
            camera.wait_for_connection()
        return cameras

    def manager(self, *options, **settings):
        """Start a node. Return a manager for it, in whatever state the node is."""
        process, namespace = self.process(*options, **settings)
        return self.add(Manager(process, namespace))

    def add(self, client):
        self._clients.append(client)
        return client

    def end(self):
        for client in self._clients:
            client.close()
        for process in self._processes:
            process.end()


def picture(seed=0, size=(48, 64)):
    """Return a picture of blue and red shapes that overlap, with holes."""
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
