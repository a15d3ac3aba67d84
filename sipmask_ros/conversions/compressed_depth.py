"""Depth images as image_transport's compressedDepth packs them into CompressedImages.

`format` is such as "16UC1; compressedDepth png"; without an algorithm it is PNG. The data begin
with 12 bytes: an enumerator of 4 bytes and two floats A and B. A PNG of 16 bits follows or, for
RVL, see `read_rvl`, the numbers of columns and rows, 4 bytes each, and the packed values. Values
of 16UC1 are millimetres. Those of 32FC1 are inverse: a value v stands for A / (v - B) metres, and 0
for an unknown depth. (compressed_depth_image_transport, codec.cpp)
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from sipmask_core.errors import InputError
from sipmask_core.imaging.image_header import declared_size, is_cut_off
from sipmask_ros.conversions.depth import DEPTH_ENCODINGS, depth_encoding
from sipmask_ros.conversions.images import MOST_PIXELS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sensor_msgs.msg import CompressedImage

ALGORITHMS = ("png", "rvl")
_HEADER = struct.Struct("<iff")
_SIZE = struct.Struct("<II")
_LONGEST = 11  # groups of 3 bits that a number of 32 bits takes


def read_compressed_depth(message: CompressedImage) -> tuple[NDArray[Any], float]:
    """Return a depth image, (H, W) uint16 or float32, and the metres of its unit.

    Raise InputError for another format, and if the data are cut off or do not decode.
    """
    encoding, algorithm = _format(message.format)
    unit = DEPTH_ENCODINGS[encoding][1]
    data = memoryview(message.data).cast("B")
    if len(data) <= _HEADER.size:
        raise InputError(
            f"The compressed depth image has {len(data)} bytes; its header alone takes"
            f" {_HEADER.size}."
        )
    _, a, b = _HEADER.unpack_from(data)
    content = data[_HEADER.size :]
    values = _read_png(content) if algorithm == "png" else read_rvl(content)
    if encoding != "32FC1":
        return values, unit
    if not (np.isfinite([a, b]).all() and a > 0):
        raise InputError(
            f"The compressed depth image has the quantisation {a:g} and {b:g}; finite numbers are"
            " accepted, and the first one must be positive."
        )
    with np.errstate(divide="ignore", over="ignore"):
        metres = np.float32(a) / (values - np.float32(b))
    metres[values == 0] = np.nan
    return metres, unit


def read_rvl(content: memoryview) -> NDArray[np.uint16]:
    """Return the (H, W) uint16 image that RVL packed, behind 8 bytes with its columns and rows.

    RVL (Wilson, Fast Lossless Depth Image Compression, 2017) writes, in turn, the length of a run
    of zeros, that of the run of other values behind it, and the differences of these from one value
    to the next, with the sign in the lowest bit. A number becomes groups of three bits, the lowest
    first, each below a bit that says whether more follow, and eight groups make a word of 32 bits,
    from the top. Raise InputError if the data are cut off or damaged.
    """
    if len(content) < _SIZE.size:
        raise _refusal("its RVL data are cut off")
    width, height = _SIZE.unpack_from(content)
    size = width * height
    if not 0 < size <= MOST_PIXELS:
        raise _refusal(
            f"its RVL data tell of {width} x {height} pixels, of which 1 to {MOST_PIXELS} are"
            " accepted"
        )
    numbers = _numbers(content[_SIZE.size :])
    lengths: list[int] = []  # of the runs, zeros and others in turn
    at = [0]  # where each pair of lengths stands
    left = size
    while left:
        if at[-1] + 2 > len(numbers):
            raise _refusal("its RVL data are cut off")
        zeros, others = numbers[at[-1] : at[-1] + 2].tolist()
        left -= zeros + others
        if left < 0 or not (others or left == 0):
            raise _refusal("its RVL data are damaged")
        lengths += [zeros, others]
        at.append(at[-1] + 2 + others)
    end = at.pop()
    if end > len(numbers):
        raise _refusal("its RVL data are cut off")
    is_difference = np.ones(end, bool)
    is_difference[at] = is_difference[[place + 1 for place in at]] = False
    differences = numbers[:end][is_difference]
    image = np.zeros(size, np.uint16)
    is_known = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    # The sum of 16-bit numbers overflows as the encoder's does.
    image[is_known] = np.cumsum((differences >> 1) ^ -(differences & 1), dtype=np.int32)
    return image.reshape(height, width)


def _format(text: str) -> tuple[str, str]:
    """Return the encoding and the algorithm that a message's format names."""
    name, _, rest = text.partition(";")
    encoding = depth_encoding(name)
    words = rest.split()
    algorithm = words[1] if len(words) > 1 else ALGORITHMS[0]
    if encoding is None or (words and words[0] != "compressedDepth") or algorithm not in ALGORITHMS:
        raise InputError(
            f"The compressed depth image's format is {text!r}; it must be one of"
            f" {', '.join(DEPTH_ENCODINGS)}, then '; compressedDepth' and"
            f" {' or '.join(ALGORITHMS)}."
        )
    return encoding, algorithm


def _read_png(content: memoryview) -> NDArray[np.uint16]:
    size = declared_size(content)
    if size is None or is_cut_off(content):
        raise _refusal("its PNG is cut off" if size else "it holds no PNG")
    if size[0] * size[1] > MOST_PIXELS:
        raise _refusal(
            f"its PNG has {size[0]} x {size[1]} pixels, of which {MOST_PIXELS} are accepted"
        )
    try:
        values: Any = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        values = None
    if values is None:
        raise _refusal("its PNG is damaged")
    if values.dtype != np.uint16 or values.ndim != 2:
        raise _refusal("its PNG has no single channel of 16 bits")
    image: NDArray[np.uint16] = values
    return image


def _numbers(packed: memoryview) -> NDArray[np.int64]:
    """Return all numbers that groups of three bits make, from whole words of 32 bits."""
    words = np.frombuffer(packed[: len(packed) // 4 * 4], "<u4").byteswap().view(np.uint8)
    groups = np.empty(2 * len(words), np.uint8)
    groups[0::2], groups[1::2] = words >> 4, words & 15
    ends = np.flatnonzero(groups < 8) + 1
    starts = np.concatenate(([0], ends[:-1])) if len(ends) else ends
    counts = ends - starts
    if counts.max(initial=0) > _LONGEST:
        raise _refusal("its RVL data are damaged")
    numbers = (groups[starts] & 7).astype(np.int64)
    longer, shift = np.flatnonzero(counts > 1), 3
    while len(longer):
        numbers[longer] |= (groups[starts[longer] + shift // 3] & 7).astype(np.int64) << shift
        shift += 3
        longer = longer[counts[longer] > shift // 3]
    return numbers


def _refusal(what: str) -> InputError:
    return InputError(f"The compressed depth image cannot be read: {what}.")
