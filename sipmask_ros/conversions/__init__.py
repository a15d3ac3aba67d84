"""Messages and arrays, both ways."""

from sipmask_ros.conversions.images import (
    array_to_image,
    compressed_to_bgr,
    image_to_bgr,
    to_bgr,
    type_name,
)
from sipmask_ros.conversions.instances import (
    MASK_ENCODINGS,
    instances_to_message,
    message_to_instances,
)
from sipmask_ros.conversions.masks import label_image

__all__ = [
    "MASK_ENCODINGS",
    "array_to_image",
    "compressed_to_bgr",
    "image_to_bgr",
    "instances_to_message",
    "label_image",
    "message_to_instances",
    "to_bgr",
    "type_name",
]
