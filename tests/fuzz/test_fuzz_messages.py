"""InstanceArrays: what is sent comes back; what others send is understood or refused."""

import numpy as np
import pytest
from fuzzing import fuzz, may_refuse
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from strange_instances import some_instances

pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import RegionOfInterest
from sipmask_ros.msg import Instance, InstanceArray
from std_msgs.msg import Header

from sipmask_core.drawing import draw_instances
from sipmask_ros.conversions.instances import instances_to_message, message_to_instances
from sipmask_ros.conversions.masks import label_image

NAMES = ("person", "dog", "traffic light")


@fuzz(share=2, instances=some_instances(len(NAMES)), encoding=st.sampled_from(["mono8", "rle"]))
def test_instances_come_back_from_a_message(instances, encoding):
    sent = instances_to_message(instances, Header(), NAMES, "model", encoding)
    received = message_to_instances(deserialize_message(serialize_message(sent), InstanceArray))
    assert received.image_size == instances.image_size
    for name in ("boxes", "scores", "labels", "track_ids", "track_states", "track_ages"):
        np.testing.assert_array_equal(getattr(received, name), getattr(instances, name), name)
    assert np.array_equal(received.masks, instances.masks)


@fuzz(share=2, instances=some_instances(len(NAMES)))
def test_masks_are_the_same_as_run_lengths_labels_and_in_pictures(instances):
    masks = instances.masks
    for rle, mask in zip(instances.to_rle(), masks, strict=True):
        assert np.array_equal(coco_mask.decode(rle), mask)
    on_top = np.zeros(instances.image_size, np.uint16)
    for index in reversed(range(len(instances))):
        on_top[masks[index]] = index + 1
    assert np.array_equal(label_image(instances), on_top)
    image = np.full((*instances.image_size, 3), 90, np.uint8)
    picture = draw_instances(image, instances, NAMES, boxes=True)
    assert picture.shape == image.shape and (image == 90).all()


sides = st.one_of(st.integers(0, 12), st.sampled_from([2**16, 2**31 - 1, 2**31, 2**32 - 1]))
floats = st.floats(width=32)
run_lengths = st.one_of(
    st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=40).map(str.encode),
    st.binary(max_size=40),
)


@st.composite
def messages(draw):
    height, width = draw(sides), draw(sides)

    def instance():
        roi = draw(
            st.one_of(
                st.just((0, 0, height, width)),
                st.tuples(*[st.integers(0, 9)] * 4),
                st.tuples(*[sides] * 4),
            )
        )
        covered = min(roi[2] * roi[3], 4096)
        return Instance(
            class_id=draw(st.integers(0, 2**16 - 1)),
            class_name=draw(
                st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
            ),
            score=draw(floats),
            track_id=draw(st.integers(-(2**63), 2**63 - 1)),
            track_state=draw(st.integers(0, 255)),
            track_age=draw(st.integers(0, 2**32 - 1)),
            box=[draw(floats) for _ in range(4)],
            roi=RegionOfInterest(x_offset=roi[0], y_offset=roi[1], height=roi[2], width=roi[3]),
            mask=draw(st.one_of(st.just(b"\xff" * covered), filling(height, width), run_lengths)),
        )

    def filling(height, width):
        """Return the RLE of a mask without a pixel, as pycocotools would have it."""
        from sipmask_core.mask_crop import compress

        return st.just(compress([np.array([height * width])])[0].encode())

    return InstanceArray(
        height=height,
        width=width,
        mask_encoding=draw(st.sampled_from(["mono8", "rle", "", "png"])),
        instances=[instance() for _ in range(draw(st.integers(0, 3)))],
    )


@fuzz(share=3, message=messages())
def test_a_message_of_others_gives_instances_or_a_refusal(message):
    with may_refuse() as refusals:
        instances = message_to_instances(message)
    if not refusals:
        assert len(instances) == len(message.instances)
        for x, y, bitmap in instances.mask_crops:
            assert x + bitmap.shape[1] <= message.width or not bitmap.size
            assert y + bitmap.shape[0] <= message.height or not bitmap.size


@fuzz(data=st.binary(max_size=200))
def test_any_bytes_on_the_topic_give_a_message_or_an_exception(data):
    try:
        message = deserialize_message(data, InstanceArray)
    except Exception:  # of the middleware's own
        return
    with may_refuse():
        message_to_instances(message)
