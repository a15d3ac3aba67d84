from array import array

import numpy as np
import pytest

pytest.importorskip("sensor_msgs", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

from builtin_interfaces.msg import Time
from depth_scenes import LENS, SCENES, SIZE, view
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest
from std_msgs.msg import Header

from sipmask_core.errors import InputError
from sipmask_core.motion import Velocities
from sipmask_core.positions import Positions, locate
from sipmask_ros.conversions.depth import (
    DEPTH_ENCODINGS,
    depth_without,
    positions_to_message,
    read_depth,
    read_lens,
    same_view,
)

HEIGHT, WIDTH = 6, 8
DEPTHS = np.arange(10, 10 + HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
FX, FY, CX, CY = 525.0, 520.0, 322.0, 236.0


def message(encoding, order="<", padding=0):
    dtype = "u2" if "16" in encoding else "f4"
    rows = DEPTHS.astype(order + dtype).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xAB)
    return Image(
        height=HEIGHT,
        width=WIDTH,
        encoding=encoding,
        step=rows.shape[1],
        is_bigendian=int(order == ">"),
        data=array("B", rows.tobytes()),
    )


def camera_info(**changes):
    values = {
        "width": 640,
        "height": 480,
        "distortion_model": "plumb_bob",
        "d": [0.0] * 5,
        "k": [FX, 0, CX, 0, FY, CY, 0, 0, 1],
        "p": [FX - 5, 0, CX + 2, 0, 0, FY - 5, CY + 3, 0, 0, 0, 1, 0],
    }
    return CameraInfo(**(values | changes))


@pytest.mark.parametrize("encoding", DEPTH_ENCODINGS)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("padding", [0, 3, 8])
def test_depth_is_read_in_any_byte_order_with_and_without_padded_rows(encoding, order, padding):
    values, unit = read_depth(message(encoding, order, padding))
    assert np.array_equal(values, DEPTHS)
    assert values.dtype == (np.float32 if encoding == "32FC1" else np.uint16)
    assert unit == (1.0 if encoding == "32FC1" else 1e-3)


@pytest.mark.parametrize("name", ["16uc1", "MONO16", "32FC1 ", "32fc", "16UC"])
def test_the_name_of_an_encoding_may_be_in_capitals_or_not(name):
    sent = message("32FC1" if "32" in name else "16UC1")
    sent.encoding = name
    assert np.array_equal(read_depth(sent)[0], DEPTHS)


@pytest.mark.parametrize(
    ("values", "fits"),
    [
        ([[0, 812, 1500], [np.nan, 4200, np.inf]], False),
        ([[0, 812, 1500], [np.nan, 4200.5, np.inf]], True),
        ([[0.8, 1000, 1000], [1000, 1000, 1000]], True),  # the sky of a simulator
        ([[1000, 1000, 1000], [1000, 1000, 1000]], True),
        ([[1, 2, 3], [4, 5, 6]], True),
        ([[0, 0, 0], [np.nan, np.nan, np.inf]], True),
    ],
)
def test_millimetres_that_say_to_be_metres_are_refused(values, fits):
    rows = np.array(values, "<f4").repeat(8, 0).repeat(8, 1)
    sent = Image(height=16, width=24, encoding="32FC1", step=96, data=array("B", rows.tobytes()))
    if fits:
        assert np.array_equal(read_depth(sent)[0], rows, equal_nan=True)
    else:
        with pytest.raises(InputError, match=r"whole numbers from 812 to 4200; .* 16UC1"):
            read_depth(sent)


def test_depth_as_most_cameras_send_it_is_not_copied():
    image = message("16UC1")
    assert np.shares_memory(read_depth(image)[0], np.frombuffer(image.data, np.uint8))


@pytest.mark.parametrize("encoding", ["bgr8", "16SC1", "64FC1", ""])
def test_an_encoding_that_is_no_depth_is_named(encoding):
    with pytest.raises(InputError, match=f"encoding is '{encoding}'; it must be one of 16UC1"):
        read_depth(Image(height=1, width=1, encoding=encoding))


def test_depth_that_is_cut_off_is_named():
    image = message("16UC1")
    image.data = image.data[:-1]
    with pytest.raises(InputError, match="95 bytes; 8 x 6 pixels of 16UC1"):
        read_depth(image)


@pytest.mark.parametrize(("encoding", "unknown"), [("16UC1", 0), ("32FC1", np.nan)])
def test_depth_under_a_mask_becomes_unknown_and_the_rest_stays(encoding, unknown):
    depth, _ = read_depth(message(encoding))
    ignored = np.zeros((HEIGHT, WIDTH), np.uint8)
    ignored[2:4, 3:7] = 255
    left = depth_without(depth, ignored)
    assert left.dtype == depth.dtype
    assert np.array_equal(left, np.where(ignored, unknown, DEPTHS), equal_nan=True)
    assert np.array_equal(depth, DEPTHS), "what came in is as it was"


@pytest.mark.parametrize("scale", [2, 3, 0.5])
def test_depth_of_another_size_loses_every_pixel_that_the_mask_touches(scale):
    ignored = np.zeros((HEIGHT, WIDTH), np.uint8)
    ignored[2:4, 3:6] = 255
    size = int(HEIGHT * scale), int(WIDTH * scale)
    left = depth_without(np.full(size, 1000, np.uint16), ignored)
    y, x = (np.arange(side) for side in size)
    rows = (y < 4 * scale) & (y + 1 > 2 * scale)
    columns = (x < 6 * scale) & (x + 1 > 3 * scale)
    assert np.array_equal(left == 0, rows[:, None] & columns)


@pytest.mark.parametrize(
    ("size", "same"),
    [
        ((480, 640), True),
        ((240, 320), True),
        ((960, 1280), True),
        ((121, 160), True),
        ((480, 848), False),
        ((0, 0), False),
        ((0, 640), False),
    ],
)
def test_a_view_is_the_same_at_any_scale(size, same):
    assert same_view(size, (480, 640)) is same


def test_a_lens_is_k_or_for_rectified_images_p():
    assert read_lens(camera_info(), SIZE, False) == LENS
    rectified = read_lens(camera_info(), SIZE, True)
    assert (rectified.focal, rectified.centre) == ((520, 515), (324, 239))


def test_without_k_the_lens_is_that_of_p_which_has_no_distortion():
    info = camera_info(distortion_model="plumb_bob", d=[0.1, 0.0, 0.0, 0.0, 0.0])
    info.k = [0.0] * 9
    assert read_lens(info, SIZE, False) == read_lens(info, SIZE, True)
    info.p = [0.0] * 12
    with pytest.raises(InputError, match="K of the camera_info has the focal lengths 0 and 0"):
        read_lens(info, SIZE, False)


@pytest.mark.parametrize("size", [(480, 640), (240, 320), (960, 1280)])
def test_a_lens_is_scaled_to_the_image(size):
    scale = size[0] / 480
    lens = read_lens(camera_info(), size, False)
    pixels = np.array([[100.0, 50.0], [600.0, 400.0]])
    assert np.allclose(lens.rays((pixels + 0.5) * scale - 0.5), LENS.rays(pixels))


def test_binning_and_region_of_interest_are_taken_into_account():
    roi = RegionOfInterest(x_offset=100, y_offset=40, width=320, height=240)
    lens = read_lens(camera_info(binning_x=2, binning_y=2, roi=roi), (120, 160), False)
    pixels = np.array([[30.0, 20.0], [159.0, 119.0]])
    assert np.allclose(lens.rays(pixels), LENS.rays(pixels * 2 + [100, 40]))


@pytest.mark.parametrize(
    ("model", "d"),
    [("plumb_bob", [0.1, -0.2, 0.001, 0.002, 0.05]), ("rational_polynomial", [0.1] * 8)],
)
def test_distortion_counts_unless_the_image_is_rectified(model, d):
    info = camera_info(distortion_model=model, d=d)
    lens = read_lens(info, SIZE, False)
    assert lens.distortion == tuple(d) and not lens.fisheye
    assert read_lens(info, SIZE, True).distortion == ()


def test_equidistant_is_a_fisheye():
    info = camera_info(distortion_model="equidistant", d=[0.0] * 4)
    assert read_lens(info, SIZE, False).fisheye
    assert not read_lens(info, SIZE, True).fisheye


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"k": [0.0] * 9, "p": [0.0] * 12}, "K of the camera_info has the focal lengths 0 and 0"),
        ({"k": [np.nan] * 9}, "K of the camera_info has the focal lengths nan"),
        (
            {"k": [0.8, 0, 0.5, 0, 0.8, 0.5, 0, 0, 1]},
            "0.8 and 0.8; those of a calibrated camera",
        ),
        ({"width": 0, "height": 0}, "is for 0 x 0 pixels, the image has 640 x 480"),
        ({"width": 1280, "height": 720}, "is for 1280 x 720 pixels, the image has 640 x 480"),
        ({"distortion_model": "cubic", "d": [1.0]}, "is 'cubic'; it must be one of plumb_bob"),
        ({"d": [1.0, 2.0]}, r"is \[1.0, 2.0\]; plumb_bob takes 4 or 5"),
        ({"d": [np.inf] * 5}, "plumb_bob takes 4 or 5 finite numbers"),
        ({"distortion_model": "equidistant", "d": []}, r"is \[\]; equidistant takes 4"),
    ],
)
def test_what_is_wrong_with_a_camera_info_is_said(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        read_lens(camera_info(**changes), SIZE, False)


def test_a_rectified_image_of_a_camera_without_p_is_not_used():
    with pytest.raises(InputError, match="P of the camera_info has the focal lengths 0 and 0"):
        read_lens(camera_info(p=[0.0] * 12), SIZE, True)


def test_the_message_stands_alone():
    seen = view(SCENES[0])
    found = locate(seen.instances, seen.depth, 1e-3, LENS)
    header = Header(stamp=Time(sec=7, nanosec=8), frame_id="camera_optical")
    velocities = Velocities(np.arange(9.0).reshape(3, 3), np.array([0.1, 0.2, 0.3]))
    sent = positions_to_message(found, velocities, seen.instances, header, ["ball"], -0.01, "odom")
    assert sent.header == header
    assert sent.velocity_frame == "odom"
    assert sent.depth_delay == pytest.approx(-0.01)
    assert len(sent.positions) == 3
    for index, one in enumerate(sent.positions):
        assert (one.class_id, one.class_name, one.track_id) == (0, "ball", index + 1)
        assert one.score == seen.instances.scores[index]
        assert one.valid
        point = [one.position.x, one.position.y, one.position.z]
        assert point == found.points[index].tolist()
        assert [one.width, one.height] == pytest.approx(found.sizes[index])
        assert one.deviation == pytest.approx(found.deviations[index])
        speed = one.velocity
        assert [speed.x, speed.y, speed.z] == velocities.values[index].tolist()
        assert one.velocity_deviation == velocities.deviations[index]
        assert one.pixels == found.pixels[index]
        assert one.coverage == pytest.approx(found.coverage[index])


def test_what_is_not_known_is_not_a_number():
    instances = view(SCENES[0]).instances
    sent = positions_to_message(
        Positions.unknown(3),
        Velocities.unknown(3),
        instances,
        Header(),
        ["ball"],
        float("nan"),
        "camera",
    )
    assert np.isnan(sent.depth_delay)
    for one in sent.positions:
        assert not one.valid and one.pixels == 0 and one.coverage == 0
        point, speed = one.position, one.velocity
        numbers = [point.x, point.y, point.z, one.deviation, one.width, one.height]
        numbers += [speed.x, speed.y, speed.z, one.velocity_deviation]
        assert np.isnan(numbers).all()
