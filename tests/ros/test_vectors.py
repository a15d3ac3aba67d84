"""The messages in tests/vectors, by which others test their decoders, read by three of them."""

import json
import math
import subprocess
import sys

import pytest
from places import ROOT

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

import sipmask_ros.msg
from mcap.records import Schema
from mcap_ros2.decoder import DecoderFactory
from rclpy.serialization import deserialize_message, serialize_message

from sipmask_ros.bags.writer import typestore
from sipmask_ros.conversions import message_to_instances

VECTORS = ROOT / "tests" / "vectors"
NAMES = sorted(path.stem for path in VECTORS.glob("*.cdr"))


def data_of(name):
    return (VECTORS / f"{name}.cdr").read_bytes()


def document_of(name):
    return json.loads((VECTORS / f"{name}.json").read_text("utf-8"))


def said(content, like):
    """Return what a decoder made of a message, in the form of its JSON."""
    if isinstance(like, dict):
        return {name: said(getattr(content, name), inner) for name, inner in like.items()}
    if isinstance(like, list):
        return [said(one, inner) for one, inner in zip(content, like, strict=True)]
    return None if isinstance(content, float) and math.isnan(content) else content


def with_rclpy(data, type_name):
    return deserialize_message(data, getattr(sipmask_ros.msg, type_name.rpartition("/")[2]))


def with_rosbags(data, type_name):
    return typestore().deserialize_cdr(data, type_name)


def with_mcap(data, type_name):
    text, _ = typestore().generate_msgdef(type_name, ros_version=2)
    schema = Schema(id=1, name=type_name, encoding="ros2msg", data=text.encode())
    return DecoderFactory().decoder_for("cdr", schema)(data)


def test_the_files_are_those_that_the_program_makes(tmp_path):
    make = [sys.executable, VECTORS / "make.py", "--output", tmp_path]
    subprocess.run(make, check=True, cwd=tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    files = {path.name: path.read_bytes() for path in VECTORS.glob("instance*.*")}
    files |= {path.name: path.read_bytes() for path in VECTORS.glob("label*.*")}
    assert made == files, "run python tests/vectors/make.py"


@pytest.mark.parametrize("decode", [with_rclpy, with_rosbags, with_mcap])
@pytest.mark.parametrize("name", NAMES)
def test_a_decoder_reads_what_is_said(name, decode):
    document = document_of(name)
    message = decode(data_of(name), document["type"])
    assert said(message, document["message"]) == document["message"]


@pytest.mark.parametrize("name", NAMES)
def test_what_rclpy_writes_says_the_same(name):
    document = document_of(name)
    data = serialize_message(with_rclpy(data_of(name), document["type"]))
    message = with_rosbags(data, document["type"])
    assert said(message, document["message"]) == document["message"]


@pytest.mark.parametrize("name", NAMES)
def test_no_field_is_left_out_and_the_type_is_that_of_the_build(name):
    document = document_of(name)
    kind = getattr(sipmask_ros.msg, document["type"].rpartition("/")[2])
    assert list(document["message"]) == list(kind.get_fields_and_field_types())
    assert typestore().hash_rihs01(document["type"]) == document["type_hash"]


@pytest.mark.parametrize("name", ["instance_array_mono8", "instance_array_rle"])
def test_masks_show_what_is_said(name):
    document = document_of(name)
    instances = message_to_instances(with_rclpy(data_of(name), document["type"]))
    shown = [
        ["".join("01"[pixel] for pixel in row.tolist()) for row in crop.bitmap]
        for crop in instances.mask_crops
    ]
    assert shown == document["masks"]
