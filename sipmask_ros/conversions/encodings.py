"""How the pixels of image messages lie in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sensor_msgs.msg import Image


class Encoding(NamedTuple):
    """How the pixels of a sensor_msgs/Image lie in memory, and what makes BGR of them.

    channels: values per pixel in a row. dtype: of one value. code: OpenCV's colour conversion,
    None if there is none. multiple: (height, width) are multiples of these. smallest: height and
    width that can be converted. rows: of the data, per row of the image. chroma: how long the rows
    behind those of the image are, and the padding after each, for each byte of an image's row (as
    V4L2 lays out YUV420 and NV24).
    """

    channels: int
    dtype: type[np.uint8] | type[np.uint16] | type[np.float32] = np.uint8
    code: int | None = None
    multiple: tuple[int, int] = (1, 1)
    smallest: int = 1
    rows: float = 1.0
    chroma: float = 1.0


# OpenCV names a Bayer pattern after the second pixel of its second row, ROS after the first.
_BAYER = {
    "rggb": cv2.COLOR_BayerBG2BGR,
    "bggr": cv2.COLOR_BayerRG2BGR,
    "gbrg": cv2.COLOR_BayerGR2BGR,
    "grbg": cv2.COLOR_BayerGB2BGR,
}
_UYVY = Encoding(2, code=cv2.COLOR_YUV2BGR_UYVY, multiple=(1, 2))
_YUYV = Encoding(2, code=cv2.COLOR_YUV2BGR_YUYV, multiple=(1, 2))
_I420 = Encoding(1, code=cv2.COLOR_YUV2BGR_I420, multiple=(2, 2), rows=1.5, chroma=0.5)
NV24 = Encoding(1, rows=3.0, chroma=2.0)
ENCODINGS = {
    "bgr8": Encoding(3),
    "rgb8": Encoding(3, code=cv2.COLOR_RGB2BGR),
    "mono8": Encoding(1, code=cv2.COLOR_GRAY2BGR),
    "bgra8": Encoding(4, code=cv2.COLOR_BGRA2BGR),
    "rgba8": Encoding(4, code=cv2.COLOR_RGBA2BGR),
    "bgr16": Encoding(3, np.uint16),
    "rgb16": Encoding(3, np.uint16, cv2.COLOR_RGB2BGR),
    "mono16": Encoding(1, np.uint16, cv2.COLOR_GRAY2BGR),
    "bgra16": Encoding(4, np.uint16, cv2.COLOR_BGRA2BGR),
    "rgba16": Encoding(4, np.uint16, cv2.COLOR_RGBA2BGR),
    # Their names do not say which colours they hold; OpenCV's own order is BGR.
    "8UC1": Encoding(1, code=cv2.COLOR_GRAY2BGR),
    "8UC3": Encoding(3),
    "8UC4": Encoding(4, code=cv2.COLOR_BGRA2BGR),
    "16UC1": Encoding(1, np.uint16, cv2.COLOR_GRAY2BGR),
    "16UC3": Encoding(3, np.uint16),
    "16UC4": Encoding(4, np.uint16, cv2.COLOR_BGRA2BGR),
    **{f"bayer_{p}8": Encoding(1, np.uint8, code, smallest=3) for p, code in _BAYER.items()},
    **{f"bayer_{p}16": Encoding(1, np.uint16, code, smallest=3) for p, code in _BAYER.items()},
    "uyvy": _UYVY,
    "yuv422": _UYVY,
    "yuyv": _YUYV,
    "yuv422_yuy2": _YUYV,
    "nv12": Encoding(1, code=cv2.COLOR_YUV2BGR_NV12, multiple=(2, 2), rows=1.5),
    "nv21": Encoding(1, code=cv2.COLOR_YUV2BGR_NV21, multiple=(2, 2), rows=1.5),
    "nv24": NV24,
    "i420": _I420,
    "yuv420": _I420,
}
# What FFmpeg, V4L2 and cv_bridge call some of them.
_OTHER_NAMES = {
    "8uc": "8UC1",
    "16uc": "16UC1",
    "gray": "mono8",
    "grey": "mono8",
    "y8": "mono8",
    "y16": "mono16",
    "bgr24": "bgr8",
    "rgb24": "rgb8",
    "yuy2": "yuyv",
    "yuyv422": "yuyv",
    "uyvy422": "uyvy",
    "yuv420p": "i420",
}
_BY_NAME = {name.lower(): encoding for name, encoding in ENCODINGS.items()} | {
    name: ENCODINGS[known] for name, known in _OTHER_NAMES.items()
}
# From the Y, U and V of ITU-R BT.601, limited range, to B, G and R.
_BT_601 = np.array(
    [[1.164, 2.017, 0, -276.8], [1.164, -0.392, -0.813, 135.6], [1.164, 0, 1.596, -222.9]]
)


def find_encoding(name: str) -> Encoding | None:
    """Return the encoding of this name, in capitals or not; None if it is none of `ENCODINGS`."""
    return ENCODINGS.get(name) or _BY_NAME.get(name.strip().lower())


def pixel_values(message: Image, encoding: Encoding) -> NDArray[Any]:
    """Return the message's data as (rows, W) or (rows, W, channels), in native byte order.

    It is a view unless byte order or alignment takes a copy, or if rows of chroma have a padding of
    their own. A step of 0, which some drivers leave, means rows without padding. Raise InputError
    if the message's sizes do not agree.
    """
    height, width, length = message.height, message.width, len(message.data)
    _check_size(message, encoding)
    dtype = np.dtype(encoding.dtype)
    row = width * encoding.channels * dtype.itemsize
    rows = int(height * encoding.rows)
    # What step means with rows of chroma is told apart by drivers; the length says it.
    is_tight = encoding.rows > 1 and length == row * rows
    step = row if is_tight else message.step or row
    if step < row:
        raise InputError(
            f"The image's step is {step}; {width} pixels of {message.encoding} take {row} bytes."
        )
    if encoding.chroma < 1 and step % 2:
        raise InputError(
            f"The image's step is {step}; {message.encoding} takes an even step, and half of it for"
            " a row of chroma."
        )
    # Some drivers leave out the padding of the last row.
    if not step * rows - int((step - row) * encoding.chroma) <= length <= step * rows:
        raise InputError(
            f"The image's data has {length} bytes; {width} x {height} pixels of"
            f" {message.encoding} with step {step} take {step * rows}."
        )
    if encoding.chroma != 1 and step > row:
        return _without_padding(message, encoding)
    shape: tuple[int, ...] = (rows, width, encoding.channels)
    strides: tuple[int, ...] = (step, encoding.channels * dtype.itemsize, dtype.itemsize)
    if encoding.channels == 1:
        shape, strides = shape[:2], strides[:2]
    stored = dtype.newbyteorder(">" if message.is_bigendian else "<")
    view: NDArray[Any] = np.ndarray(shape, stored, buffer=message.data, strides=strides)
    # OpenCV takes padded rows as they are, but not values across an odd address.
    return view.astype(dtype, copy=not view.flags.aligned)


def _check_size(message: Image, encoding: Encoding) -> None:
    height, width, smallest = message.height, message.width, encoding.smallest
    if min(height, width) < smallest:
        raise InputError(
            f"The image is {width} x {height} pixels; with {message.encoding} it must have at least"
            f" {smallest} x {smallest}."
        )
    for side, size, multiple in zip(
        ("height", "width"), (height, width), encoding.multiple, strict=True
    ):
        if size % multiple:
            raise InputError(
                f"The image's {side} is {size}; with {message.encoding} it must be even."
            )


def _without_padding(message: Image, encoding: Encoding) -> NDArray[np.uint8]:
    """Return 8-bit values whose rows of chroma have another length, without padding: (rows, W)."""
    height, width, step = message.height, message.width, message.step
    data = np.frombuffer(message.data, np.uint8)
    luma = np.ndarray((height, width), np.uint8, data, 0, (step, 1))
    long = int(width * encoding.chroma)
    count = int(height * (encoding.rows - 1) / encoding.chroma)
    stride = int(step * encoding.chroma)
    chroma = np.ndarray((count, long), np.uint8, data, step * height, (stride, 1))
    return np.concatenate([luma, chroma.reshape(-1, width)])


def nv24_to_bgr(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (H, W, 3) BGR of (3H, W) values: H rows of luma, then U and V of each pixel."""
    height = len(rows) // 3
    yuv = cv2.merge([rows[:height], *cv2.split(rows[height:].reshape(height, -1, 2))])
    return np.asarray(cv2.transform(yuv, _BT_601), np.uint8)
