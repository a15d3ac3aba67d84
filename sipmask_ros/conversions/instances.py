"""Images and instances, from and to ROS messages."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np

from sipmask_core.data.rle import checked_rle
from sipmask_core.errors import InputError
from sipmask_core.instances import Instances
from sipmask_core.mask_crop import MaskCrop
from sipmask_ros.conversions.images import MOST_PIXELS, message_bytes
from sipmask_ros.msg import Instance, InstanceArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from std_msgs.msg import Header

MASK_ENCODINGS = ("mono8", "rle")
MOST_MASK_PIXELS = 1 << 30  # of all rectangles of an array whose masks are run lengths


def instances_to_message(
    instances: Instances,
    header: Header,
    class_names: Sequence[str],
    model: str,
    mask_encoding: str = "mono8",
) -> InstanceArray:
    """Return instances as a sipmask_ros/InstanceArray; `header` is that of the segmented image.

    Raise InputError if `mask_encoding` is none of MASK_ENCODINGS.
    """
    if mask_encoding not in MASK_ENCODINGS:
        raise InputError(
            f"mask_encoding is {mask_encoding!r}; it must be {' or '.join(MASK_ENCODINGS)}."
        )
    height, width = instances.image_size
    if mask_encoding == "rle":
        masks = [array("B", rle["counts"].encode("ascii")) for rle in instances.to_rle()]
    else:
        # As bytes, the negative of 1 is 255.
        masks = [
            message_bytes(np.negative(crop.bitmap.view(np.uint8))) for crop in instances.mask_crops
        ]
    messages = []
    for label, score, track_id, track_state, track_age, box, crop, mask in zip(
        instances.labels.tolist(),
        instances.scores.tolist(),
        instances.track_ids.tolist(),
        instances.track_states.tolist(),
        instances.track_ages.tolist(),
        instances.boxes,
        instances.mask_crops,
        masks,
        strict=True,
    ):
        message = Instance(
            class_id=label,
            class_name=class_names[label],
            score=score,
            track_id=track_id,
            track_state=track_state,
            track_age=track_age,
            box=box,
        )
        # The constructor would copy the mask once more and make two rectangles.
        message.mask = mask
        message.roi.x_offset, message.roi.y_offset = crop.x, crop.y
        message.roi.height, message.roi.width = crop.bitmap.shape
        messages.append(message)
    return InstanceArray(
        header=header,
        height=height,
        width=width,
        model=model,
        mask_encoding=mask_encoding,
        instances=messages,
    )


def message_to_instances(message: InstanceArray) -> Instances:
    """Return the Instances that a sipmask_ros/InstanceArray carries; mask scores equal the scores.

    Raise InputError if a mask does not fit its rectangle or does not decode, and for run lengths
    of an image of more than MOST_PIXELS or of masks with more than MOST_MASK_PIXELS together.
    """
    if message.mask_encoding == "rle":
        pixels = sum(i.roi.height * i.roi.width for i in message.instances)
        if pixels > MOST_MASK_PIXELS:
            raise InputError(
                f"The {len(message.instances)} masks have {pixels} pixels; with rle, at most"
                f" {MOST_MASK_PIXELS} are accepted."
            )
    return Instances(
        boxes=np.array([i.box for i in message.instances], np.float32).reshape(-1, 4),
        scores=np.array([i.score for i in message.instances], np.float32),
        labels=np.array([i.class_id for i in message.instances], np.int64),
        mask_crops=[_mask_crop(message, index) for index in range(len(message.instances))],
        image_size=(message.height, message.width),
        track_ids=np.array([i.track_id for i in message.instances], np.int64),
        track_states=np.array([i.track_state for i in message.instances], np.uint8),
        track_ages=np.array([i.track_age for i in message.instances], np.int64),
    )


def _mask_crop(message: InstanceArray, index: int) -> MaskCrop:
    instance = message.instances[index]
    where = f"instances[{index}].mask"
    x, y = instance.roi.x_offset, instance.roi.y_offset
    h, w = instance.roi.height, instance.roi.width
    if x + w > message.width or y + h > message.height:
        raise InputError(
            f"{where} covers {w} x {h} pixels at ({x}, {y}), beyond the image of"
            f" {message.width} x {message.height}."
        )
    if message.mask_encoding == "rle":
        from pycocotools import mask as coco_mask

        if message.height * message.width > MOST_PIXELS:
            raise InputError(
                f"{where} is of an image of {message.width} x {message.height} pixels; with rle, at"
                f" most {MOST_PIXELS} are accepted."
            )
        size = [message.height, message.width]
        rle = {"size": size, "counts": bytes(instance.mask)}
        mask = coco_mask.decode(checked_rle(rle, (message.height, message.width), where))
        return MaskCrop(x, y, mask[y : y + h, x : x + w].astype(bool))
    if message.mask_encoding != "mono8":
        raise InputError(
            f"mask_encoding is {message.mask_encoding!r}; it must be {' or '.join(MASK_ENCODINGS)}."
        )
    if len(instance.mask) != h * w:
        raise InputError(f"{where} has {len(instance.mask)} bytes; {w} x {h} pixels take {h * w}.")
    return MaskCrop(x, y, np.frombuffer(instance.mask, np.uint8).reshape(h, w) != 0)
