import json

import cv2
import numpy as np
import pytest

pytest.importorskip("sensor_msgs", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")
pytest.importorskip("rosbags", reason="rosbags is not installed")

from recordings import CAMERA, PERIOD, START, compressed, cut, picture, raw, storage_file, write
from scripted_node import ScriptedPredictor
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

import sipmask_core as sm
from sipmask_core.cli.main import main
from sipmask_core.data.coco import read_annotations
from sipmask_core.data.youtube_vis import read_videos
from sipmask_ros.conversions.images import array_to_image

LEFT, RIGHT = "/left/image_raw", "/right/image_raw/compressed"


@pytest.fixture(autouse=True)
def predictor(monkeypatch):
    instance = ScriptedPredictor()
    monkeypatch.setattr(sm.Predictor, "from_pretrained", lambda **options: instance)


def make(recording, output, *options):
    """Return the exit status and the annotation file of `sipmask dataset from-bag`."""
    command = ["dataset", "from-bag", str(recording), "--output", str(output)]
    return main([*command, "--image-format", "png", *options]), output / "annotations.json"


def scores(recording, truth, output, *topics):
    """Return what `sipmask evaluate bag` says of the same model, by topic."""
    command = ["evaluate", "bag", str(recording), "--output", str(output)]
    for topic in topics or (CAMERA,):
        command += ["--topic", topic, "--ground-truth", str(truth)]
    assert main(command) == 0
    report = json.loads((output / "report.json").read_text())
    return [figures["scores"] for figures in report["topics"].values()]


def assert_perfect(found, images=12):
    assert (found["annotated_images"], found["scored_images"]) == (images, images)
    assert found["segm"]["AP"] == found["bbox"]["AP"] == pytest.approx(1)
    assert found["tracking"]["HOTA"] == pytest.approx(1)
    assert found["tracking"]["id_switches"] == 0


@pytest.mark.parametrize("form", ["coco", "youtube-vis"])
@pytest.mark.parametrize("image", [raw, compressed])
def test_the_data_set_is_ground_truth_for_its_bag(tmp_path, form, image):
    recording = write(tmp_path / "drive", {CAMERA: image})
    status, truth = make(recording, tmp_path / "set", "--format", form)
    assert status == 0
    assert_perfect(scores(recording, truth, tmp_path / "seen")[0])


@pytest.mark.parametrize("form", ["coco", "youtube-vis"])
def test_several_cameras_make_one_data_set(tmp_path, form):
    recording = write(tmp_path / "drive", {LEFT: raw, RIGHT: compressed})
    topics = ("--topic", LEFT, "--topic", RIGHT)
    status, truth = make(recording, tmp_path / "set", "--format", form, *topics)
    assert status == 0
    assert len(list((tmp_path / "set" / "images").iterdir())) == 24
    for found in scores(recording, truth, tmp_path / "seen", LEFT, RIGHT):
        assert_perfect(found)


def test_a_few_images_are_ground_truth_for_just_these(tmp_path):
    recording = write(tmp_path / "drive", {CAMERA: raw})
    status, truth = make(recording, tmp_path / "set", "--rate", "5")
    assert status == 0
    names = [i.file_name for i in read_annotations(truth).images]
    assert names == [f"camera-image_raw-{START + i * PERIOD}.png" for i in (0, 4, 8)]
    found = scores(recording, truth, tmp_path / "seen")[0]
    assert (found["annotated_images"], found["scored_images"]) == (3, 3)


def test_images_without_a_stamp_are_known_by_their_number(tmp_path):
    recording = write(
        tmp_path / "drive", {CAMERA: lambda i: array_to_image(picture(i), "bgr8", Header())}
    )
    status, truth = make(recording, tmp_path / "set", "--rate", "10")
    assert status == 0
    assert read_annotations(truth).images[1].file_name == "camera-image_raw-000002.png"
    assert_perfect(scores(recording, truth, tmp_path / "seen")[0], images=6)


def test_compressed_images_are_stored_as_they_were_recorded(tmp_path):
    def jpeg(index):
        message = compressed(index)
        message.data = cv2.imencode(".jpg", picture(index))[1].tobytes()
        return message

    recording = write(tmp_path / "drive", {CAMERA: jpeg})
    assert make(recording, tmp_path / "set")[0] == 0
    files = sorted((tmp_path / "set" / "images").iterdir())
    assert [file.read_bytes() for file in files] == [bytes(jpeg(i).data) for i in range(12)]
    assert {file.suffix for file in files} == {".jpg"}


def test_an_orientation_in_a_file_does_not_turn_the_stored_image(tmp_path):
    def turned(index):
        pixels = np.ascontiguousarray(picture(index))
        data = cv2.imencode(".jpg", pixels)[1].tobytes()
        # An APP1 segment right after the start of the image: Exif, orientation 6.
        tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
        exif = b"Exif\0\0" + tiff
        segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
        return CompressedImage(
            header=raw(index).header, format="jpeg", data=data[:2] + segment + data[2:]
        )

    recording = write(tmp_path / "drive", {CAMERA: turned}, indices=range(2))
    status, annotations = make(recording, tmp_path / "set")
    assert status == 0
    for image in read_annotations(annotations).images:
        stored = cv2.imread(str(tmp_path / "set" / "images" / image.file_name))
        assert stored.shape[:2] == (image.height, image.width) == (48, 64)


def test_a_damaged_bag_gives_what_can_be_read(tmp_path, capsys):
    recording = write(tmp_path / "drive", {CAMERA: raw}, indices=range(30))
    file = cut(recording, 0.6)
    status, annotations = make(recording, tmp_path / "set", "--format", "youtube-vis")
    assert status == 1
    assert f"{file} is damaged" in capsys.readouterr().err
    (video,) = read_videos(annotations).videos
    assert 12 <= len(video.file_names) <= 18
    assert len(video.tracks) == 2


def test_an_image_that_does_not_decode_is_named_and_left_out(tmp_path, capsys):
    def torn(index):
        message = compressed(index)
        if index == 3:
            message.data = b"no picture"
        return message

    status, annotations = make(write(tmp_path / "drive", {CAMERA: torn}), tmp_path / "set")
    assert status == 1
    assert f"camera-image_raw-{START + 3 * PERIOD} was left out" in capsys.readouterr().err
    assert len(read_annotations(annotations).images) == 11


def test_a_bag_without_a_readable_image_writes_nothing(tmp_path, capsys):
    def torn(index):
        message = compressed(index)
        message.data = b"no picture"
        return message

    recording = write(tmp_path / "drive", {CAMERA: torn})
    assert make(storage_file(recording), tmp_path / "set")[0] == 1
    assert "No image was found; nothing is written." in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
