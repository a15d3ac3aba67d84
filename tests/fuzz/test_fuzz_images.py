"""Whatever a camera sends: pixels, or a refusal of one sentence."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from fuzzing import damaged, fuzz, may_refuse
from hypothesis import strategies as st

pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

from sensor_msgs.msg import CompressedImage, Image

from sipmask_ros.conversions.images import ENCODINGS, compressed_to_bgr, image_to_bgr

ODD = ["", "8UC3", "32FC1", "jpeg", "bgr8 ", "BGR8", "\0", "é" * 50]
sizes = st.one_of(st.integers(0, 40), st.sampled_from([2**16, 2**31 - 1, 2**31, 2**32 - 1]))


@st.composite
def raw_images(draw):
    """Draw images that are mostly near what is right: a step and a length that fit, or nearly."""
    encoding = draw(st.sampled_from([*ENCODINGS, *ODD]))
    height, width = draw(sizes), draw(sizes)
    known = ENCODINGS.get(encoding, ENCODINGS["bgr8"])
    row = width * known.channels * np.dtype(known.dtype).itemsize
    step = draw(st.one_of(st.integers(row - 2, row + 9), sizes)) % 2**32
    right = int(height * known.rows) * step
    length = draw(st.one_of(st.just(right), st.integers(right - 8, right + 8), st.integers(0, 99)))
    seed = draw(st.integers(0, 9))
    data = np.random.default_rng(seed).bytes(min(max(length, 0), 1 << 20))
    return Image(
        height=height,
        width=width,
        encoding=encoding,
        step=step,
        is_bigendian=draw(st.sampled_from([0, 1, 255])),
        data=data,
    )


@fuzz(share=3, message=raw_images())
def test_a_raw_image_gives_its_pixels_or_a_refusal(message):
    with may_refuse() as refusals:
        pixels = image_to_bgr(message)
    if not refusals:
        assert pixels.shape == (message.height, message.width, 3)
        assert pixels.dtype == np.uint8
        pixels.sum()  # every byte can be read


def encoded(suffix):
    picture = np.random.default_rng(0).integers(0, 256, (24, 31, 3), np.uint8)
    return cv2.imencode(suffix, picture)[1].tobytes()


def png(width, height, content=b""):
    """Return a PNG whose header says anything."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(content)), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


WHOLE = [encoded(suffix) for suffix in (".jpg", ".png", ".bmp", ".webp", ".tiff")]


headers = st.builds(
    png,
    st.sampled_from([0, 1, 7, 65_535, 60_000, 2**31 - 1, 2**32 - 1]),
    st.sampled_from([0, 1, 7, 65_535, 60_000, 2**31 - 1, 2**32 - 1]),
    st.binary(max_size=99),
)


@fuzz(
    share=3,
    data=st.one_of(damaged(WHOLE), headers, st.binary(max_size=99)),
    name=st.sampled_from(["jpeg", "png", "", "bgr8; jpeg compressed bgr8", "\n"]),
)
def test_a_compressed_image_gives_its_pixels_or_a_refusal(data, name):
    with may_refuse() as refusals:
        pixels = compressed_to_bgr(CompressedImage(format=name, data=data))
    if not refusals:
        assert pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size
        assert pixels.dtype == np.uint8
