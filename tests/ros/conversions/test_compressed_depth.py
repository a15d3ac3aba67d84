"""The bytes of RVL are those that compressed_depth_image_transport's own encoder makes."""

import struct
from array import array

import cv2
import numpy as np
import pytest

pytest.importorskip("sensor_msgs", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

from depth_packing import INVERSE, packed, packed_values, rvl
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sensor_msgs.msg import CompressedImage

from sipmask_core.errors import InputError
from sipmask_ros.conversions.compressed_depth import read_compressed_depth, read_rvl

DEPTH = np.array([[0, 0, 1000, 1001], [999, 0, 0, 65535], [1, 5, 0, 0]], np.uint16)
UPSTREAM = bytes.fromhex("040000000300000023f38a23f38c8e2381f3ffbf00000020")
METRES = np.array([[np.nan, 0.5, 1.0], [2.0, 5.0, 9.9]], np.float32)


def test_rvl_is_read_as_its_authors_write_it():
    assert np.array_equal(read_rvl(memoryview(UPSTREAM)), DEPTH)
    assert rvl(DEPTH) == UPSTREAM


@given(
    arrays.arrays(
        np.uint16,
        st.tuples(st.integers(1, 9), st.integers(1, 9)),
        elements=st.sampled_from([0, 0, 1, 2, 7, 1000, 32767, 32768, 65535]),
    )
)
def test_whatever_is_packed_comes_back(depth):
    for algorithm in ("png", "rvl"):
        values, unit = read_compressed_depth(packed(depth, "16UC1", algorithm))
        assert np.array_equal(values, depth)
        assert (values.dtype, unit) == (np.uint16, 1e-3)


@pytest.mark.parametrize("algorithm", ["png", "rvl"])
def test_floats_come_back_as_near_as_their_inverse_is_packed(algorithm):
    values, unit = read_compressed_depth(packed(METRES, "32FC1", algorithm))
    assert (values.dtype, unit) == (np.float32, 1.0)
    assert np.isnan(values[0, 0])
    a, _ = INVERSE
    # One step of the inverse is d² / A metres.
    assert (np.abs(values - METRES)[METRES > 0] <= METRES[METRES > 0] ** 2 / a).all()
    assert values[0, 2] == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [
        ("16UC1; compressedDepth", "png"),
        ("16UC1", "png"),
        ("mono16; compressedDepth png", "png"),
        ("16UC1; compressedDepth rvl", "rvl"),
    ],
)
def test_every_way_in_which_publishers_write_the_format_is_read(name, algorithm):
    message = packed(DEPTH, "16UC1", algorithm)
    message.format = name
    assert np.array_equal(read_compressed_depth(message)[0], DEPTH)


@pytest.mark.parametrize("name", ["", "jpeg", "bgr8; jpeg compressed bgr8", "16UC1; zstd", "8UC1;"])
def test_another_format_is_named(name):
    message = packed(DEPTH, "16UC1", "png")
    message.format = name
    with pytest.raises(InputError, match=r"format is .*; it must be one of 16UC1, mono16"):
        read_compressed_depth(message)


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
@pytest.mark.parametrize("algorithm", ["png", "rvl"])
def test_whatever_is_cut_off_is_refused_with_one_sentence(encoding, algorithm):
    depth = METRES if encoding == "32FC1" else DEPTH
    message = packed(depth, encoding, algorithm)
    whole = bytes(message.data)
    # The last word of RVL may hold nothing but the filling of the one before.
    for length in range(len(whole) - 4):
        message.data = array("B", whole[:length])
        with pytest.raises(InputError) as refused:
            read_compressed_depth(message)
        assert str(refused.value).startswith("The compressed depth image")
        assert "\n" not in str(refused.value)


def png(image):
    return cv2.imencode(".png", image)[1].tobytes()


@pytest.mark.parametrize(
    ("content", "algorithm", "sentence"),
    [
        (png(np.zeros((2, 3), np.uint8)), "png", "its PNG has no single channel of 16 bits"),
        (png(np.zeros((2, 3, 3), np.uint16)), "png", "its PNG has no single channel of 16 bits"),
        (b"\xff\xd8\xff\xe0 no PNG", "png", "it holds no PNG"),
        (struct.pack("<II", 0, 5) + bytes(8), "rvl", "tell of 0 x 5 pixels, of which 1 to"),
        (struct.pack("<II", 2**31, 2**31) + bytes(8), "rvl", "tell of 2147483648 x 2147483648"),
        (struct.pack("<II", 4, 3) + bytes(64), "rvl", "its RVL data are damaged"),
        (struct.pack("<II", 4, 3) + b"\xff" * 64, "rvl", "its RVL data are"),
        (struct.pack("<II", 1, 1) + UPSTREAM[8:], "rvl", "its RVL data are damaged"),
    ],
)
def test_what_is_wrong_is_said(content, algorithm, sentence):
    with pytest.raises(InputError, match=sentence):
        read_compressed_depth(packed_values(content, "16UC1", algorithm))


@pytest.mark.parametrize("quantisation", [(0.0, 1.0), (-5.0, 1.0), (float("nan"), 1.0)])
def test_a_quantisation_that_makes_no_depths_is_refused(quantisation):
    message = packed_values(rvl(DEPTH), "32FC1", "rvl", quantisation)
    with pytest.raises(InputError, match="has the quantisation"):
        read_compressed_depth(message)


def test_nothing_at_all_is_refused():
    with pytest.raises(InputError, match="has 0 bytes; its header alone takes 12"):
        read_compressed_depth(CompressedImage(format="16UC1; compressedDepth png"))
