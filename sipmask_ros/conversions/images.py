"""Image messages and arrays of pixels."""

from __future__ import annotations

import sys
from array import array
from functools import cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from sipmask_core.errors import InputError
from sipmask_core.imaging.image_header import declared_size, is_cut_off
from sipmask_ros.conversions.advice import advice
from sipmask_ros.conversions.bit_depth import bits_of
from sipmask_ros.conversions.encodings import (
    ENCODINGS,
    NV24,
    find_encoding,
    nv24_to_bgr,
    pixel_values,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from std_msgs.msg import Header

MOST_PIXELS = 1 << 27  # of a compressed image or run lengths: few bytes may stand for any number


def to_bgr(
    message: Image | CompressedImage, used_bits: Callable[[NDArray[np.uint16]], int] = bits_of
) -> NDArray[np.uint8]:
    """Return the pixels of an image message, raw or compressed; see the functions for each."""
    if isinstance(message, CompressedImage):
        return compressed_to_bgr(message, used_bits)
    return image_to_bgr(message, used_bits)


def image_to_bgr(
    message: Image, used_bits: Callable[[NDArray[np.uint16]], int] = bits_of
) -> NDArray[np.uint8]:
    """Return the pixels of a sensor_msgs/Image as (H, W, 3) uint8 BGR.

    bgr8 and 8UC3 are a view of the message's data, without a copy; everything else is converted.
    Rows may be padded (`step`). 16-bit values are scaled from the bits that the camera uses, which
    `used_bits` says of them; by default this image alone decides, see `bits_of`. Encodings are
    told apart without regard to case. Those outside `ENCODINGS` work if cv_bridge is installed and
    knows them. Raise InputError for an image without pixels, data of the wrong length, and an
    unknown encoding.
    """
    name = message.encoding
    encoding = find_encoding(name)
    if encoding is None:
        pixels = _through_cv_bridge(message)
        if pixels is None:
            raise InputError(
                f"The image's encoding is {name!r}; it must be one of {', '.join(ENCODINGS)}."
                + advice(name)
            )
        return pixels
    values: Any = pixel_values(message, encoding)
    if encoding.dtype is np.uint16:
        # Opacity is full whatever the camera's bits are.
        values = _scaled(values, used_bits(values[..., :3] if values.ndim == 3 else values))
    if encoding is NV24:
        return nv24_to_bgr(values)
    return values if encoding.code is None else cv2.cvtColor(values, encoding.code)


def _scaled(values: NDArray[np.uint16], bits: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.convertScaleAbs(values, alpha=255 / ((1 << bits) - 1)), np.uint8)


@cache
def installed_cv_bridge() -> Any:
    """Return cv_bridge; None if it is not installed or, built for another NumPy, does not load."""
    try:
        from cv_bridge import CvBridge
    except (ImportError, AttributeError):
        return None
    return CvBridge()


def _through_cv_bridge(message: Image) -> NDArray[np.uint8] | None:
    """Return the BGR pixels by cv_bridge; None if it is absent or cannot read this image.

    It misreads big-endian values, so those are not given to it.
    """
    bridge = installed_cv_bridge()
    if bridge is None or message.is_bigendian:
        return None
    try:
        pixels: NDArray[np.uint8] = bridge.imgmsg_to_cv2(message, "bgr8")
    except Exception:  # whatever it cannot do
        return None
    return pixels


def compressed_to_bgr(
    message: CompressedImage, used_bits: Callable[[NDArray[np.uint16]], int] = bits_of
) -> NDArray[np.uint8]:
    """Return the pixels of a sensor_msgs/CompressedImage as (H, W, 3) uint8 BGR: jpeg, png or tiff.

    The first bytes decide which it is. What `format` says of an order of colours is passed over:
    the data have one of their own, and drivers that write "rgb8" there keep to it. An orientation
    that the file may carry is ignored: pixels stay where the camera put them. Those of 16 bits are
    scaled as in `image_to_bgr`.
    Raise InputError for another format, more than MOST_PIXELS, and data that are cut off or do not
    decode.
    """
    size = declared_size(message.data)
    if size is None:
        raise _refusal(message, "is no jpeg, png or tiff." + advice(message.format, True))
    if size[0] * size[1] > MOST_PIXELS:
        raise InputError(
            f"The compressed image has {size[0]} x {size[1]} pixels; at most {MOST_PIXELS} are"
            " accepted."
        )
    if is_cut_off(message.data):
        raise _refusal(message, "is cut off or damaged: its end is missing.")
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels: Any = cv2.imdecode(np.frombuffer(message.data, np.uint8), flags)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise _refusal(message, "is damaged: it does not decode.")
    if pixels.dtype == np.uint16:
        return _scaled(pixels, used_bits(pixels))
    if pixels.dtype != np.uint8:
        raise _refusal(message, f"has values of {pixels.dtype}; 8 and 16 bits are accepted.")
    return np.asarray(pixels, np.uint8)


def _refusal(message: CompressedImage, what: str) -> InputError:
    return InputError(
        f"The compressed image ({len(message.data)} bytes, format {message.format!r}) {what}"
    )


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


def array_to_jpeg(pixels: NDArray[np.uint8], quality: int, header: Header) -> CompressedImage:
    """Return (H, W, 3) uint8 BGR as a sensor_msgs/CompressedImage as image_transport makes it.

    quality: of the JPEG, 1 to 100.
    """
    _, encoded = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, quality))
    message = CompressedImage(header=header, format="bgr8; jpeg compressed bgr8")
    message.data = message_bytes(encoded)
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
