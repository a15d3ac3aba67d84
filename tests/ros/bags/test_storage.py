"""Recordings as people have them: packed, renamed, incomplete, or of something else."""

import gzip
import os
import shutil
import sqlite3

import pytest

pytest.importorskip("sensor_msgs", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")
pytest.importorskip("rosbags", reason="rosbags is not installed")

from mcap_files import mcap_file
from recordings import CAMERA, PERIOD, START, raw, storage_file, write
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionMode
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import Image

from sipmask_core.cli.main import main
from sipmask_core.errors import InputError
from sipmask_core.instances import Instances
from sipmask_ros.bags.evaluation import image_topics
from sipmask_ros.bags.reader import Bag, deserialized
from sipmask_ros.bags.report import TopicAccount
from sipmask_ros.bags.storage import unpack_file


def stamps(path):
    """Return the indices of the images in a bag, by their stamps."""
    return [
        (image.header.stamp.sec * 10**9 + image.header.stamp.nanosec - START) // PERIOD
        for image in (deserialized(message, Image) for message in Bag(path).messages([CAMERA]))
    ]


def unfinished(folder):
    """Write 12 images by SQLite, 4 of them in the log of a recorder that was killed."""
    written = write(folder / "whole", {CAMERA: raw}, "sqlite3")
    whole = sqlite3.connect(storage_file(written))
    rows = whole.execute("SELECT id, topic_id, timestamp, data FROM messages").fetchall()
    whole.execute("DELETE FROM messages WHERE id > 8")
    whole.commit()
    whole.execute("PRAGMA journal_mode = WAL")
    whole.execute("PRAGMA wal_autocheckpoint = 0")
    whole.executemany("INSERT INTO messages VALUES (?, ?, ?, ?)", rows[8:])
    whole.commit()
    killed = folder / "killed"
    killed.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{storage_file(written)}{suffix}", killed / f"live.db3{suffix}")
    whole.close()
    return killed


def test_what_a_killed_recorder_left_in_its_log_is_read(tmp_path):
    killed = unfinished(tmp_path)
    before = [(killed / name).read_bytes() for name in ("live.db3", "live.db3-wal")]
    for path in (killed, killed / "live.db3"):
        assert stamps(path) == list(range(12))
        assert Bag(path).damage == []
    assert before == [(killed / name).read_bytes() for name in ("live.db3", "live.db3-wal")]


def test_a_log_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    killed = unfinished(tmp_path)
    connect = sqlite3.connect

    def refuse(place, **how):
        if "mode=ro" in place:
            raise sqlite3.OperationalError("unable to open database file")
        return connect(place, **how)

    monkeypatch.setattr(sqlite3, "connect", refuse)
    bag = Bag(killed)
    assert len(list(bag.messages([CAMERA]))) == 8
    (damage,) = bag.damage
    assert "the messages in live.db3-wal are missing" in str(damage)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_packed_bags_are_read_without_their_metadata(tmp_path, storage, mode):
    folder = write(tmp_path / "drive", {CAMERA: raw}, storage, compression=mode)
    (folder / "metadata.yaml").unlink()
    (file,) = folder.iterdir()
    for path in (folder, file):
        assert stamps(path) == list(range(12)) and Bag(path).damage == []


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_packed_file_that_is_cut_off_gives_its_first_part_under_its_name(tmp_path, storage):
    folder = write(
        tmp_path / "drive", {CAMERA: raw}, storage, CompressionMode.FILE, indices=range(300)
    )
    (file,) = (file for file in folder.iterdir() if file.suffix == ".zstd")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 2 // 3])
    for path in (folder, file):
        bag = Bag(path)
        assert len(list(bag.messages([CAMERA]))) > 20
        assert [damage.file for damage in bag.damage] == [file]


def test_what_a_player_has_unpacked_beside_a_packed_file_is_not_read_twice(tmp_path):
    folder = write(tmp_path / "drive", {CAMERA: raw}, compression=CompressionMode.FILE)
    (file,) = (file for file in folder.iterdir() if file.suffix == ".zstd")
    (folder / "metadata.yaml").unlink()
    unpack_file(file, folder)
    assert stamps(folder) == list(range(12))


@pytest.mark.parametrize(("storage", "suffix"), [("mcap", ".MCAP"), ("sqlite3", ".DB3")])
def test_the_case_of_a_suffix_does_not_matter(tmp_path, storage, suffix):
    folder = write(tmp_path / "drive", {CAMERA: raw}, storage)
    file = storage_file(folder).rename(folder / f"drive{suffix}")
    for path in (file, folder):
        assert stamps(path) == list(range(12)) and Bag(path).damage == []


def test_a_file_that_is_missing_from_its_folder_is_named(tmp_path):
    folder = write(tmp_path / "drive", {CAMERA: raw})
    file = storage_file(folder)
    text = (folder / "metadata.yaml").read_text()
    names = f"- {file.name}\n  - drive_1.mcap\n"
    (folder / "metadata.yaml").write_text(text.replace(f"- {file.name}\n", names, 1))
    bag = Bag(folder)
    assert len(list(bag.messages([CAMERA]))) == 12
    assert [str(damage) for damage in bag.damage] == [
        f"{folder / 'drive_1.mcap'} is damaged: it is missing from its folder."
    ]
    file.unlink()
    with pytest.raises(InputError, match=r"not the file that it names, drive.mcap, drive_1.mcap;"):
        Bag(folder)


def test_what_is_neither_file_nor_folder_is_no_bag(tmp_path):
    os.mkfifo(tmp_path / "pipe.mcap")  # to open it would wait for ever
    with pytest.raises(InputError, match=r"pipe\.mcap is no bag"):
        Bag(tmp_path / "pipe.mcap")


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("drive.mcap.gz", gzip.compress(b"x"), "is a gzip archive: unpack it"),
        ("drive.mcap", gzip.compress(b"x"), "is a gzip archive: unpack it"),
        ("drive.zip", b"PK\x03\x04", "is a zip archive"),
        ("drive.db3", b"version https://git-lfs.github.com/spec/v1", "is a Git LFS pointer"),
        ("drive.mcap", b"<!DOCTYPE html>", "is a web page"),
        ("drive.mcap", b"", "is empty"),
        ("metadata.yaml", b"rosbag2_bagfile_information:", "is no bag: .*; give the folder of th"),
    ],
)
def test_what_is_no_recording_is_named(tmp_path, name, content, what):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name} {what}"):
        Bag(tmp_path / name)


def test_of_a_folder_of_bags_one_is_to_be_given(tmp_path):
    for name in ("second", "first", "notes"):
        (tmp_path / name).mkdir()
    for name in ("second", "first"):
        (tmp_path / name / f"{name}_0.mcap").touch()
    with pytest.raises(InputError, match=r"is no bag: .*; give one of those in it: first, second"):
        Bag(tmp_path)


def test_a_renamed_file_is_not_missed(tmp_path):
    folder = write(tmp_path / "drive", {CAMERA: raw})
    storage_file(folder).rename(folder / "other.mcap")
    assert stamps(folder) == list(range(12)) and Bag(folder).damage == []


def test_a_bag_of_ros_1_is_named_with_the_tool_that_converts_it(tmp_path):
    file = tmp_path / "old.bag"
    types = get_typestore(Stores.ROS1_NOETIC)
    text = types.types["std_msgs/msg/String"]
    with Ros1Writer(file) as writer:
        connection = writer.add_connection("/chatter", text.__msgtype__, typestore=types)
        writer.write(connection, 1, types.serialize_ros1(text("hello"), text.__msgtype__))
    for path in (file, tmp_path):
        with pytest.raises(InputError, match="is a bag of ROS 1; `rosbags-convert --src FILE"):
            Bag(path)


@pytest.mark.parametrize(
    ("kind", "encoding", "what"),
    [
        ("sensor_msgs/Image", "ros1", "messages of ROS 1; `rosbags-convert"),
        ("foxglove.CompressedImage", "protobuf", "protobuf messages; `pip install mcap-protobuf"),
        ("foxglove.CompressedImage", "json", "JSON; "),
        (
            "ffmpeg_image_transport_msgs/msg/FFMPEGPacket",
            "cdr",
            "packets of a video; while the bag is played, `ros2 run image_transport republish ffm",
        ),
    ],
)
def test_what_is_no_image_of_ros_2_is_named_with_what_makes_one(tmp_path, kind, encoding, what):
    path = mcap_file(tmp_path / "x.mcap", CAMERA, kind, encoding)
    bag = Bag(path)
    assert bag.topics == {CAMERA: kind} and bag.damage == []
    with pytest.raises(InputError) as error:
        image_topics(bag, [])
    sentence = str(error.value)
    assert f"has no images; its topics are {CAMERA} ({kind})." in sentence
    assert f"{CAMERA} carries {what}" in sentence


def test_errors_about_topics_name_the_options_of_the_command(tmp_path, capsys):
    topics = {"/left": raw, "/right": raw}
    folder = write(tmp_path / "drive", topics, indices=range(1))
    for verb in (["evaluate", "bag"], ["dataset", "from-bag"]):
        assert main([*verb, str(folder), "--output", str(tmp_path / "out")]) == 2
        assert "images on /left, /right; choose with --topic." in capsys.readouterr().err


def test_a_recording_of_a_loop_has_the_rate_of_the_camera():
    account = TopicAccount(CAMERA, "sensor_msgs/msg/Image", ("person",))
    for index in range(40):
        stamp = START + index % 20 * PERIOD  # two rounds
        account.receive(START + index * PERIOD, stamp)
        account.add(Instances.empty((4, 4)), {})
    figures = account.figures()
    assert figures["rate_hz"] == pytest.approx(20)
    assert figures["duration_s"] == pytest.approx(38 * 0.05)
    assert figures["stamps_not_rising"] == 1
