"""A running node segments images on request."""

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

import numpy as np
from lifecycle_msgs.msg import Transition
from node_harness import assert_instances, picture
from scripted_node import GREEN


def test_an_image_is_segmented_on_request_while_the_node_is_active(start):
    camera, _ = start.node()
    first = camera.answer(camera.image(picture()))
    image = camera.image(picture(3, (30, 40)))
    answer = camera.call("segment", image=image)
    assert answer.success, answer.message
    assert answer.message == "Instances: 2."
    assert answer.instances.header == image.header
    assert_instances(answer.instances, picture(3, (30, 40)))
    assert [i.track_id for i in answer.instances.instances] == [-1, -1]
    # The camera's tracks and counts know nothing of it.
    ids = [i.track_id for i in first.instances]
    again = camera.answer(camera.image(picture()))
    assert [i.track_id for i in again.instances] == ids
    assert camera.final_counts()["received"] == 2

    image.data = image.data[:-1]
    broken = camera.call("segment", image=image)
    assert not broken.success and not broken.instances.instances
    assert str(len(image.data)) in broken.message and broken.message.endswith(".")
    failing = camera.call("segment", image=camera.image(np.full((9, 9, 3), GREEN, np.uint8)))
    assert failing.message == "The image could not be segmented; the node's log says more."
    assert "the script says so" in camera.process.output

    camera.transition(Transition.TRANSITION_DEACTIVATE)
    refused = camera.call("segment", image=camera.image(picture()))
    assert (refused.success, refused.message) == (
        False,
        "The node is not active; configure and activate it first.",
    )
