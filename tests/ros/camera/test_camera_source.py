import json
import signal
import socket
import threading

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

from rcl_interfaces.srv import GetParameters
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from ros_harness import Client, NodeProcess
from sensor_msgs.msg import CompressedImage, Image

from sipmask_core.errors import InputError
from sipmask_core.video import VideoWriter
from sipmask_ros.camera import camera_source
from sipmask_ros.camera.camera_source import CameraSource, Settings, open_source
from sipmask_ros.camera.demo_scene import DemoScene
from sipmask_ros.conversions.images import compressed_to_bgr, image_to_bgr

RELIABLE = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)

pytestmark = pytest.mark.usefixtures("ros")


@pytest.fixture
def folder(tmp_path):
    """Return a folder of three grey images: 50, 100 and 150."""
    images = tmp_path / "images"
    images.mkdir()
    for number in (1, 2, 3):
        cv2.imwrite(str(images / f"{number}.png"), np.full((24, 32, 3), 50 * number, np.uint8))
    return images


@pytest.fixture
def start(tmp_path):
    """Return what starts a camera_source with these parameters; end what is left of it."""
    started = []

    def start(*options, **parameters):
        arguments = [f"{name}:={json.dumps(value)}" for name, value in parameters.items()]
        options = [*options, *(part for argument in arguments for part in ("-p", argument))]
        started.append(
            NodeProcess(
                tmp_path / "log", "-m", "sipmask_ros.camera.camera_source", "--ros-args", *options
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.end()


@pytest.fixture
def receive():
    """Return what collects this many messages of `image` from a process."""
    clients = []

    def receive(process, number, kind=Image, topic="image"):
        client = Client()
        clients.append(client)
        messages = []
        client.create_subscription(kind, topic, messages.append, RELIABLE)
        client.wait_until(lambda: len(messages) >= number, process)
        return messages

    yield receive
    for client in clients:
        client.close()


def play(count, warn=lambda sentence: None, **settings):
    """Return the mean of each of the first images of a source."""
    images, _ = open_source(Settings(**settings), warn)
    return [round(float(image.mean())) for _, image in zip(range(count), images, strict=False)]


def test_a_folder_starts_again_when_it_loops(folder):
    assert play(5, source=str(folder)) == [50, 100, 150, 50, 100]


def test_a_folder_ends_when_it_does_not_loop(folder):
    assert play(5, source=str(folder), loop=False) == [50, 100, 150]


def test_what_is_preloaded_comes_again_and_again(folder):
    assert play(5, source=str(folder), preload=2) == [50, 100, 50, 100, 50]


def test_an_unreadable_image_is_told_once_and_skipped(folder):
    (folder / "2.png").write_bytes(b"nothing")
    told = []
    assert play(5, told.append, source=str(folder)) == [50, 150, 50, 150, 50]
    assert len(told) == 1 and "2.png" in told[0]


def test_a_folder_without_a_readable_image_is_an_error_not_an_endless_loop(folder):
    for file in folder.iterdir():
        file.write_bytes(b"nothing")
    with pytest.raises(InputError, match="no readable image"):
        play(1, source=str(folder))


def test_a_video_sets_the_rate_unless_one_is_given(tmp_path):
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, 12) as writer:
        writer.write(np.zeros((32, 32, 3), np.uint8))
    assert open_source(Settings(source=str(path)), print)[1] == 12
    assert open_source(Settings(source=str(path), rate=5.0), print)[1] == 5


def test_the_demo_scene_follows_size_and_rate():
    settings = Settings(source="", width=160, height=90, rate=10.0)
    images, rate = open_source(settings, print)
    assert rate == 10
    assert np.array_equal(next(images), DemoScene(160, 90, 10).render(0))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"rate": -1.0}, "rate is -1"),
        ({"width": 640}, "give both"),
        ({"rate": float("inf")}, "rate is inf"),
        ({"preload": -1}, "preload is -1"),
        ({"frames": 1.5}, "frames is 1.5"),
        ({"loop": "no"}, "loop is 'no'"),
        ({"transport": "theora"}, "one of raw, compressed"),
        ({"reliability": "sometimes"}, "one of reliable, best_effort"),
    ],
)
def test_a_wrong_setting_is_named(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        Settings(**settings)


def test_images_arrive_as_they_are_with_frame_and_rising_stamps(folder, start, receive):
    process = start(
        source=str(folder), rate=50.0, frames=3, frame_id="left", wait_for_subscriber=True
    )
    messages = receive(process, 3)
    assert process.wait() == 0
    assert json.loads(process.output.splitlines()[-1]) == {"sent": 3}
    assert [int(image_to_bgr(message).mean()) for message in messages] == [50, 100, 150]
    first = messages[0]
    assert (first.height, first.width, first.encoding) == (24, 32, "bgr8")
    assert {message.header.frame_id for message in messages} == {"left"}
    stamps = [Time.from_msg(message.header.stamp).nanoseconds for message in messages]
    assert 0 < stamps[0] < stamps[1] < stamps[2]


def test_compressed_images_come_at_the_asked_size_beside_the_topic(folder, start, receive):
    process = start(
        "-r",
        "image:=camera/image_raw",
        source=str(folder),
        rate=50.0,
        frames=1,
        transport="compressed",
        width=64,
        height=48,
        wait_for_subscriber=True,
    )
    (message,) = receive(process, 1, CompressedImage, "/camera/image_raw/compressed")
    image = compressed_to_bgr(message)
    assert image.shape == (48, 64, 3) and abs(float(image.mean()) - 50) < 2
    assert "jpeg" in message.format


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_with_its_count(number, folder, start, receive):
    process = start(source=str(folder), rate=20.0)
    receive(process, 1)
    code, _ = process.signal(number)
    assert code == 0
    assert "Traceback" not in process.output
    assert json.loads(process.output.splitlines()[-1])["sent"] >= 1


def test_a_source_that_never_waits_answers_parameter_requests(folder, start):
    # At this rate an image is always due.
    process = start(source=str(folder), rate=1e9)
    client = Client()
    service = client.create_client(GetParameters, "camera_source/get_parameters")
    client.wait_until(service.service_is_ready, process)
    answers = []

    def answered():  # until the node has found the client: an answer before that is lost
        answers.append(service.call_async(GetParameters.Request(names=["source"])))
        return any(answer.done() for answer in answers)

    client.wait_until(answered, process)
    answer = next(answer for answer in answers if answer.done())
    assert answer.result().values[0].string_value == str(folder)
    client.close()


class Signalled:
    requested = False


def test_a_signal_during_a_read_that_stalls_is_noticed(monkeypatch):
    interruption, data = Signalled(), threading.Event()

    def images():
        yield np.zeros((24, 32, 3), np.uint8)
        interruption.requested = True
        data.wait()

    monkeypatch.setattr(camera_source, "open_source", lambda *_: (images(), 0.0))
    monkeypatch.setattr(camera_source, "GRACE", 0.0)
    node = CameraSource()
    camera_source.send_all(node, interruption)
    assert node.sent == 1
    data.set()
    node.destroy_node()


def test_ctrl_c_on_a_silent_stream_is_a_quiet_end(start):
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = start(source=f"http://127.0.0.1:{server.getsockname()[1]}/x.mjpg")
        connection, _ = server.accept()
        with connection:
            code, _ = process.signal(signal.SIGINT)
    assert code == 0
    assert process.output.splitlines() == ['{"sent": 0}']


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"source": "/dev/video99"}, "/dev/video99 does not exist"),
        ({"rate": "fast"}, "rate is 'fast'"),
        ({"height": 480}, "width and height are 0 and 480"),
    ],
)
def test_what_cannot_be_opened_is_one_sentence_and_exit_code_2(start, parameters, sentence):
    process = start(**parameters)
    assert process.wait() == 2
    assert sentence in process.output and "Traceback" not in process.output
