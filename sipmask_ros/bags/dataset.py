"""The images of a recorded bag, ready for a data set."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from sipmask_core.data.annotation_writer import JPEG_MAGIC, PNG_MAGIC, Recorded
from sipmask_core.errors import InputError
from sipmask_ros.bags.evaluation import IMAGE_TYPES
from sipmask_ros.bags.file_names import image_name
from sipmask_ros.bags.reader import deserialized
from sipmask_ros.conversions.headers import stamp_nanoseconds
from sipmask_ros.conversions.images import to_bgr

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from sipmask_ros.bags.reader import Bag


def recorded_images(bag: Bag, topics: Sequence[str]) -> Iterator[Recorded]:
    """Yield the images of these topics, as recorded; the topics are the sources.

    The name ends in the header's stamp (ns) or, if the camera left it empty, in the number of the
    image: `evaluate bag` finds the recorded image by it.
    """
    counts = dict.fromkeys(topics, 0)
    for message in bag.messages(topics):
        number = counts[message.topic]
        counts[message.topic] += 1
        try:
            image = deserialized(message, IMAGE_TYPES[message.type])
        except InputError as error:
            name = image_name(message.topic, number)
            yield Recorded(message.topic, name, message.time * 1e-9, partial(_refuse, error))
            continue
        stamp = stamp_nanoseconds(image.header)
        name = image_name(message.topic, number, stamp)
        seconds = (stamp or message.time) * 1e-9
        yield Recorded(message.topic, name, seconds, partial(to_bgr, image), _file_of(image))


def _file_of(image: Any) -> bytes | None:
    """Return a compressed image as a file; None if that would not give the same pixels."""
    if not hasattr(image, "format"):
        return None
    data = bytes(image.data)
    # An orientation in the file would turn the image when it is read.
    is_plain = data.startswith((JPEG_MAGIC, PNG_MAGIC)) and not (b"Exif" in data or b"eXIf" in data)
    return data if is_plain else None


def _refuse(error: InputError) -> NDArray[np.uint8]:
    raise error
