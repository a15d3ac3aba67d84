import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from sipmask_ros.topic_names import compressed_topic, is_rectified


@pytest.mark.parametrize(
    ("topic", "rectified"),
    [
        ("/camera/depth/image_rect", True),
        ("/camera/depth/image_rect_raw", True),
        ("/camera/depth_rectified", True),
        ("/rect/depth", False),
        ("/camera/image_Rect2", True),
        ("image_rect_color", True),
        ("/direct/depth", False),
        ("/camera/depth_direct", False),
        ("/camera/rectangle", False),
        ("/camera/unrectified/depth", False),
        ("/camera/correct_depth", False),
        ("/camera/depth", False),
    ],
)
def test_rect_is_a_word_in_the_last_part_of_a_rectified_topic(topic, rectified):
    assert is_rectified(topic) is rectified


def test_compressed_images_are_where_image_transport_has_them():
    assert compressed_topic("/camera/image_raw") == "/camera/image_raw/compressed"
    assert compressed_topic("/camera/image_raw/compressed") == "/camera/image_raw/compressed"
