import json
import signal
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("sensor_msgs", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")
pytest.importorskip("rosbags", reason="rosbags is not installed")

from ament_index_python import get_package_share_directory
from coco_squares import tiny_model
from full_disk import SAYS, full_disk
from geometry_msgs.msg import Point
from rclpy.serialization import deserialize_message, serialize_message
from recordings import (
    CAMERA,
    DELAY,
    HEIGHT,
    PERIOD,
    START,
    WIDTH,
    compressed,
    cut,
    header,
    picture,
    raw,
    storage_file,
    truth,
    write,
)
from ros_harness import PATIENCE
from rosbags.rosbag2 import CompressionMode, Reader, Writer
from scripted_node import ScriptedPredictor, expected
from sensor_msgs.msg import Image
from sipmask_ros.msg import InstanceArray, InstancePosition, InstancePositionArray
from std_msgs.msg import Header, String

import sipmask_core as sm
from sipmask_core.cli.main import main
from sipmask_core.errors import InputError
from sipmask_ros.bags.evaluation import Task, evaluate, format_report
from sipmask_ros.bags.reader import Bag
from sipmask_ros.bags.writer import BagWriter, typestore
from sipmask_ros.conversions.images import array_to_image, type_name
from sipmask_ros.conversions.instances import instances_to_message, message_to_instances
from sipmask_ros.node.channel import Channel
from sipmask_ros.node.parameters import Parameters
from sipmask_ros.node.segmenter import Segmenter
from sipmask_ros.perception import Perception


def look(recording, output, predictor=True, **options):
    task = Task(recording=recording, output=output, **options)
    return evaluate(task, ScriptedPredictor() if predictor is True else predictor)


def arrays(path, topic=f"{CAMERA}/instances", kind=InstanceArray):
    """Return (recorded, message) of each message of a topic, by the library for whole bags."""
    with Reader(path) as reader:
        chosen = [c for c in reader.connections if c.topic == topic]
        assert chosen
        return [
            (time, deserialize_message(data, kind)) for _, time, data in reader.messages(chosen)
        ]


@pytest.fixture
def recording(tmp_path):
    return write(tmp_path / "drive", {CAMERA: raw, "/truth": truth})


def test_types_have_the_hashes_that_rosidl_gives_them():
    for name in (
        "Instance",
        "InstanceArray",
        "InstancePosition",
        "InstancePositionArray",
        "LabelInfo",
    ):
        file = Path(get_package_share_directory("sipmask_ros"), "msg", f"{name}.json")
        hashes = {
            h["type_name"]: h["hash_string"] for h in json.loads(file.read_text())["type_hashes"]
        }
        full_name = f"sipmask_ros/msg/{name}"
        assert typestore().hash_rihs01(full_name) == hashes[full_name]


def test_recorded_positions_can_be_read():
    place = InstancePosition(class_name="cup", valid=True, position=Point(x=0.1, y=-0.2, z=1.5))
    message = InstancePositionArray(header=header(3), positions=[place, InstancePosition()])
    name = type_name(InstancePositionArray)
    read = typestore().deserialize_cdr(serialize_message(message), name)
    assert read.header.stamp.nanosec == header(3).stamp.nanosec
    assert [one.valid for one in read.positions] == [True, False]
    point = read.positions[0].position
    assert (point.x, point.y, point.z) == (0.1, -0.2, 1.5)


@pytest.mark.parametrize("make", [raw, compressed])
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_each_image_gives_its_instances_at_its_stamp_and_time(tmp_path, storage, make):
    recording = write(tmp_path / "drive", {CAMERA: make}, storage)
    report, failures = look(recording, tmp_path / "seen")
    assert failures == []
    found = arrays(tmp_path / "seen" / "bag")
    assert len(found) == 12
    for index, (time, message) in enumerate(found):
        assert message.header == header(index)
        assert time == START + index * PERIOD + DELAY
        assert np.array_equal(message_to_instances(message).masks, expected(picture(index)).masks)
        assert [i.track_id for i in message.instances] == [0, 1]
    figures = report["topics"][CAMERA]
    assert (figures["images"], figures["segmented_images"]) == (12, 12)
    assert figures["rate_hz"] == pytest.approx(20)
    assert figures["recording_delay_ms"]["mean"] == pytest.approx(2)
    assert figures["instances"] == {
        "total": 24,
        "mean": 2.0,
        "max": 2,
        "by_class": {"person": 12, "dog": 12},
    }
    assert figures["tracks"]["total"] == 2 and figures["tracks"]["longest_images"] == 12
    assert set(figures["latency_ms"]) >= {"decode", "track", "message", "total"}
    plot = cv2.imread(str(tmp_path / "seen" / "camera_image_raw.png"))
    assert plot is not None and plot.std() > 10


def test_a_lone_storage_file_is_a_bag_too(recording, tmp_path):
    report, failures = look(storage_file(recording), tmp_path / "seen")
    assert report["images"] == 12 and failures == []


@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_compressed_bags_are_read(tmp_path, mode):
    recording = write(tmp_path / "drive", {CAMERA: raw}, compression=mode)
    report, failures = look(recording, tmp_path / "seen")
    assert report["images"] == 12 and failures == []


def test_what_the_node_publishes_and_what_the_bag_gets_are_equal(recording, tmp_path):
    look(recording, tmp_path / "seen", overlay=True)

    class Publisher(list):
        def __init__(self):
            self.grown = threading.Semaphore(0)

        def publish(self, message):
            self.append(message)
            self.grown.release()

        def get_subscription_count(self):
            return 1

    published = {}
    log = SimpleNamespace(warning=pytest.fail, error=pytest.fail)
    node = SimpleNamespace(
        get_logger=lambda: log,
        context=SimpleNamespace(ok=lambda: True),
        get_fully_qualified_name=lambda: "/node",
        create_lifecycle_publisher=lambda _, name, *__, **___: published.setdefault(
            name, Publisher()
        ),
    )
    watch = SimpleNamespace(publisher_events=None)
    segmenter = Segmenter(node, Perception(ScriptedPredictor()), Parameters())
    channel = Channel(node, "image", Parameters(), watch, first_track_id=0)
    channel.age = lambda header: None  # no clock in this test
    for index in range(12):
        segmenter.on_image(channel, raw(index))
        assert published["~/label_image"].grown.acquire(timeout=PATIENCE)  # it is the last
    assert segmenter.stop()
    bag = tmp_path / "seen" / "bag"
    found = [message for _, message in arrays(bag)]
    assert published["~/instances"] == found
    pictures = [message for _, message in arrays(bag, f"{CAMERA}/overlay", Image)]
    assert published["~/overlay"] == pictures


def test_each_camera_has_its_own_tracker_and_its_own_topics(tmp_path):
    left, right = "/left/image_raw", "/right/image_raw/compressed"
    recording = write(tmp_path / "drive", {left: raw, right: compressed})
    with pytest.raises(
        InputError, match=r"images on /left/image_raw, /right.*choose with `topics`"
    ):
        look(recording, tmp_path / "seen")
    report, failures = look(recording, tmp_path / "seen", topics=(left, right))
    assert failures == []
    assert list(report["topics"]) == [left, right]
    for topic in (left, right):
        for _, message in arrays(tmp_path / "seen" / "bag", f"{topic}/instances"):
            assert [i.track_id for i in message.instances] == [0, 1]
    assert (tmp_path / "seen" / "right_image_raw_compressed.png").exists()


def test_a_gap_is_found_with_the_images_that_are_missing(tmp_path):
    indices = [i for i in range(30) if i not in (10, 11, 12)]
    recording = write(tmp_path / "drive", {CAMERA: raw}, indices=indices)
    report, failures = look(recording, tmp_path / "seen")
    assert failures == []
    gaps = report["topics"][CAMERA]["gaps"]
    assert (gaps["count"], gaps["missing_images"]) == (1, 3)
    assert gaps["longest"][0]["start_s"] == pytest.approx(9 * 0.05)
    assert gaps["longest"][0]["seconds"] == pytest.approx(4 * 0.05)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("with_metadata", [True, False])
def test_a_bag_that_is_cut_off_gives_what_can_be_read(tmp_path, storage, with_metadata):
    recording = write(tmp_path / "drive", {CAMERA: raw}, storage, indices=range(30))
    file = cut(recording, 0.6)
    if not with_metadata:
        (recording / "metadata.yaml").unlink()
    report, failures = look(recording, tmp_path / "seen")
    images = report["images"]
    assert 12 <= images <= 18
    found = arrays(tmp_path / "seen" / "bag")
    assert [message.header for _, message in found] == [header(i) for i in range(images)]
    assert len(report["damage"]) == 1
    assert f"{file} is damaged: " in failures[0] and "bytes could not be read" in failures[0]
    if with_metadata:
        assert report["lost_messages"] == {CAMERA: 30 - images}
        assert f"{30 - images} of 30 images of {CAMERA} are lost." in failures


ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def noisy(index):
    """Return an image that fills an MCAP chunk of its own, with the two squares in it."""
    rng = np.random.default_rng(index)
    image = rng.integers(0, 100, (600, 640, 3), np.uint8)
    image[:HEIGHT, :WIDTH] = picture(index)
    return array_to_image(image, "bgr8", header(index))


def test_a_damaged_chunk_costs_only_its_own_images(tmp_path):
    recording = write(
        tmp_path / "drive", {CAMERA: noisy}, compression=CompressionMode.STORAGE, indices=range(5)
    )
    file = storage_file(recording)
    head, first, second, *rest = file.read_bytes().split(ZSTD_MAGIC)
    broken = second + bytes(len(ZSTD_MAGIC)) + ZSTD_MAGIC.join(rest)
    file.write_bytes(ZSTD_MAGIC.join((head, first, broken)))
    report, failures = look(recording, tmp_path / "seen")
    found = [message.header for _, message in arrays(tmp_path / "seen" / "bag")]
    assert found == [header(i) for i in (0, 1, 3, 4)]
    assert report["lost_messages"] == {CAMERA: 1}
    assert "a chunk of it is damaged" in failures[0]


def test_an_overwritten_part_costs_only_its_own_images(tmp_path):
    recording = write(tmp_path / "drive", {CAMERA: raw}, indices=range(30))
    file = storage_file(recording)
    size = file.stat().st_size
    with file.open("rb+") as stream:
        stream.seek(size // 3)
        stream.write(b"\xaa" * (size // 10))
    report, failures = look(recording, tmp_path / "seen")
    found = [message.header for _, message in arrays(tmp_path / "seen" / "bag")]
    assert 24 <= len(found) <= 27 and header(0) in found and header(29) in found
    assert report["lost_messages"] == {CAMERA: 30 - report["images"]}
    assert "a chunk of it is damaged" in failures[0]


def test_an_image_that_does_not_decode_is_named_and_left_out(tmp_path):
    def make(index):
        message = compressed(index)
        if index == 3:
            message.data = b"no picture"
        return message

    recording = write(tmp_path / "drive", {CAMERA: make})
    report, failures = look(recording, tmp_path / "seen")
    assert len(failures) == 1
    assert failures[0].startswith(f"Image 3 of {CAMERA} was left out. The compressed image (10 byt")
    figures = report["topics"][CAMERA]
    assert (figures["images"], figures["segmented_images"], figures["refused_images"]) == (
        12,
        11,
        1,
    )


def test_a_message_that_is_damaged_is_named_and_left_out(tmp_path):
    with Writer(tmp_path / "drive", version=9) as writer:
        name = type_name(Image)
        connection = writer.add_connection(CAMERA, name, typestore=typestore())
        for index in range(12):
            data = serialize_message(raw(index))
            time = START + index * PERIOD + DELAY
            writer.write(connection, time, data[:1000] if index == 3 else data)
    report, failures = look(tmp_path / "drive", tmp_path / "seen")
    assert len(failures) == 1 and f"1000 bytes are no {name}" in failures[0]
    assert report["topics"][CAMERA]["images"] == 12
    assert report["topics"][CAMERA]["gaps"]["missing_images"] == 1


def test_a_topic_without_a_message_is_a_failure_with_an_empty_report(tmp_path):
    with Writer(tmp_path / "drive", version=9) as writer:
        writer.add_connection(CAMERA, type_name(Image), typestore=typestore())
    report, failures = look(tmp_path / "drive", tmp_path / "seen")
    assert failures == [f"No image of {CAMERA} was found."]
    assert report["images"] == 0 and f"{CAMERA}: 0 images" in format_report(report)


def test_images_without_a_stamp_are_timed_by_the_recording(tmp_path):
    def make(index):
        return array_to_image(picture(index), "bgr8", Header())

    report, failures = look(write(tmp_path / "drive", {CAMERA: make}), tmp_path / "seen")
    assert failures == []
    assert report["topics"][CAMERA]["rate_hz"] == pytest.approx(20)


def test_a_bag_without_images_or_the_topic_says_what_there_is(tmp_path):
    words = write(tmp_path / "words", {"/chatter": lambda index: String(data=str(index))})
    with pytest.raises(
        InputError, match=r"has no images; its topics are /chatter \(std_msgs/msg/String\)"
    ):
        look(words, tmp_path / "seen")
    recording = write(tmp_path / "drive", {CAMERA: raw, "/truth": truth})
    with pytest.raises(
        InputError, match=r"/camera/image is not in .*images are on /camera/image_raw"
    ):
        look(recording, tmp_path / "seen", topics=("/camera/image",))
    with pytest.raises(InputError, match=r"/truth carries sipmask_ros/msg/InstanceArray in"):
        look(recording, tmp_path / "seen", topics=("/truth",))
    with pytest.raises(InputError, match="does not exist"):
        look(tmp_path / "none.mcap", tmp_path / "seen")
    with pytest.raises(InputError, match="is no bag"):
        look(Path(__file__), tmp_path / "seen")
    assert not (tmp_path / "seen").exists()


def test_a_bag_that_exists_is_not_overwritten(recording, tmp_path):
    look(recording, tmp_path / "seen")
    with pytest.raises(InputError, match="exists; remove it, or choose another place"):
        look(recording, tmp_path / "seen")


def test_a_bag_in_which_work_failed_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), BagWriter(tmp_path / "bag") as writer:
        writer.write("/chatter", 1, String(data="a"))
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["[" * 5000, "a: &a [*a]", "!!python/name:os.system"])
def test_metadata_of_no_sense_are_done_without(tmp_path, text):
    folder = write(tmp_path / "drive", {CAMERA: raw})
    (folder / "metadata.yaml").write_text(text)
    bag = Bag(folder)
    assert len(list(bag.messages([CAMERA]))) == 12 and bag.damage == []


def test_without_room_on_the_disk_an_evaluation_ends_with_a_sentence(recording, tmp_path):
    with full_disk(1000), pytest.raises(InputError, match=f"Cannot write .*seen/bag: {SAYS}"):
        look(recording, tmp_path / "seen")
    assert not list((tmp_path / "seen").iterdir())


@pytest.mark.parametrize("room", [0, 2000])
def test_a_bag_without_room_on_the_disk_is_named_and_leaves_nothing(tmp_path, room):
    with (
        pytest.raises(InputError, match=f"Cannot write {tmp_path / 'bag'}: {SAYS}"),
        full_disk(room),
        BagWriter(tmp_path / "bag") as writer,
    ):
        for number in range(20):
            writer.write("/camera", number, raw(0))
    assert list(tmp_path.iterdir()) == []


def assert_perfect(scores, annotated=12):
    assert (scores["annotated_images"], scores["scored_images"]) == (annotated, 12)
    assert scores["segm"]["AP"] == scores["bbox"]["AP"] == pytest.approx(1)
    for name in ("HOTA", "IDF1", "MOTA"):
        assert scores["tracking"][name] == pytest.approx(1)
    assert scores["tracking"]["id_switches"] == 0


def test_recorded_ground_truth_is_compared_by_stamp(recording, tmp_path):
    report, failures = look(recording, tmp_path / "seen", truth_topics=("/truth",))
    assert failures == []
    assert_perfect(report["topics"][CAMERA]["scores"])
    assert "HOTA 1.000" in format_report(report)
    with pytest.raises(InputError, match=r"no InstanceArrays on /truht; it has some on /truth"):
        look(recording, tmp_path / "again", truth_topics=("/truht",))


def test_an_image_that_was_recorded_twice_is_scored_once(tmp_path):
    indices = sorted([*range(12), 5])
    recording = write(tmp_path / "drive", {CAMERA: raw, "/truth": truth}, indices=indices)
    report, failures = look(recording, tmp_path / "seen", truth_topics=("/truth",))
    assert failures == []
    assert report["images"] == 13
    assert report["topics"][CAMERA]["stamps_not_rising"] == 1
    assert_perfect(report["topics"][CAMERA]["scores"])


def coco_truth(**fields):
    """Return a COCO file for indices 0 to 12; fields: of an image entry, made from the index."""
    document = {"categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]}
    document["images"], document["annotations"] = [], []
    for index in range(13):
        entry = {"id": index + 1, "file_name": f"drive-{index}.png"}
        entry |= {"height": HEIGHT, "width": WIDTH}
        document["images"].append(entry | {name: make(index) for name, make in fields.items()})
        instances = expected(picture(index))
        for label, rle in zip(instances.labels, instances.to_rle(), strict=True):
            document["annotations"].append(
                {
                    "id": len(document["annotations"]) + 1,
                    "image_id": index + 1,
                    "category_id": (1, 18)[label],
                    "segmentation": rle,
                }
            )
    return document


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"stamp": lambda index: START + index * PERIOD, "file_name": lambda index: f"{index}x"},
        {"frame": lambda index: index, "file_name": lambda index: f"{99 - index}.png"},
        {"file_name": lambda index: f"{START + index * PERIOD}.png"},
    ],
    ids=["file name as frame", "stamp", "frame", "file name as stamp"],
)
def test_a_coco_file_is_compared_by_stamp_or_frame(recording, tmp_path, fields):
    file = tmp_path / "truth.json"
    file.write_text(json.dumps(coco_truth(**fields)))
    report, failures = look(recording, tmp_path / "seen", truth_files=(file,))
    scores = report["topics"][CAMERA]["scores"]
    assert failures == []
    assert (scores["annotated_images"], scores["scored_images"]) == (13, 12)
    assert scores["segm"]["AP"] == pytest.approx(1)
    assert "tracking" not in scores


@pytest.mark.parametrize("keys", [{}, {"stamps": [START + i * PERIOD for i in range(13)]}])
def test_a_youtube_vis_file_gives_the_tracking_metrics_too(recording, tmp_path, keys):
    frames = [expected(picture(index)).to_rle() for index in range(13)]
    video = {"id": 1, "height": HEIGHT, "width": WIDTH}
    video["file_names"] = [f"drive/{index:05}.jpg" for index in range(13)]
    document = {
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}],
        "videos": [video | keys],
        "annotations": [
            {
                "id": label + 1,
                "video_id": 1,
                "category_id": label + 1,
                "segmentations": [frame[label] for frame in frames],
            }
            for label in (0, 1)
        ],
    }
    file = tmp_path / "truth.json"
    file.write_text(json.dumps(document))
    report, failures = look(recording, tmp_path / "seen", truth_files=(file,))
    assert failures == []
    assert_perfect(report["topics"][CAMERA]["scores"], annotated=13)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"stamp": lambda index: 0.5}, "stamp of drive-0.png is 0.5, expected an integer"),
        ({"frame": lambda index: 3}, "drive-0.png and drive-1.png are both for frame 3"),
        ({"file_name": lambda index: "x" * (index + 1)}, "nothing says which recorded image x is"),
        ({"height": lambda index: 50}, "Image 0 has 48 x 64 pixels, its ground truth 50 x 64"),
    ],
)
def test_ground_truth_that_does_not_fit_is_refused(recording, tmp_path, fields, sentence):
    document = coco_truth(**fields)
    if "height" in fields:
        document["annotations"] = []
    file = tmp_path / "truth.json"
    file.write_text(json.dumps(document))
    with pytest.raises(InputError, match=sentence):
        look(recording, tmp_path / "seen", truth_files=(file,))
    assert not (tmp_path / "seen" / "bag").exists()


def test_recorded_results_are_scored_without_a_model(recording, tmp_path):
    look(recording, tmp_path / "seen")
    report, failures = look(
        recording,
        tmp_path / "scored",
        predictor=None,
        results=tmp_path / "seen" / "bag",
        truth_topics=("/truth",),
    )
    assert failures == []
    figures = report["topics"][CAMERA]
    assert_perfect(figures["scores"])
    assert figures["latency_ms"] == {} and figures["images_without_results"] == 0
    assert not (tmp_path / "scored" / "bag").exists()


def test_images_that_the_results_lack_count_as_missed(tmp_path):
    def sparse(index):
        return truth(index - index % 2)

    recording = write(tmp_path / "drive", {CAMERA: raw, "/seen": sparse, "/truth": truth})
    report, _ = look(
        recording,
        tmp_path / "scored",
        predictor=None,
        results=recording,
        truth_topics=("/truth",),
    )
    figures = report["topics"][CAMERA]
    assert figures["images_without_results"] == 6
    assert figures["scores"]["scored_images"] == 12
    assert figures["scores"]["tracking"]["MOTA"] == pytest.approx(0.5)


def test_results_in_which_nothing_was_seen_are_scored_as_such(tmp_path):
    def blind(index):
        nothing = sm.Instances.empty((HEIGHT, WIDTH))
        return instances_to_message(nothing, header(index), ("person", "dog"), "blind")

    recording = write(tmp_path / "drive", {CAMERA: raw, "/seen": blind, "/truth": truth})
    report, failures = look(
        recording, tmp_path / "scored", predictor=None, results=recording, truth_topics=("/truth",)
    )
    scores = report["topics"][CAMERA]["scores"]
    assert failures == []
    assert scores["segm"]["AP"] == scores["tracking"]["HOTA"] == 0
    assert "0 instances" in format_report(report)


def test_ctrl_c_keeps_what_is_done(recording, tmp_path):
    class Interrupted(ScriptedPredictor):
        count = 0

        def predict_batch(self, images):
            self.count += 1
            if self.count == 5:
                signal.raise_signal(signal.SIGINT)
            return super().predict_batch(images)

    report, failures = look(recording, tmp_path / "seen", predictor=Interrupted())
    assert report["interrupted"] and report["images"] == 4  # one run warms the model up
    assert failures == []
    assert len(arrays(tmp_path / "seen" / "bag")) == 4


def test_the_command_evaluates_a_bag_with_a_model_file(recording, tmp_path, capsys):
    checkpoint = tmp_path / "tiny.safetensors"
    sm.save_checkpoint(tiny_model(), checkpoint)
    command = ["evaluate", "bag", str(recording), "--topic", CAMERA, "--overlay"]
    command += ["--checkpoint", str(checkpoint), "--device", "cpu", "--precision", "fp32"]
    output = tmp_path / "seen"
    assert main([*command, "--output", str(output), "--json", str(tmp_path / "copy.json")]) == 0
    report = json.loads((output / "report.json").read_text())
    assert report == json.loads((tmp_path / "copy.json").read_text())
    assert report["images"] == 12 and report["score_threshold"] == 0.3
    assert set(report["provenance"]["inputs"]) == {str(storage_file(recording)), str(checkpoint)}
    assert len(arrays(output / "bag", f"{CAMERA}/overlay", Image)) == 12
    assert f"{CAMERA}: 12 images in 0.6 s (20.0 Hz)" in capsys.readouterr().out

    cut(recording, 0.5)
    assert main([*command, "--output", str(tmp_path / "rest")]) == 1
    assert "is damaged" in capsys.readouterr().err
    assert main([*command, "--output", str(output)]) == 2
    assert "exists; remove it, or choose another place" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--overlay"], ["--checkpoint", "model.safetensors"]])
def test_options_of_a_model_are_refused_beside_results(recording, capsys, option):
    command = ["evaluate", "bag", str(recording), "--results", str(recording), *option]
    assert main(command) == 2
    assert f"{option[0]} is for a model's run; with --results none runs" in capsys.readouterr().err


def test_without_what_bags_need_one_sentence_names_it(monkeypatch, recording, capsys):
    monkeypatch.setitem(sys.modules, "sipmask_ros.bags.evaluation", None)
    assert main(["evaluate", "bag", str(recording)]) == 2
    assert "the module sipmask_ros.bags.evaluation is missing." in capsys.readouterr().err
