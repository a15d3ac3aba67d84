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
    None if there is nothing to convert. multiple: (height, width) are multiples of these. rows: of
    the data, per row of the image. planar: whether the rows after those of the image are two of
    the chroma planes each, with half of the padding after each (as V4L2 lays out YUV420).
    """

    channels: int
    dtype: type[np.uint8] | type[np.uint16] | type[np.float32] = np.uint8
    code: int | None = None
    multiple: tuple[int, int] = (1, 1)
    rows: float = 1.0
    planar: bool = False


# OpenCV names a Bayer pattern after the second pixel of its second row, ROS after the first.
_BAYER = {
    "rggb": cv2.COLOR_BayerBG2BGR,
    "bggr": cv2.COLOR_BayerRG2BGR,
    "gbrg": cv2.COLOR_BayerGR2BGR,
    "grbg": cv2.COLOR_BayerGB2BGR,
}
_UYVY = Encoding(2, code=cv2.COLOR_YUV2BGR_UYVY, multiple=(1, 2))
_YUYV = Encoding(2, code=cv2.COLOR_YUV2BGR_YUYV, multiple=(1, 2))
_I420 = Encoding(1, code=cv2.COLOR_YUV2BGR_I420, multiple=(2, 2), rows=1.5, planar=True)
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
    **{f"bayer_{p}8": Encoding(1, np.uint8, code, (2, 2)) for p, code in _BAYER.items()},
    **{f"bayer_{p}16": Encoding(1, np.uint16, code, (2, 2)) for p, code in _BAYER.items()},
    "uyvy": _UYVY,
    "yuv422": _UYVY,
    "yuyv": _YUYV,
    "yuv422_yuy2": _YUYV,
    "nv12": Encoding(1, code=cv2.COLOR_YUV2BGR_NV12, multiple=(2, 2), rows=1.5),
    "nv21": Encoding(1, code=cv2.COLOR_YUV2BGR_NV21, multiple=(2, 2), rows=1.5),
    "i420": _I420,
    "yuv420": _I420,
}


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
    if encoding.planar and step > row:
        return _without_padding(message, rows)
    view: NDArray[Any] = np.ndarray(shape, stored, buffer=message.data, strides=strides)
    # OpenCV takes padded rows as they are, but not values across an odd address.
    return view.astype(dtype, copy=not view.flags.aligned)


def _without_padding(message: Image, rows: int) -> NDArray[np.uint8]:
    """Return padded planes of 8-bit values as they are without padding: (rows, W)."""
    height, width, step = message.height, message.width, message.step
    if step % 2 or len(message.data) < step * rows - (step - width) // 2:
        raise InputError(
            f"The image's data has {len(message.data)} bytes and its step is {step};"
            f" {message.encoding} takes an even step, and half of it for a row of chroma."
        )
    data = np.frombuffer(message.data, np.uint8)
    luma = np.ndarray((height, width), np.uint8, data, 0, (step, 1))
    chroma = np.ndarray((height, width // 2), np.uint8, data, step * height, (step // 2, 1))
    return np.concatenate([luma, chroma.reshape(-1, width)])
