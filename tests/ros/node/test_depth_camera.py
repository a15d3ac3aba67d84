import threading
from array import array
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("sensor_msgs", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

import rclpy
from builtin_interfaces.msg import Time
from depth_packing import packed
from depth_scenes import LENS, SCENES, view
from hypothesis import given, settings
from hypothesis import strategies as st
from inside import node_of
from ros_harness import start_ros
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header

from sipmask_core.instances import Instances
from sipmask_core.tracking.online import OnlineTracker
from sipmask_core.tracking.settings import TrackerSettings
from sipmask_ros.conversions.images import array_to_image
from sipmask_ros.node.camera_tracks import CameraTracks
from sipmask_ros.node.depth_camera import KEPT_IMAGES, WARNING_PERIOD, DepthCamera
from sipmask_ros.node.outputs import OUTPUTS
from sipmask_ros.node.scene import Scene
from sipmask_ros.perception import Percept

FRAME = "camera_optical"
NAMES = ["thing"]
TOLERANCE = 0.05
SEEN = view(SCENES[0])


class Recorder:
    """What DepthCamera needs of a node: subscriptions made and destroyed, warnings kept."""

    def __init__(self):
        self.subscriptions = {}
        self.warnings = []

    def create_subscription(self, kind, topic, callback, qos):
        self.subscriptions[topic] = kind
        return topic

    def destroy_subscription(self, subscription):
        del self.subscriptions[subscription]

    def get_logger(self):
        return self

    def warning(self, text):
        self.warnings.append(text)


def header(seconds, frame=FRAME):
    nanoseconds = round(seconds * 1e9)
    return Header(stamp=Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9), frame_id=frame)


def depth_image(seconds, frame=FRAME, depth=SEEN.depth):
    return array_to_image(depth, "16UC1", header(seconds, frame))


def flat(millimetres):
    return np.full(SEEN.depth.shape, millimetres, np.uint16)


def camera_info(frame=FRAME, focal=LENS.focal):
    info = CameraInfo(header=header(0, frame), width=640, height=480, distortion_model="plumb_bob")
    info.k = [focal[0], 0.0, LENS.centre[0], 0.0, focal[1], LENS.centre[1], 0.0, 0.0, 1.0]
    return info


def camera(*images, info=None, topic="/camera/depth"):
    made = DepthCamera(Recorder(), topic, "/camera/camera_info", TOLERANCE)
    made.on_camera_info(info or camera_info())
    for image in images:
        made.on_depth(image)
    return made


def ask(made, seconds, instances=SEEN.instances, frame=FRAME):
    """Return what is published on `~/positions` of an image."""
    percept = Percept(header(seconds, frame), None, instances, tracked=True)
    model = SimpleNamespace(predictor=SimpleNamespace(class_names=NAMES))
    tracks = CameraTracks(OnlineTracker(TrackerSettings()), lambda header: None)
    scene = Scene(percept, model, None, tracks, made)
    (output,) = (output for output in OUTPUTS if output.name == "positions")
    return output.make(scene)


def warnings(made):
    return node_of(made).warnings


def depths(answer):
    return [one.position.z for one in answer.positions]


def test_objects_get_their_positions_and_the_header_of_the_image():
    made = camera(depth_image(12.5))
    answer = ask(made, 12.5)
    assert answer.header == header(12.5)
    assert answer.depth_delay == 0
    assert [one.track_id for one in answer.positions] == [1, 2, 3]
    assert all(one.valid for one in answer.positions)
    assert np.allclose(depths(answer), SEEN.points[:, 2], rtol=0.01)
    assert made.counts == {"depth_matched": 1, "depth_unmatched": 0, "depth_unusable": 0}
    assert warnings(made) == []


def test_an_image_without_objects_gets_an_empty_answer():
    made = camera(depth_image(12.5))
    assert ask(made, 12.5, Instances.empty((480, 640))).positions == []
    assert made.counts["depth_matched"] == 1


def test_the_depth_of_the_same_stamp_wins_over_nearer_arrivals():
    made = camera(*(depth_image(10 + 0.01 * i, depth=flat(1000 + i)) for i in range(5)))
    answer = ask(made, 10.02)
    assert depths(answer) == pytest.approx([1.002] * 3)
    assert answer.depth_delay == 0


def test_otherwise_the_nearest_within_the_tolerance_counts():
    made = camera(depth_image(10, depth=flat(1000)), depth_image(10.1, depth=flat(2000)))
    answer = ask(made, 10.03)
    assert depths(answer) == pytest.approx([1] * 3)
    assert answer.depth_delay == pytest.approx(-0.03)
    answer = ask(made, 10.06)
    assert depths(answer) == pytest.approx([2] * 3)
    assert answer.depth_delay == pytest.approx(0.04)


def test_beyond_the_tolerance_nothing_is_known_and_that_is_said_once():
    made = camera(depth_image(10))
    for _ in range(3):
        answer = ask(made, 10.051)
        assert np.isnan(depths(answer)).all() and np.isnan(answer.depth_delay)
        assert not any(one.valid for one in answer.positions)
    assert made.counts == {"depth_matched": 0, "depth_unmatched": 3, "depth_unusable": 0}
    (warning,) = warnings(made)
    assert warning == (
        "No position is known from /camera/depth. The depth image nearest to the image is -0.051 s"
        " off; depth_tolerance is 0.05 s."
    )


def test_the_tolerance_may_change():
    made = camera(depth_image(10))
    assert not ask(made, 10.2).positions[0].valid
    made.tolerance = 0.3
    assert ask(made, 10.2).positions[0].valid


def test_without_any_depth_image_that_is_said():
    made = camera()
    assert not ask(made, 1).positions[0].valid
    assert "No depth image with a stamp has come yet." in warnings(made)[0]


def test_a_warning_comes_again_when_the_fault_lasts(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("sipmask_ros.node.depth_camera.time.monotonic", lambda: now[0])
    made = camera()
    ask(made, 1)
    now[0] += WARNING_PERIOD - 1
    ask(made, 1)
    assert len(warnings(made)) == 1
    now[0] += 1
    ask(made, 1)
    assert len(warnings(made)) == 2


def test_depth_that_comes_after_its_image_is_found():
    made = camera(depth_image(10))
    made.on_depth(depth_image(10.2))
    assert ask(made, 10.2).depth_delay == 0


def test_when_stamps_jump_back_the_newest_of_a_stamp_counts():
    made = camera(*(depth_image(stamp, depth=flat(1000)) for stamp in (50, 51, 52)))
    made.on_depth(depth_image(50, depth=flat(2000)))
    assert depths(ask(made, 50)) == pytest.approx([2] * 3)


@pytest.mark.parametrize(
    ("image", "depth", "sentence"),
    [
        (0, 0, "The image has no stamp"),
        (0, 0.01, "The image has no stamp"),
        (0.01, 0, "No depth image with a stamp"),
    ],
)
def test_empty_stamps_belong_to_nothing(image, depth, sentence):
    made = camera(depth_image(depth))
    assert not any(one.valid for one in ask(made, image).positions)
    assert made.counts["depth_unmatched"] == 1
    assert sentence in warnings(made)[0]


def test_only_the_newest_depth_images_are_kept():
    made = camera(*(depth_image(10 + i) for i in range(KEPT_IMAGES + 1)))
    assert not ask(made, 10).positions[0].valid
    assert ask(made, 11).positions[0].valid


def test_depth_that_nobody_asks_for_is_not_read():
    broken = depth_image(10)
    broken.encoding = "jpeg"
    made = camera(broken)
    assert made.counts["depth_unusable"] == 0 and warnings(made) == []


@pytest.mark.parametrize(
    ("image", "info", "sentence"),
    [
        (
            depth_image(1, frame="depth_optical"),
            camera_info(),
            "The depth image is in the frame 'depth_optical', the image in 'camera_optical';"
            " depth must be registered to the image, as on a topic aligned_depth_to_color",
        ),
        (
            depth_image(1),
            camera_info(frame="depth_optical"),
            "The camera_info is in the frame 'depth_optical'",
        ),
        (
            depth_image(1, depth=SEEN.depth[:360]),
            camera_info(),
            "The depth image has 640 x 360 pixels, the image 640 x 480",
        ),
        (depth_image(1), camera_info(focal=(0.0, 0.0)), "has the focal lengths 0 and 0"),
        (Image(header=header(1), encoding="jpeg"), camera_info(), "encoding is 'jpeg'"),
    ],
)
def test_depth_that_cannot_be_used_is_said_once_and_nothing_is_invented(image, info, sentence):
    made = camera(image, info=info)
    for _ in range(2):
        answer = ask(made, 1)
        assert len(answer.positions) == 3
        assert not any(one.valid for one in answer.positions)
    assert made.counts == {"depth_matched": 0, "depth_unmatched": 0, "depth_unusable": 2}
    (warning,) = warnings(made)
    assert warning.startswith("No position is known from /camera/depth. ")
    assert sentence in warning


def test_without_camera_info_its_topic_is_named():
    made = DepthCamera(Recorder(), "/camera/depth", "/camera/camera_info", TOLERANCE)
    made.on_depth(depth_image(1))
    assert not ask(made, 1).positions[0].valid
    assert "Nothing has come on /camera/camera_info." in warnings(made)[0]


def test_frames_may_differ_if_depth_is_said_to_be_registered():
    made = camera(depth_image(1, frame="depth"), info=camera_info(frame="depth"))
    assert not ask(made, 1).positions[0].valid
    assert "set the parameter depth_registered" in warnings(made)[0]
    made.registered = True
    assert ask(made, 1).positions[0].valid


@pytest.mark.parametrize("algorithm", ["png", "rvl"])
def test_compressed_depth_comes_on_its_own_topic_and_gives_the_same_positions(algorithm):
    made = DepthCamera(
        Recorder(), "/depth/image_rect", "/camera_info", TOLERANCE, transport="compressedDepth"
    )
    topics = {"/depth/image_rect/compressedDepth": CompressedImage, "/camera_info": CameraInfo}
    assert node_of(made).subscriptions == topics
    info = camera_info()
    info.p = [info.k[0], 0.0, info.k[2], 0.0, 0.0, info.k[4], info.k[5], 0.0, 0, 0, 1, 0]
    info.d = [0.5, 0.0, 0.0, 0.0, 0.0]  # of the raw image, not of the rectified one
    made.on_camera_info(info)
    made.on_depth(packed(SEEN.depth, "16UC1", algorithm, header(1)))
    assert repr(ask(made, 1)) == repr(ask(camera(depth_image(1)), 1)), "NaN equals nothing"


def test_compressed_depth_that_is_damaged_gives_one_warning_and_no_position():
    made = DepthCamera(Recorder(), "/depth", "/info", TOLERANCE, transport="compressedDepth")
    made.on_camera_info(camera_info())
    message = packed(SEEN.depth, "16UC1", "rvl", header(1))
    message.data = message.data[:5000]
    made.on_depth(message)
    assert not any(one.valid for one in ask(made, 1).positions)
    assert made.counts["depth_unusable"] == 1
    (warning,) = warnings(made)
    assert warning == (
        "No position is known from /depth/compressedDepth. The compressed depth image cannot be"
        " read: its RVL data are cut off."
    )


def test_frames_may_begin_with_a_slash():
    made = camera(depth_image(1, frame=f"/{FRAME}"))
    assert ask(made, 1).positions[0].valid


@pytest.mark.parametrize(
    ("topic", "rectified"),
    [("/depth/image_rect", True), ("/depth_registered/image_rect_raw", True), ("/rect/raw", False)],
)
def test_rectified_images_are_known_by_their_topic(topic, rectified):
    info = camera_info()
    info.d = [0.1, 0.0, 0.0, 0.0, 0.0]
    info.p = [100.0, 0, 320.0, 0, 0, 100.0, 240.0, 0, 0, 0, 1, 0]
    found = ask(camera(depth_image(1), info=info, topic=topic), 1).positions[0]
    expected = 0.22 * LENS.focal[0] / 100 if rectified else 0.22
    assert found.width == pytest.approx(expected, rel=0.05)


NUMBERS = st.floats(width=64) | st.floats(0, 2000)
SIZES = st.sampled_from([0, 1, 2, 240, 320, 480, 640, 960, 1280, 2**32 - 1])


@settings(max_examples=100, deadline=None)
@given(
    info=st.builds(
        CameraInfo,
        header=st.just(header(1)),
        width=SIZES,
        height=SIZES,
        distortion_model=st.sampled_from(["", "plumb_bob", "rational_polynomial", "equidistant"]),
        d=st.lists(NUMBERS, max_size=14),
        k=st.lists(NUMBERS, min_size=9, max_size=9),
        p=st.lists(NUMBERS, min_size=12, max_size=12),
        binning_x=SIZES,
        binning_y=SIZES,
        roi=st.builds(RegionOfInterest, x_offset=SIZES, y_offset=SIZES, width=SIZES, height=SIZES),
    ),
    depth=st.builds(
        Image,
        header=st.just(header(1)),
        height=SIZES,
        width=SIZES,
        encoding=st.sampled_from(["16UC1", "32FC1", "mono16", "bgr8", ""]),
        is_bigendian=st.integers(0, 255),
        step=SIZES,
        data=st.binary(max_size=50).map(lambda data: array("B", data)),
    )
    | st.just(depth_image(1)),
    topic=st.sampled_from(["/depth", "/depth/image_rect"]),
)
def test_whatever_comes_each_instance_is_answered_for(info, depth, topic):
    made = camera(depth, info=info, topic=topic)
    answer = ask(made, 1)
    assert len(answer.positions) == 3
    assert sum(made.counts.values()) == 1
    for one in answer.positions:
        point = one.position
        numbers = [point.x, point.y, point.z, one.deviation, one.width, one.height]
        assert np.isfinite(numbers).all() if one.valid else np.isnan(numbers).all()


@settings(max_examples=100, deadline=None)
@given(
    focal=st.tuples(*[st.floats(1, 1e5)] * 2),
    centre=st.tuples(*[st.floats(-1e6, 1e6)] * 2),
    distortion=st.lists(st.floats(-1e3, 1e3), min_size=8, max_size=8),
)
def test_any_lens_gives_numbers_that_a_message_can_carry(focal, centre, distortion):
    info = camera_info()
    info.k = [focal[0], 0.0, centre[0], 0.0, focal[1], centre[1], 0.0, 0.0, 1.0]
    for model, count in (("plumb_bob", 5), ("rational_polynomial", 8), ("equidistant", 4)):
        info.distortion_model, info.d = model, distortion[:count]
        answer = ask(camera(depth_image(1), info=info), 1)
        for one in answer.positions:
            assert np.isfinite(one.width) == np.isfinite(one.position.x) == one.valid


def test_closing_ends_the_subscriptions():
    made = camera()
    assert node_of(made).subscriptions == {
        "/camera/depth": Image,
        "/camera/camera_info": CameraInfo,
    }
    made.close()
    made.close()
    assert node_of(made).subscriptions == {}


def test_depth_may_come_while_positions_are_computed():
    made = camera(depth_image(1))
    images = [depth_image(1 + 0.001 * i) for i in range(KEPT_IMAGES)]
    ended = threading.Event()

    def send():
        while not ended.is_set():
            for image in images:
                made.on_depth(image)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        for _ in range(100):
            assert ask(made, 1).positions[0].valid
    finally:
        ended.set()
        thread.join(timeout=30)


def test_depth_and_camera_info_come_over_topics():
    start_ros()
    node = rclpy.create_node("depth_test")
    try:
        made = DepthCamera(node, "depth", "camera_info", TOLERANCE)
        depth = node.create_publisher(Image, "depth", 1)
        info = node.create_publisher(CameraInfo, "camera_info", 1)
        image = depth_image(3)
        for _ in range(1000):
            info.publish(camera_info())
            depth.publish(image)
            rclpy.spin_once(node, timeout_sec=0.05)
            if ask(made, 3).positions[0].valid:
                break
        assert made.counts["depth_matched"] == 1
        made.close()
    finally:
        node.destroy_node()
        rclpy.shutdown()
