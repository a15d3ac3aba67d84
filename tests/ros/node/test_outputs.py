"""What the running node publishes beside instances and pictures."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

pytest.importorskip("visualization_msgs", reason="visualization_msgs is not installed")

from geometry_msgs.msg import PoseStamped
from node_harness import RELIABLE, Starter, picture
from scripted_node import CLASS_NAMES, expected
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from sipmask_ros.msg import InstancePositionArray, LabelInfo
from sipmask_ros.srv import Follow
from visualization_msgs.msg import MarkerArray

from sipmask_ros.conversions.images import array_to_image, compressed_to_bgr
from sipmask_ros.conversions.label_info import LATCHED

FOCAL = 50.0


@pytest.fixture(scope="module")
def camera(ros, tmp_path_factory):
    """Offer a camera on a node that takes only depth images with the very stamp of an image."""
    starter = Starter(tmp_path_factory.mktemp("outputs"))
    yield starter.node(depth_topics="[depth/image]", depth_tolerance=0.0, score_threshold=0.25)[0]
    starter.end()


@pytest.fixture
def positions(camera):
    """Collect the positions that the node publishes while the test runs."""
    positions = []
    subscription = camera.subscribe(InstancePositionArray, "positions", positions)
    yield positions
    camera.destroy_subscription(subscription)


def calibration(header, size):
    height, width = size
    info = CameraInfo(header=header, height=height, width=width, distortion_model="plumb_bob")
    info.k = [FOCAL, 0.0, width / 2, 0.0, FOCAL, height / 2, 0.0, 0.0, 1.0]
    info.d = [0.0] * 5
    return info


def test_without_depth_positions_are_not_known_and_that_is_said(camera, positions):

    def answered():
        camera.answer(camera.image(picture()))
        return positions

    camera.wait(answered)
    assert [p.valid for p in positions[0].positions] == [False, False]
    assert "No depth image with a stamp has come yet" in camera.process.output


@pytest.fixture(scope="module")
def answer_with_depth(camera):
    """Offer a function that sends an image with its depth; the first instance is 2 m away."""
    depths = camera.create_publisher(Image, "depth/image", RELIABLE)
    infos = camera.create_publisher(CameraInfo, "depth/camera_info", RELIABLE)
    camera.wait(lambda: depths.get_subscription_count() and infos.get_subscription_count())

    def answer(pixels):
        metres = np.full(pixels.shape[:2], 4.0, np.float32)
        metres[pixels[..., 0] > 127] = 2.0  # the first instance, and where it covers the second
        message = camera.image(pixels)
        infos.publish(calibration(message.header, pixels.shape[:2]))
        depths.publish(array_to_image(metres, "32FC1", message.header))
        return camera.answer(message)

    return answer


def test_instances_get_positions_from_the_depth_image_of_their_stamp(
    camera, positions, answer_with_depth
):
    pixels = picture()

    def answered():
        answer_with_depth(pixels)
        return any(p.positions and p.positions[0].valid for p in positions)

    camera.wait(answered)
    found = next(p for p in positions if p.positions[0].valid)
    assert found.header in [answer.header for answer in camera.received]
    assert found.depth_delay == 0.0
    wanted = expected(pixels)
    assert [p.class_name for p in found.positions] == [CLASS_NAMES[k] for k in wanted.labels]
    first = found.positions[0]
    assert first.position.z == pytest.approx(2.0, abs=0.01)
    x0, _, x1, _ = wanted.boxes[0]
    middle = ((x0 + x1) / 2 - pixels.shape[1] / 2) * 2.0 / FOCAL
    assert first.position.x == pytest.approx(middle, abs=0.1)
    camera.wait(lambda: int(camera.counts.get("depth_matched", 0)) >= 1)


def test_masks_points_and_pictures_come_to_who_subscribes(camera, answer_with_depth):
    kinds = {
        "label_mask": Image,
        "confidence": Image,
        "ignore_mask": Image,
        "depth_without": Image,
        "points": PointCloud2,
        "overlay/compressed": CompressedImage,
    }
    assert camera.set(ignore_classes=["cat"]), "the model does not know that class"
    assert not camera.set(ignore_classes=["dog"], ignore_margin=0, points_stride=1)
    came = {name: [] for name in kinds}
    subscriptions = [camera.subscribe(kind, name, came[name]) for name, kind in kinds.items()]
    pixels = picture(2)
    headers = []

    def all_came():
        headers.append(answer_with_depth(pixels).header)
        return all(came.values())

    camera.wait(all_came)
    assert not camera.set(ignore_classes=[], ignore_margin=10, points_stride=2)
    for subscription in subscriptions:
        camera.destroy_subscription(subscription)
    assert all(messages[-1].header in headers for messages in came.values())

    def image(name, dtype=np.uint8):
        return np.frombuffer(came[name][-1].data, dtype).reshape(pixels.shape[:2])

    person, dog = expected(pixels).masks
    assert np.array_equal(image("label_mask"), 1 * person + 2 * (dog & ~person))
    assert np.array_equal(image("confidence"), 230 * person + 153 * (dog & ~person))
    assert np.array_equal(image("ignore_mask"), 255 * dog)
    assert np.array_equal(np.isnan(image("depth_without", np.float32)), dog)
    assert came["points"][-1].width == (person | dog).sum()
    assert compressed_to_bgr(came["overlay/compressed"][-1]).shape == pixels.shape


def test_the_nearest_object_of_a_class_is_followed_and_shown_with_its_box(
    camera, positions, answer_with_depth
):
    follow = camera.create_client(Follow, "segmentation_node/follow")
    targets, markers = [], []
    subscriptions = [
        camera.subscribe(PoseStamped, "target", targets),
        camera.subscribe(MarkerArray, "markers", markers),
    ]
    camera.wait(follow.service_is_ready)
    pixels, answers = picture(), []

    def followed():
        answer_with_depth(pixels)
        answers.append(follow.call_async(Follow.Request(class_name="person")))
        return any(answer.done() and answer.result().success for answer in answers)

    def came():
        answer_with_depth(pixels)
        return targets and any(len(m.markers) > 1 for m in markers)

    def is_lost():
        answer_with_depth(pixels)
        return camera.message == "the target is lost"

    camera.wait(followed)
    camera.wait(came)
    chosen = next(a.result() for a in answers if a.done() and a.result().success)
    target = targets[-1]
    assert target.pose.position.z == pytest.approx(2.0, abs=0.01)
    camera.wait(lambda: any(p.header == target.header for p in positions))
    of_it = next(p for p in positions if p.header == target.header)
    (first,) = (p for p in of_it.positions if p.track_id == chosen.track_id)
    assert first.position == target.pose.position
    assert of_it.velocity_frame == of_it.header.frame_id, "it is relative to the camera"
    boxes = next(m for m in reversed(markers) if len(m.markers) > 1).markers
    assert f"person #{chosen.track_id}\n" in "".join(m.text for m in boxes)
    camera.wait(lambda: camera.counts.get("target_track") == str(chosen.track_id))
    camera.trigger("reset_tracks")
    camera.wait(is_lost)
    assert camera.counts["target_state"] == "lost"
    for subscription in subscriptions:
        camera.destroy_subscription(subscription)


def test_who_comes_late_still_learns_what_the_class_numbers_mean(camera):
    assert not camera.set(classes=["dog"])
    infos = []
    camera.create_subscription(LabelInfo, "segmentation_node/label_info", infos.append, LATCHED)
    camera.wait(lambda: infos)
    assert infos[0].model == "scripted"
    assert tuple(infos[0].class_names) == CLASS_NAMES
    assert list(infos[0].reported_classes) == ["dog"]
    assert infos[0].score_threshold == 0.25
    answer = camera.answer(camera.image(picture()))
    assert [i.class_name for i in answer.instances] == ["dog"]
