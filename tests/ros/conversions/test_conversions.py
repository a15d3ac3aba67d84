import io
import struct
import sys
from array import array
from dataclasses import replace

import cv2
import numpy as np
import PIL.Image
import pytest

pytest.importorskip("sensor_msgs", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header

from sipmask_core.errors import InputError
from sipmask_core.instances import Instances
from sipmask_core.mask_crop import MaskCrop
from sipmask_ros.conversions import images
from sipmask_ros.conversions.bit_depth import SENSOR_BITS, BitDepth
from sipmask_ros.conversions.encodings import ENCODINGS
from sipmask_ros.conversions.images import (
    array_to_image,
    array_to_jpeg,
    compressed_to_bgr,
    image_to_bgr,
    to_bgr,
)
from sipmask_ros.conversions.instances import instances_to_message, message_to_instances

HEIGHT, WIDTH = 12, 16
HEADER = Header(stamp=Time(sec=12, nanosec=34), frame_id="camera_optical")


@pytest.fixture(autouse=True)
def own_way(monkeypatch):
    """Make tests look at our own conversions, not at those of a cv_bridge that is installed."""
    monkeypatch.setattr(images, "installed_cv_bridge", lambda: None)


def message(rows, encoding, padding=0, width=None, height=None, is_bigendian=0):
    """Return an Image whose rows are those of a (rows, bytes) array, each followed by padding."""
    rows = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xAB)
    return Image(
        height=height or HEIGHT,
        width=width or WIDTH,
        encoding=encoding,
        step=padded.shape[1],
        is_bigendian=is_bigendian,
        data=array("B", padded.tobytes()),
    )


def noise(channels, dtype=np.uint8):
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (HEIGHT, WIDTH, channels))
    return values.astype(dtype)


def halves(left, right):
    """Return a BGR picture of two plain colours, split where chroma samples end."""
    picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    picture[:, : WIDTH // 2], picture[:, WIDTH // 2 :] = left, right
    return picture


def to_yuv(bgr):
    """Convert to ITU-R BT.601, limited range: (H, W, 3) uint8."""
    blue, green, red = np.moveaxis(bgr.astype(float), -1, 0)
    y = 16 + 0.257 * red + 0.504 * green + 0.098 * blue
    u = 128 - 0.148 * red - 0.291 * green + 0.439 * blue
    v = 128 + 0.439 * red - 0.368 * green - 0.071 * blue
    return np.rint(np.stack([y, u, v], -1)).astype(np.uint8)


def packed_422(bgr, order):
    """Return rows of 4:2:2 pixel pairs; `order` names the four bytes of a pair, such as "uyvy"."""
    y, u, v = np.moveaxis(to_yuv(bgr), -1, 0)
    luma = iter([y[:, 0::2], y[:, 1::2]])
    chroma = {"u": u[:, 0::2], "v": v[:, 0::2]}
    return np.stack([next(luma) if c == "y" else chroma[c] for c in order], -1).reshape(HEIGHT, -1)


def semi_planar(bgr, order):
    """Return rows of 4:2:0 luma, then of interleaved chroma; `order` is "uv" or "vu"."""
    y, u, v = np.moveaxis(to_yuv(bgr), -1, 0)
    chroma = {"u": u[::2, ::2], "v": v[::2, ::2]}
    interleaved = np.stack([chroma[c] for c in order], -1).reshape(HEIGHT // 2, WIDTH)
    return np.concatenate([y, interleaved])


def full_chroma(bgr, padding=0):
    """Return the bytes of luma and each pixel's chroma, with twice the padding (V4L2, NV24)."""
    y, u, v = np.moveaxis(to_yuv(bgr), -1, 0)
    chroma = np.stack([u, v], -1).reshape(HEIGHT, -1)
    luma = np.pad(y, ((0, 0), (0, padding)), constant_values=0xAB)
    return luma.tobytes() + np.pad(chroma, ((0, 0), (0, padding * 2))).tobytes()


def planes(bgr, padding=0):
    """Return the bytes of 4:2:0 planes, the rows of chroma with half the padding (V4L2, YUV420)."""
    y, u, v = np.moveaxis(to_yuv(bgr), -1, 0)
    chroma = np.concatenate([u[::2, ::2], v[::2, ::2]])
    luma = np.pad(y, ((0, 0), (0, padding)), constant_values=0xAB)
    return luma.tobytes() + np.pad(chroma, ((0, 0), (0, padding // 2))).tobytes()


def mosaic(bgr, pattern):
    """Return what a Bayer sensor sees; `pattern` names the colours of its first 2 x 2 pixels."""
    channel = {"b": 0, "g": 1, "r": 2}
    seen = np.empty((HEIGHT, WIDTH), bgr.dtype)
    for index, colour in enumerate(pattern):
        y, x = divmod(index, 2)
        seen[y::2, x::2] = bgr[y::2, x::2, channel[colour]]
    return seen


BGR = noise(3)
GREY = noise(1)[..., 0]
DEEP = noise(1, np.uint16)[..., 0]
GREY_BGR = np.repeat(GREY[..., None], 3, -1)
DEEP_BGR = np.repeat(np.rint(DEEP / 257).astype(np.uint8)[..., None], 3, -1)
ALPHA = noise(4)
WIDE = noise(4, np.uint16)
WIDE_BGR = np.rint(WIDE[..., :3] / 257).astype(np.uint8)
PLAIN = halves((40, 90, 200), (190, 120, 30))

# encoding: the rows of the data, the pixels they stand for, and how far off rounding may lead.
CASES = {
    "bgr8": (BGR, BGR, 0),
    "rgb8": (BGR[..., ::-1], BGR, 0),
    "mono8": (GREY, GREY_BGR, 0),
    "bgra8": (ALPHA, ALPHA[..., :3], 0),
    "rgba8": (ALPHA, ALPHA[..., 2::-1], 0),
    "mono16": (DEEP.astype("<u2"), DEEP_BGR, 0),
    "16UC1": (DEEP.astype("<u2"), DEEP_BGR, 0),
    "bgr16": (WIDE[..., :3].astype("<u2"), WIDE_BGR, 0),
    "rgb16": (WIDE[..., 2::-1].astype("<u2"), WIDE_BGR, 0),
    "bgra16": (WIDE.astype("<u2"), WIDE_BGR, 0),
    "rgba16": (WIDE[..., [2, 1, 0, 3]].astype("<u2"), WIDE_BGR, 0),
    "8UC1": (GREY, GREY_BGR, 0),
    "8UC3": (BGR, BGR, 0),
    "8UC4": (ALPHA, ALPHA[..., :3], 0),
    "16UC3": (WIDE[..., :3].astype("<u2"), WIDE_BGR, 0),
    "16UC4": (WIDE.astype("<u2"), WIDE_BGR, 0),
    "uyvy": (packed_422(PLAIN, "uyvy"), PLAIN, 3),
    "yuv422": (packed_422(PLAIN, "uyvy"), PLAIN, 3),
    "yuyv": (packed_422(PLAIN, "yuyv"), PLAIN, 3),
    "yuv422_yuy2": (packed_422(PLAIN, "yuyv"), PLAIN, 3),
    "nv12": (semi_planar(PLAIN, "uv"), PLAIN, 3),
    "nv21": (semi_planar(PLAIN, "vu"), PLAIN, 3),
}


def assert_pixels(actual, expected, tolerance):
    assert actual.dtype == np.uint8 and actual.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(actual.astype(int) - expected).max() <= tolerance


def test_every_encoding_has_a_case():
    bayer = {name for name in ENCODINGS if name.startswith("bayer_")}
    assert set(ENCODINGS) == set(CASES) | bayer | {"i420", "yuv420", "nv24"}
    assert len(bayer) == 8


@pytest.mark.parametrize("encoding", CASES)
@pytest.mark.parametrize("padding", [0, 6, 7])
def test_an_image_becomes_its_bgr_pixels_with_and_without_padded_rows(encoding, padding):
    rows, expected, tolerance = CASES[encoding]
    assert_pixels(image_to_bgr(message(rows, encoding, padding)), expected, tolerance)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("padding", [0, 5])
def test_a_bayer_mosaic_gets_its_colours_back(pattern, padding):
    plain = halves((200, 100, 50), (200, 100, 50))
    sent = message(mosaic(plain, pattern), f"bayer_{pattern}8", padding)
    assert_pixels(image_to_bgr(sent), plain, 0)
    deep = mosaic(plain.astype("<u2") * 257, pattern)
    assert_pixels(image_to_bgr(message(deep, f"bayer_{pattern}16", padding)), plain, 0)


@pytest.mark.parametrize("encoding", ["i420", "yuv420"])
@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("is_cut", [False, True])
def test_planes_are_read_with_half_the_padding_after_a_row_of_chroma(encoding, padding, is_cut):
    data = array("B", planes(PLAIN, padding))
    sent = Image(
        height=HEIGHT,
        width=WIDTH,
        encoding=encoding,
        step=WIDTH + padding,
        data=data[: len(data) - (padding // 2 if is_cut else 0)],
    )
    assert_pixels(image_to_bgr(sent), PLAIN, 3)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("is_cut", [False, True])
def test_chroma_of_every_pixel_is_read_with_twice_the_padding_after_its_rows(padding, is_cut):
    picture = halves((40, 90, 200), (190, 120, 30))
    picture[:, 3] = (60, 160, 90)  # a column of its own colour
    data = array("B", full_chroma(picture, padding))
    sent = Image(
        height=HEIGHT,
        width=WIDTH,
        encoding="nv24",
        step=WIDTH + padding,
        data=data[: len(data) - (2 * padding if is_cut else 0)],
    )
    assert_pixels(image_to_bgr(sent), picture, 3)


@pytest.mark.parametrize("encoding", [*CASES, "bayer_rggb8", "bayer_rggb16"])
def test_a_step_of_0_means_rows_without_padding(encoding):
    rows = np.full((HEIGHT, WIDTH), 7, "<u2" if "16" in encoding else np.uint8)
    sent = message(CASES[encoding][0] if encoding in CASES else rows, encoding)
    wanted = image_to_bgr(sent)
    sent.step = 0
    assert np.array_equal(image_to_bgr(sent), wanted)


@pytest.mark.parametrize("step", [WIDTH, WIDTH * 3 // 2, WIDTH * 2])
@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("nv12", semi_planar(PLAIN, "uv").tobytes()),
        ("i420", planes(PLAIN)),
        ("nv24", full_chroma(PLAIN)),
    ],
)
def test_rows_of_chroma_have_no_padding_if_the_data_have_no_room_for_it(encoding, data, step):
    sent = Image(height=HEIGHT, width=WIDTH, encoding=encoding, step=step, data=array("B", data))
    assert_pixels(image_to_bgr(sent), PLAIN, 3)


@pytest.mark.parametrize(
    ("encoding", "known"),
    [
        ("YUV420", "yuv420"),
        ("BGR8", "bgr8"),
        ("Mono8", "mono8"),
        ("16uc1", "16UC1"),
        ("mono8 ", "mono8"),
        ("8UC", "8UC1"),
        ("Y16", "mono16"),
        ("GREY", "mono8"),
        ("rgb24", "rgb8"),
        ("yuyv422", "yuyv"),
        ("UYVY422", "uyvy"),
    ],
)
def test_an_encoding_is_known_in_capitals_and_by_other_names(encoding, known):
    rows = noise(ENCODINGS[known].channels, ENCODINGS[known].dtype)
    rows = np.concatenate([rows, rows])[: int(HEIGHT * ENCODINGS[known].rows)]
    wanted = image_to_bgr(message(rows, known))
    assert np.array_equal(image_to_bgr(message(rows, encoding)), wanted)


@pytest.mark.parametrize(
    ("encoding", "what"),
    [
        ("32FC1", "Depth belongs to depth_topics"),
        ("mjpeg", "CompressedImage, which the node reads with transport: compressed"),
        ("rgb8; jpeg compressed bgr8", "CompressedImage"),
        ("h264", "That is a video"),
        ("8UC2", "it must be one of bgr8"),
    ],
)
def test_what_is_no_image_of_pixels_is_refused_with_what_to_do(encoding, what):
    with pytest.raises(InputError, match=what):
        image_to_bgr(message(noise(4), encoding))


@pytest.mark.parametrize("encoding", ["mono16", "16UC1", "rgb16", "bayer_rggb16"])
@pytest.mark.parametrize("bits", SENSOR_BITS)
def test_16_bits_are_scaled_from_those_that_the_sensor_has(encoding, bits):
    white = (1 << bits) - 1
    rows = np.full((HEIGHT, WIDTH, ENCODINGS[encoding].channels), white // 2 + 1, "<u2")
    assert_pixels(image_to_bgr(message(rows, encoding)), np.full((*rows.shape[:2], 3), 128), 1)
    assert image_to_bgr(message(rows, encoding), lambda values: 16).max() == 128 >> 16 - bits
    assert_pixels(image_to_bgr(message(rows, encoding), lambda values: bits - 1), 255, 0)


@pytest.mark.parametrize("encoding", ["rgba16", "bgra16", "16UC4"])
def test_opacity_says_nothing_of_the_bits_that_the_sensor_has(encoding):
    rows = np.full((HEIGHT, WIDTH, 4), 1023, "<u2")
    rows[..., 3] = 65535
    assert_pixels(image_to_bgr(message(rows, encoding)), 255, 0)


@pytest.mark.parametrize("size", [(3, 3), (7, 9), (4, 5)])
@pytest.mark.parametrize("pattern", ["rggb", "gbrg"])
def test_a_mosaic_may_have_an_odd_size(size, pattern):
    height, width = size
    plain = halves((200, 100, 50), (200, 100, 50))
    rows = mosaic(plain, pattern)[:height, :width]
    sent = message(rows, f"bayer_{pattern}8", height=height, width=width)
    assert np.array_equal(image_to_bgr(sent), plain[:height, :width])


@pytest.mark.parametrize("bits", SENSOR_BITS)
def test_a_png_of_16_bits_is_scaled_like_a_raw_image(bits):
    values = (DEEP >> 16 - bits).astype(np.uint16)
    data = array("B", cv2.imencode(".png", values)[1].tobytes())
    sent = CompressedImage(format="mono16; png compressed", data=data)
    raw = message(values.astype("<u2"), "mono16")
    assert np.array_equal(to_bgr(sent), to_bgr(raw))
    assert np.array_equal(to_bgr(sent, lambda values: 16), to_bgr(raw, lambda values: 16))


def test_a_camera_s_bits_are_the_most_that_its_images_have_used():
    told = []
    depth = BitDepth(tell=told.append)
    seen = [depth(np.array([[value]], np.uint16)) for value in (0, 1023, 4095, 60, 65535, 1)]
    assert seen == [10, 10, 12, 12, 16, 16]
    assert told == [10, 12, 16]
    depth.given = 14
    assert depth(np.array([[65535]], np.uint16)) == 14 and told == [10, 12, 16]


@pytest.mark.parametrize("encoding", ["mono16", "16UC1"])
def test_big_endian_values_are_swapped(encoding):
    sent = message(DEEP.astype(">u2"), encoding, padding=4, is_bigendian=1)
    assert_pixels(image_to_bgr(sent), DEEP_BGR, 0)


@pytest.mark.parametrize("encoding", CASES)
def test_the_last_row_may_come_without_its_padding(encoding):
    rows, expected, tolerance = CASES[encoding]
    sent = message(rows, encoding, padding=8)
    sent.data = sent.data[:-8]
    assert_pixels(image_to_bgr(sent), expected, tolerance)


def test_only_an_encoding_that_is_not_ours_is_left_to_cv_bridge(monkeypatch):
    asked = []

    class Bridge:
        def imgmsg_to_cv2(self, sent, encoding):
            asked.append(sent.encoding)
            if sent.encoding == "bgr9":
                raise KeyError
            return BGR

    monkeypatch.setattr(images, "installed_cv_bridge", Bridge)
    for name, (rows, expected, tolerance) in CASES.items():
        assert_pixels(image_to_bgr(message(rows, name)), expected, tolerance)
    assert asked == []
    assert np.array_equal(image_to_bgr(message(BGR, "yuv444")), BGR)
    with pytest.raises(InputError, match="'bgr9'; it must be one of bgr8"):
        image_to_bgr(message(BGR, "bgr9"))
    with pytest.raises(InputError, match="'yuv444'"):
        image_to_bgr(message(BGR, "yuv444", is_bigendian=1))


def test_bgr8_is_a_view_of_the_message_even_with_padded_rows():
    sent = message(BGR, "bgr8", padding=5)
    assert np.shares_memory(image_to_bgr(sent), np.frombuffer(sent.data, np.uint8))


def damaged(**changes):
    sent = message(BGR, changes.get("encoding", "bgr8"))
    for name, value in changes.items():
        setattr(sent, name, value)
    return sent


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        (damaged(data=array("B", bytes(575))), "575 bytes"),
        (damaged(data=array("B", bytes(577))), "577 bytes"),
        (damaged(data=array("B")), "0 bytes"),
        (damaged(height=0), "16 x 0"),
        (damaged(width=0), "0 x 12"),
        (damaged(step=47), "step is 47"),
        (damaged(width=2**32 - 1), "step is 48"),
        (damaged(height=2**32 - 1), "576 bytes"),
        (damaged(encoding="bgr9"), "'bgr9'"),
        (damaged(encoding=""), "''"),
        (damaged(encoding="nv12", height=11), "height is 11"),
        (damaged(encoding="yuyv", width=15), "width is 15"),
        (damaged(encoding="bayer_rggb8", height=2), "at least 3 x 3"),
        (damaged(encoding="i420", step=33, data=array("B", bytes(33 * 18))), "an even step"),
        (damaged(encoding="i420", step=32, data=array("B", bytes(32 * 18 - 9))), "567 bytes"),
    ],
)
def test_a_broken_image_is_refused_in_one_sentence_that_names_the_value(sent, named):
    with pytest.raises(InputError) as refused:
        image_to_bgr(sent)
    assert named in str(refused.value)
    assert "\n" not in str(refused.value)


def test_png_keeps_every_pixel_and_jpeg_nearly():
    ramp = np.arange(64, dtype=np.uint8)
    smooth = np.stack(np.broadcast_arrays(ramp[:48, None], ramp + 64, 200 - ramp), -1)
    for suffix, tolerance in ((".png", 0), (".jpg", 6)):
        data = array("B", cv2.imencode(suffix, smooth)[1].tobytes())
        pixels = compressed_to_bgr(CompressedImage(format=suffix[1:], data=data))
        assert np.abs(pixels.astype(int) - smooth).max() <= tolerance


FLOATS = cv2.imencode(".tiff", BGR.astype(np.float32))[1].tobytes()
JPEG, PNG, WEBP = (cv2.imencode(suffix, BGR)[1].tobytes() for suffix in (".jpg", ".png", ".webp"))


@pytest.mark.parametrize(
    ("data", "name", "what"),
    [
        (b"", "jpeg", "0 bytes, format 'jpeg'.* is no jpeg, png or tiff"),
        (b"not an image", "", "is no jpeg, png or tiff"),
        (WEBP, "webp", "is no jpeg, png or tiff"),
        (b"\0\0\0\1\x67", "h264", "That is a video"),
        (bytes(12) + PNG, "16UC1; compressedDepth png", "Depth belongs to depth_topics"),
        (JPEG[:-1], "jpeg", "is cut off or damaged"),
        (JPEG[:-40] + bytes(99), "jpeg", "is cut off or damaged"),
        (PNG[:-1], "png", "is cut off or damaged"),
        (PNG[:60] + b"?" + PNG[61:], "png", "is damaged"),
        (PNG[:29] + b"????" + PNG[33:], "png", "is damaged"),  # a wrong check sum
        (FLOATS, "tiff", "is damaged|of float32"),
    ],
)
def test_compressed_data_that_are_no_whole_image_are_refused(data, name, what):
    with pytest.raises(InputError, match=what):
        compressed_to_bgr(CompressedImage(format=name, data=array("B", data)))


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize(
    "name",
    ["", "PNG", "rgb8; png compressed bgr8", "rgb8; png compressed rgb8", "8UC3; tiff compressed"],
)
def test_the_data_alone_say_the_format_and_the_order_of_colours(suffix, name):
    data = array("B", cv2.imencode(suffix, BGR)[1].tobytes())
    assert np.array_equal(compressed_to_bgr(CompressedImage(format=name, data=data)), BGR)


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA", "LA", "1"])
def test_a_compressed_image_of_any_colour_model_becomes_its_colours(mode):
    content = io.BytesIO()
    picture = PIL.Image.fromarray(PLAIN[..., ::-1]).convert(mode)
    picture.save(content, "JPEG" if mode == "CMYK" else "PNG")
    with PIL.Image.open(content) as stored:
        wanted = np.asarray(stored.convert("RGB"))[..., ::-1]
    sent = CompressedImage(data=array("B", content.getvalue()))
    assert_pixels(compressed_to_bgr(sent), wanted, 2)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_few_bytes_that_claim_a_gigapixel_are_refused_before_memory_is_taken(suffix, monkeypatch):
    data = bytearray(cv2.imencode(suffix, np.zeros((8, 8, 3), np.uint8))[1])
    if suffix == ".png":
        data[16:24] = struct.pack(">II", 32_000, 32_001)
    else:
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", 32_001, 32_000)
    monkeypatch.setattr(cv2, "imdecode", pytest.fail)
    with pytest.raises(InputError, match="has 32000 x 32001 pixels; at most 134217728"):
        compressed_to_bgr(CompressedImage(format=suffix[1:], data=array("B", data)))


def test_a_jpeg_is_what_image_transport_makes_and_better_at_a_higher_quality():
    smooth = cv2.resize(np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8), (64, 48))

    def error(quality):
        sent = array_to_jpeg(smooth, quality, HEADER)
        assert (sent.header, sent.format) == (HEADER, "bgr8; jpeg compressed bgr8")
        return np.abs(compressed_to_bgr(sent).astype(int) - smooth).mean()

    assert error(95) < error(60) < error(5)


def test_an_array_becomes_an_image_that_reads_back():
    sent = array_to_image(BGR[:, ::-1], "bgr8", HEADER)
    assert (sent.height, sent.width, sent.step) == (HEIGHT, WIDTH, WIDTH * 3)
    assert sent.header == HEADER
    assert np.array_equal(image_to_bgr(sent), BGR[:, ::-1])
    deep = array_to_image(DEEP, "mono16", HEADER)
    assert deep.step == WIDTH * 2
    assert deep.is_bigendian == (sys.byteorder == "big")


def some_instances():
    """Return a ring with a hole, a bar across it, one that touches the edge and an empty mask."""
    ring = np.ones((6, 6), bool)
    ring[2:4, 2:4] = False
    bar = np.ones((2, 9), bool)
    corner = np.eye(4, dtype=bool)
    return Instances(
        boxes=np.array([[2.25, 1, 8, 7], [1, 3, 10, 5], [12, 8, 16, 12], [0, 0, 1, 1]], np.float32),
        scores=np.array([0.9, 0.8, 0.7, 0.6], np.float32),
        labels=np.array([0, 1, 0, 1]),
        mask_crops=[
            MaskCrop(2, 1, ring),
            MaskCrop(1, 3, bar),
            MaskCrop(12, 8, corner),
            MaskCrop(0, 0, np.zeros((0, 0), bool)),
        ],
        image_size=(HEIGHT, WIDTH),
    )


@pytest.mark.parametrize("encoding", ["mono8", "rle"])
def test_masks_with_holes_and_overlaps_survive_the_message(encoding):
    instances = some_instances()
    sent = instances_to_message(instances, HEADER, ("person", "dog"), "tiny", encoding)
    assert sent.header == HEADER
    assert (sent.height, sent.width, sent.model) == (HEIGHT, WIDTH, "tiny")
    assert [i.class_name for i in sent.instances] == ["person", "dog", "person", "dog"]
    assert all(i.track_id == -1 and i.track_state == i.TRACK_NONE for i in sent.instances)

    received = message_to_instances(sent)
    assert np.array_equal(received.masks, instances.masks)
    assert np.array_equal(received.boxes, instances.boxes)
    assert np.array_equal(received.scores, instances.scores)
    assert np.array_equal(received.labels, instances.labels)
    assert received.image_size == instances.image_size


def test_a_mono8_mask_holds_0_and_255_for_each_pixel_of_its_rectangle():
    ring = instances_to_message(some_instances(), HEADER, ("person", "dog"), "tiny").instances[0]
    assert (ring.roi.x_offset, ring.roi.y_offset) == (2, 1)
    assert len(ring.mask) == ring.roi.height * ring.roi.width == 36
    assert set(ring.mask) == {0, 255}


def test_ids_states_and_ages_of_tracks_survive_the_message():
    tracked = replace(
        some_instances(),
        track_ids=np.array([7, -1, 2**40, 0]),
        track_states=np.array([2, 0, 1, 3], np.uint8),
        track_ages=np.array([100_000, 0, 1, 5]),
    )
    sent = instances_to_message(tracked, HEADER, ("person", "dog"), "tiny")
    first = sent.instances[0]
    assert (first.track_id, first.track_state, first.track_age) == (
        7,
        first.TRACK_CONFIRMED,
        100000,
    )
    received = message_to_instances(sent)
    for name in ("track_ids", "track_states", "track_ages"):
        assert np.array_equal(getattr(received, name), getattr(tracked, name)), name
        assert getattr(received, name).dtype == getattr(tracked, name).dtype


@pytest.mark.parametrize("encoding", ["mono8", "rle"])
def test_no_instance_makes_an_empty_array_of_the_same_image(encoding):
    empty = Instances.empty((HEIGHT, WIDTH))
    sent = instances_to_message(empty, HEADER, ("person",), "tiny", encoding)
    assert list(sent.instances) == []
    assert (sent.height, sent.width) == (HEIGHT, WIDTH)
    assert len(message_to_instances(sent)) == 0


def test_an_unknown_mask_encoding_is_refused_both_ways():
    with pytest.raises(InputError, match="'png'"):
        instances_to_message(some_instances(), HEADER, ("person", "dog"), "tiny", "png")
    sent = instances_to_message(some_instances(), HEADER, ("person", "dog"), "tiny")
    sent.mask_encoding = "png"
    with pytest.raises(InputError, match="'png'"):
        message_to_instances(sent)


@pytest.mark.parametrize(
    ("encoding", "damage", "named"),
    [
        ("mono8", lambda i: setattr(i, "mask", array("B", bytes(35))), "35 bytes"),
        ("mono8", lambda i: setattr(i.roi, "x_offset", 11), "beyond the image"),
        ("rle", lambda i: setattr(i, "mask", array("B", b"\x00\x01")), "run-length"),
        ("rle", lambda i: setattr(i, "mask", array("B", b"0")), "runs that sum to 0"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused_and_named(encoding, damage, named):
    sent = instances_to_message(some_instances(), HEADER, ("person", "dog"), "tiny", encoding)
    damage(sent.instances[0])
    with pytest.raises(InputError) as refused:
        message_to_instances(sent)
    assert named in str(refused.value)
    assert "instances[0]" in str(refused.value)


def test_run_lengths_of_an_image_beyond_any_camera_are_refused_before_memory_is_taken():
    sent = instances_to_message(some_instances(), HEADER, ("person", "dog"), "tiny", "rle")
    sent.height, sent.width = 2**17, 2**16
    with pytest.raises(InputError, match=r"65536 x 131072 pixels; .* at most"):
        message_to_instances(sent)


def test_run_lengths_of_too_many_large_masks_are_refused_before_memory_is_taken():
    sent = instances_to_message(some_instances(), HEADER, ("person", "dog"), "tiny", "rle")
    sent.height, sent.width = 2**13, 2**14
    sent.instances[0].roi = RegionOfInterest(height=sent.height, width=sent.width)
    sent.instances = sent.instances[:1] * 9
    with pytest.raises(InputError, match=r"9 masks have 1207959552 pixels; .* at most"):
        message_to_instances(sent)
