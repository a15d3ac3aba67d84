"""Bags: what can be read is read, damage is named, and nothing else happens."""

import dataclasses
import shutil

import pytest
from fuzzing import damaged, fuzz, may_refuse
from hypothesis import strategies as st

pytest.importorskip("rosbags", reason="rosbags is not installed")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

from recordings import CAMERA, HEIGHT, WIDTH, header, raw, storage_file, truth, write
from rosbags.rosbag2 import CompressionMode
from sensor_msgs.msg import Image
from strange_instances import some_instances

from sipmask_ros.bags.evaluation import Task, evaluate
from sipmask_ros.bags.reader import Bag, deserialized
from sipmask_ros.bags.salvage import Salvage
from sipmask_ros.conversions.instances import instances_to_message

COUNT = 4
STORAGES = ("mcap", "sqlite3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bags")
    for name in STORAGES:
        write(folder / name, {CAMERA: raw, "/truth": truth}, name, indices=range(COUNT))
    packed = {CAMERA: raw, "/truth": truth}
    write(folder / "packed", packed, "mcap", CompressionMode.STORAGE, indices=range(COUNT))
    return folder


def bag_of(folder, kind, content=None, metadata=None):
    """Return a copy of a bag with another storage file or other metadata."""
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder / kind, copy)
    if content is not None:
        storage_file(copy).write_bytes(content)
    if metadata is not None:
        (copy / "metadata.yaml").write_bytes(metadata)
    return copy


def read_through(path):
    """Return how many images of a bag can be read."""
    count = 0
    with may_refuse():
        bag = Bag(path)
        for recorded in bag.messages(bag.topics):
            count += recorded.topic == CAMERA
            if recorded.type == "sensor_msgs/msg/Image":
                with may_refuse():
                    deserialized(recorded, Image)
        assert all("damaged" in str(damage) for damage in bag.damage)
    return count


@fuzz(kind=st.sampled_from([*STORAGES, "packed"]), data=st.data(), alone=st.booleans())
def test_a_damaged_storage_file_is_read_as_far_as_possible(folder, kind, data, alone):
    content = data.draw(damaged([storage_file(folder / kind).read_bytes()]))
    bag = bag_of(folder, kind, content)
    read_through(storage_file(bag) if alone else bag)
    salvage = Salvage(storage_file(bag))
    assert all(isinstance(message.data, bytes) for message in salvage)
    assert 0 <= salvage.unread_bytes <= salvage.total_bytes


@fuzz(kind=st.sampled_from(STORAGES), data=st.data())
def test_damaged_metadata_lose_no_image(folder, kind, data):
    metadata = data.draw(damaged([(folder / kind / "metadata.yaml").read_bytes()]))
    read_through(bag_of(folder, kind, metadata=metadata))


@fuzz(
    share=0.5, data=st.binary(max_size=300), suffix=st.sampled_from([".mcap", ".db3", ".txt", ""])
)
def test_any_file_is_a_bag_or_refused(folder, data, suffix):
    path = folder / f"any{suffix}"
    path.write_bytes(data)
    read_through(path)


arrays = st.lists(some_instances(classes=2, largest=12), min_size=COUNT, max_size=COUNT)
odd = st.sampled_from([None, float("nan"), float("inf"), -3e38, 0.0])


@fuzz(
    share=0.3,
    seen=arrays,
    true=arrays,
    sized=st.booleans(),
    encoding=st.sampled_from(["mono8", "rle"]),
    score=odd,
    edge=odd,
)
def test_recorded_instances_are_reported_whatever_they_are(
    folder, seen, true, sized, encoding, score, edge
):
    def make(arrays):
        def message(index):
            instances = arrays[index]
            if sized:
                instances = dataclasses.replace(instances, image_size=(HEIGHT, WIDTH))
            names = ("person", "dog")
            message = instances_to_message(instances, header(index), names, "made up", encoding)
            for instance in message.instances[:1]:
                instance.score = instance.score if score is None else score
                instance.box[2] = instance.box[2] if edge is None else edge
            return message

        return message

    place = folder / "instances"
    shutil.rmtree(place, ignore_errors=True)
    topics = {CAMERA: raw, f"{CAMERA}/instances": make(seen), "/truth": make(true)}
    write(place, topics, indices=range(COUNT))
    task = Task(place, folder / "report", results=place, truth_topics=("/truth",))
    with may_refuse():
        report, failures = evaluate(task, None)
        assert report["images"] == COUNT and all(isinstance(f, str) for f in failures)
