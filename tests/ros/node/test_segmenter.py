"""The thread that segments: images on request between those of the cameras."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

from node_harness import assert_instances, picture
from ros_harness import PATIENCE
from scripted_node import ScriptedPredictor
from sipmask_ros.srv import Segment
from std_msgs.msg import Header

from sipmask_core.errors import InputError
from sipmask_ros.conversions.images import array_to_image
from sipmask_ros.node.on_request import MOST_REQUESTS, SegmentService
from sipmask_ros.node.parameters import Parameters
from sipmask_ros.node.segmenter import Segmenter
from sipmask_ros.perception import Perception


class Slow(ScriptedPredictor):
    """Waits in its first call."""

    def __init__(self):
        super().__init__()
        self.begun, self.may_end = threading.Event(), threading.Event()

    def predict_batch(self, images):
        self.begun.set()
        assert self.may_end.wait(PATIENCE)
        return super().predict_batch(images)


def stand_in():
    log = SimpleNamespace(warning=pytest.fail, error=pytest.fail)
    return SimpleNamespace(
        get_logger=lambda: log,
        context=SimpleNamespace(ok=lambda: True),
        executor=None,
        create_service=lambda kind, name, callback, callback_group: None,
    )


def message(pixels):
    return array_to_image(pixels, "bgr8", Header(frame_id="somewhere"))


def test_requests_replace_neither_each_other_nor_are_lost_at_the_end():
    predictor = Slow()
    segmenter = Segmenter(stand_in(), Perception(predictor), Parameters(max_batch=1))
    first = segmenter.request(message(picture(0)))
    assert predictor.begun.wait(PATIENCE)
    waiting = [segmenter.request(message(picture(seed))) for seed in (1, 2)]
    assert not segmenter.stop(timeout=0.0)  # the first is in work
    for future in waiting:
        with pytest.raises(InputError, match="deactivated before the image's turn"):
            future.result()
    predictor.may_end.set()
    assert segmenter.stop()
    assert_instances(first.result(), picture(0))
    with pytest.raises(InputError, match="deactivated"):
        segmenter.request(message(picture())).result()


def test_more_requests_than_memory_is_kept_for_are_refused_with_a_sentence():
    predictor = Slow()
    service = SegmentService(stand_in())
    service.segmenter = Segmenter(stand_in(), Perception(predictor), Parameters())
    request = Segment.Request(image=message(np.zeros((4, 4, 3), np.uint8)))
    calls = [service.segment(request, Segment.Response()) for _ in range(MOST_REQUESTS + 1)]
    for call in calls[:-1]:
        call.send(None)  # up to where it waits for its answer
    with pytest.raises(StopIteration) as ended:
        calls[-1].send(None)
    assert not ended.value.value.success
    assert f"{MOST_REQUESTS} images are in work already" in ended.value.value.message
    predictor.may_end.set()
    assert service.segmenter.stop()
    for call in calls[:-1]:
        with pytest.raises(StopIteration):
            call.send(None)
