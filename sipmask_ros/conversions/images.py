"""Image messages and arrays of pixels."""

from __future__ import annotations

import sys
from array import array
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from sipmask_core.errors import InputError
from sipmask_core.image_header import declared_size

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from std_msgs.msg import Header

MOST_PIXELS = 1 << 27  # of a compressed image or run lengths: few bytes may stand for any number


class Encoding(NamedTuple):
    """How the pixels of a sensor_msgs/Image lie in memory, and what makes BGR of them.

    channels: values per pixel in a row. dtype: of one value. code: OpenCV's colour conversion,
    None if there is nothing to convert. multiple: (height, width) are multiples of these. rows: of
    the data, per row of the image.
    """

    channels: int
    dtype: type[np.uint8] | type[np.uint16] | type[np.float32] = np.uint8
    code: int | None = None
    multiple: tuple[int, int] = (1, 1)
    rows: float = 1.0


# OpenCV names a Bayer pattern after the second pixel of its second row, ROS after the first.
ENCODINGS = {
    "bgr8": Encoding(3),
    "rgb8": Encoding(3, code=cv2.COLOR_RGB2BGR),
    "mono8": Encoding(1, code=cv2.COLOR_GRAY2BGR),
    "bgra8": Encoding(4, code=cv2.COLOR_BGRA2BGR),
    "rgba8": Encoding(4, code=cv2.COLOR_RGBA2BGR),
    "mono16": Encoding(1, np.uint16, cv2.COLOR_GRAY2BGR),
    "16UC1": Encoding(1, np.uint16, cv2.COLOR_GRAY2BGR),
    "bayer_rggb8": Encoding(1, code=cv2.COLOR_BayerBG2BGR, multiple=(2, 2)),
    "bayer_bggr8": Encoding(1, code=cv2.COLOR_BayerRG2BGR, multiple=(2, 2)),
    "bayer_gbrg8": Encoding(1, code=cv2.COLOR_BayerGR2BGR, multiple=(2, 2)),
    "bayer_grbg8": Encoding(1, code=cv2.COLOR_BayerGB2BGR, multiple=(2, 2)),
    "uyvy": Encoding(2, code=cv2.COLOR_YUV2BGR_UYVY, multiple=(1, 2)),
    "yuv422": Encoding(2, code=cv2.COLOR_YUV2BGR_UYVY, multiple=(1, 2)),
    "yuyv": Encoding(2, code=cv2.COLOR_YUV2BGR_YUYV, multiple=(1, 2)),
    "yuv422_yuy2": Encoding(2, code=cv2.COLOR_YUV2BGR_YUYV, multiple=(1, 2)),
    "nv12": Encoding(1, code=cv2.COLOR_YUV2BGR_NV12, multiple=(2, 2), rows=1.5),
    "nv21": Encoding(1, code=cv2.COLOR_YUV2BGR_NV21, multiple=(2, 2), rows=1.5),
}


_WITHOUT_BRIDGE = ("bgr8", "rgb8", "mono8")


# cv_bridge does not take these for colour formats, or reads a wrong number of rows.
_BEYOND_BRIDGE = ("16UC1", "uyvy", "yuv422", "yuyv", "yuv422_yuy2", "nv12", "nv21")


def to_bgr(message: Image | CompressedImage) -> NDArray[np.uint8]:
    """Return the pixels of an image message, raw or compressed; see the functions for each."""
    if isinstance(message, CompressedImage):
        return compressed_to_bgr(message)
    return image_to_bgr(message)


def image_to_bgr(message: Image) -> NDArray[np.uint8]:
    """Return the pixels of a sensor_msgs/Image as (H, W, 3) uint8 BGR.

    bgr8 is a view of the message's data, without a copy; everything else is converted. Rows may
    be padded (`step`). 16-bit values are scaled from their full range. Encodings outside
    `ENCODINGS` work if cv_bridge is installed and knows them. Raise InputError for an image
    without pixels, data of the wrong length, and an unknown encoding.
    """
    name = message.encoding
    if message.height == 0 or message.width == 0:
        raise InputError(
            f"The image is {message.width} x {message.height} pixels; it must have at least one."
        )
    if name not in _WITHOUT_BRIDGE and name not in _BEYOND_BRIDGE:
        pixels = _through_cv_bridge(message)
        if pixels is not None:
            return pixels
    encoding = ENCODINGS.get(name)
    if encoding is None:
        raise InputError(
            f"The image's encoding is {name!r}; it must be one of {', '.join(ENCODINGS)}."
        )
    values: Any = pixel_values(message, encoding)
    if encoding.dtype is np.uint16:
        values = cv2.convertScaleAbs(values, alpha=255 / 65535)
    return values if encoding.code is None else cv2.cvtColor(values, encoding.code)


def pixel_values(message: Image, encoding: Encoding) -> NDArray[Any]:
    """Return the message's data as (rows, W) or (rows, W, channels), in native byte order.

    It is a view unless byte order or alignment takes a copy. Raise InputError if the message's
    sizes do not agree.
    """
    height, width, step = message.height, message.width, message.step
    for side, size, multiple in (
        ("height", height, encoding.multiple[0]),
        ("width", width, encoding.multiple[1]),
    ):
        if size % multiple:
            raise InputError(
                f"The image's {side} is {size}; with {message.encoding} it must be even."
            )
    dtype = np.dtype(encoding.dtype)
    row = width * encoding.channels * dtype.itemsize
    if step < row:
        raise InputError(
            f"The image's step is {step}; {width} pixels of {message.encoding} take {row} bytes."
        )
    rows = int(height * encoding.rows)
    # Some drivers leave out the padding of the last row.
    if not step * (rows - 1) + row <= len(message.data) <= step * rows:
        raise InputError(
            f"The image's data has {len(message.data)} bytes; {width} x {height} pixels of"
            f" {message.encoding} with step {step} take {step * rows}."
        )
    shape: tuple[int, ...] = (rows, width, encoding.channels)
    strides: tuple[int, ...] = (step, encoding.channels * dtype.itemsize, dtype.itemsize)
    if encoding.channels == 1:
        shape, strides = shape[:2], strides[:2]
    stored = dtype.newbyteorder(">" if message.is_bigendian else "<")
    view: NDArray[Any] = np.ndarray(shape, stored, buffer=message.data, strides=strides)
    # OpenCV takes padded rows as they are, but not values across an odd address.
    return view.astype(dtype, copy=not view.flags.aligned)


@cache
def _cv_bridge() -> Any:
    """Return cv_bridge; None if it is not installed or, built for another NumPy, does not load."""
    try:
        from cv_bridge import CvBridge
    except (ImportError, AttributeError):
        return None
    return CvBridge()


def _through_cv_bridge(message: Image) -> NDArray[np.uint8] | None:
    """Return the BGR pixels by cv_bridge; None if it is absent or cannot read this image.

    It misreads padded rows and big-endian values, so those are not given to it.
    """
    bridge = _cv_bridge()
    if bridge is None or message.is_bigendian:
        return None
    known = ENCODINGS.get(message.encoding)
    if known is not None:
        row = message.width * known.channels * np.dtype(known.dtype).itemsize
        if message.step != row or len(message.data) != row * message.height:
            return None
    try:
        pixels: NDArray[np.uint8] = bridge.imgmsg_to_cv2(message, "bgr8")
    except Exception:  # whatever it cannot do, our own way says precisely why
        return None
    return pixels


def compressed_to_bgr(message: CompressedImage) -> NDArray[np.uint8]:
    """Return the pixels of a sensor_msgs/CompressedImage (jpeg or png) as (H, W, 3) uint8 BGR.

    An orientation that the file may carry is ignored: pixels stay where the camera put them.
    Raise InputError for another format, more than MOST_PIXELS, and data that does not decode.
    """
    pixels: Any = None
    if (size := declared_size(message.data)) is not None:
        if size[0] * size[1] > MOST_PIXELS:
            raise InputError(
                f"The compressed image has {size[0]} x {size[1]} pixels; at most {MOST_PIXELS} are"
                " accepted."
            )
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        try:
            pixels = cv2.imdecode(np.frombuffer(message.data, np.uint8), flags)
        except cv2.error:
            pixels = None
    if pixels is None:
        raise InputError(
            f"The compressed image ({len(message.data)} bytes, format {message.format!r}) does not"
            " decode; it must be jpeg or png."
        )
    return pixels


def array_to_image(pixels: NDArray[Any], encoding: str, header: Header) -> Image:
    """Return an (H, W) or (H, W, C) array as a sensor_msgs/Image with this header.

    `encoding` must describe the array's type and channels; nothing is converted.
    """
    pixels = np.ascontiguousarray(pixels)
    message = Image(header=header, encoding=encoding)
    message.height, message.width = pixels.shape[:2]
    message.step = pixels.nbytes // pixels.shape[0]
    message.is_bigendian = int(sys.byteorder == "big")
    message.data = message_bytes(pixels)
    return message


def type_name(message_class: Any) -> str:
    """Return the full name of a message class, such as sensor_msgs/msg/Image."""
    package, kind, _ = message_class.__module__.split(".")
    return f"{package}/{kind}/{message_class.__name__}"


def message_bytes(values: NDArray[Any]) -> array[int]:
    """Return the bytes of a contiguous array as the type that rclpy's messages do not copy."""
    data = array("B")
    data.frombytes(values.reshape(-1).view(np.uint8).data)
    return data
