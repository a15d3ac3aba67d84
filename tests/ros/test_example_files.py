"""The files in examples/ that need ROS do what they say."""

import os
import runpy

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")
pytest.importorskip("rosbags", reason="rosbags is not installed")

import cv2
from geometry_msgs.msg import PoseStamped
from node_harness import picture
from places import ROOT
from recordings import CAMERA, raw, write
from ros_harness import Client
from scripted_node import ScriptedPredictor, expected
from sipmask_ros.msg import InstanceArray, InstancePosition, InstancePositionArray
from sipmask_ros.srv import Follow
from std_msgs.msg import Header

import sipmask_core as sm
from sipmask_ros.conversions.instances import instances_to_message, message_to_instances

EXAMPLES = ROOT / "examples"
RANDOM_MASK_RCNN = """
import torch
from torchvision_mask_rcnn import MaskRCNN
torch.manual_seed(0)

def make(*options):
    made = MaskRCNN(*options, weights=None)
    made._model.transform.min_size = (96,)
    return made
"""


def test_listen_prints_what_the_node_sees(start):
    listener = start.run("examples/listen.py")
    client = start.add(Client())
    publisher = client.create_publisher(InstanceArray, "segmentation_node/instances", 10)
    image = picture()
    message = instances_to_message(expected(image), Header(), ("person", "dog"), "x", "rle")

    def has_printed():
        publisher.publish(message)
        return "dog #-1 (" in listener.output

    client.wait_until(has_printed, listener)
    assert "0.000000000: person #-1 (" in listener.output


def test_follow_asks_for_a_person_and_prints_where_it_is_and_how_fast_things_move(start):
    follower = start.run("examples/follow.py")
    client = start.add(Client())
    waits = "Waiting for segmentation_node with a depth topic."
    client.wait_until(lambda: waits in follower.output, follower)
    asked = []

    def answer(request, response):
        asked.append(request)
        response.success, response.message = True, "Track 7 is followed."
        return response

    client.create_service(Follow, "segmentation_node/follow", answer)
    targets = client.create_publisher(PoseStamped, "segmentation_node/target", 1)
    positions = client.create_publisher(InstancePositionArray, "segmentation_node/positions", 10)
    target = PoseStamped(header=Header(frame_id="odom"))
    target.pose.position.x = 2.5
    one = InstancePosition(class_name="dog", track_id=3, velocity_deviation=0.125)
    one.velocity.x = -0.75
    array = InstancePositionArray(positions=[one], velocity_frame="odom")
    lines = ["Track 7 is followed.", "odom: 2.50 0.00 0.00", "dog #3: -0.75 ± 0.12 m/s in odom"]

    def has_printed():
        targets.publish(target)
        positions.publish(array)
        return all(line in follower.output for line in lines)

    client.wait_until(has_printed, follower)
    assert {(request.track_id, request.class_name) for request in asked} == {(-1, "person")}


def test_segment_on_request_prints_what_is_in_a_photo(start, tmp_path):
    camera, _ = start.node()
    cv2.imwrite(str(tmp_path / "photo.png"), picture())
    name = camera.get_namespace()
    asking = start.run(
        "examples/segment_on_request.py",
        tmp_path / "photo.png",
        *("--ros-args", "-r", f"__ns:={name}"),
    )
    assert asking.wait() == 0
    assert asking.output.splitlines() == ["Instances: 2.", "person 0.90", "dog 0.60"]


def test_mask_rcnn_stands_behind_the_node(start, tmp_path):
    (tmp_path / "random_mask_rcnn.py").write_text(RANDOM_MASK_RCNN)
    path = f"{tmp_path}:{EXAMPLES}:{os.environ['PYTHONPATH']}"
    camera, process = start.node(
        program=("-m", "sipmask_ros.node.segmentation_node"),
        environment={"PYTHONPATH": path},
        model="random_mask_rcnn:make",
        device="cpu",
        score_threshold=0.0,
    )
    image = picture()
    answer = camera.answer(camera.image(image))
    assert answer.model == "maskrcnn_resnet50_fpn"
    found = message_to_instances(answer)
    assert len(found) and found.masks.shape == (len(found), *image.shape[:2])
    assert found.masks.any()
    assert "maskrcnn_resnet50_fpn on cpu in fp32" in process.output


def test_code_that_cannot_be_used_is_one_sentence_of_the_node(start):
    manager = start.manager(
        program=("-m", "sipmask_ros.node.segmentation_node"), model="no_such.module:make"
    )
    assert manager.process.wait() == 2
    assert "There is no module no_such for 'no_such.module:make'" in manager.process.output
    assert "Traceback" not in manager.process.output


def test_bag_to_ap_scores_a_model_against_its_own_annotations(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sm.Predictor, "from_pretrained", lambda **_: ScriptedPredictor())
    recording = write(tmp_path / "drive", {CAMERA: raw})
    main = runpy.run_path(str(EXAMPLES / "bag_to_ap.py"), run_name="example")["main"]
    assert main(str(recording), str(tmp_path / "work")) == 0
    assert f"{CAMERA}: mask AP " in capsys.readouterr().out
