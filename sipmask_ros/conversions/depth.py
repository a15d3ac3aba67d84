"""Depth images, camera_info and positions, from and to ROS messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from sipmask_core.errors import InputError
from sipmask_core.positions import Lens
from sipmask_ros.conversions.encodings import Encoding, pixel_values
from sipmask_ros.conversions.geometry import to_point, to_vector
from sipmask_ros.msg import InstancePosition, InstancePositionArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from sensor_msgs.msg import CameraInfo, Image
    from std_msgs.msg import Header

    from sipmask_core.instances import Instances
    from sipmask_core.motion import Velocities
    from sipmask_core.positions import Positions

_MILLIMETRES = (Encoding(1, np.uint16), 1e-3)
# REP 118: integers are millimetres, floating-point numbers are metres.
DEPTH_ENCODINGS = {
    "16UC1": _MILLIMETRES,
    "mono16": _MILLIMETRES,
    "32FC1": (Encoding(1, np.float32), 1.0),
}
_BY_NAME = {name.lower(): name for name in DEPTH_ENCODINGS} | {"16uc": "16UC1", "32fc": "32FC1"}
# Of floating-point depth, every so many rows and columns are looked at, and whole numbers from so
# many on are no metres.
_LOOK_STEP = 8
_NO_METRES = 100
# Distortion models of sensor_msgs/distortion_models.hpp, by how many coefficients they take.
_COEFFICIENTS = {
    "plumb_bob": (4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
}


def read_depth(message: Image) -> tuple[NDArray[Any], float]:
    """Return a depth image, (H, W) uint16 or float32 as in the message, and the metres of its unit.

    Raise InputError for an encoding outside `DEPTH_ENCODINGS`, for data of the wrong length, and if
    the values of 32FC1 are millimetres, as drivers have them that convert nothing but the type.
    """
    name = depth_encoding(message.encoding)
    if name is None:
        raise InputError(
            f"The depth image's encoding is {message.encoding!r}; it must be one of"
            f" {', '.join(DEPTH_ENCODINGS)}."
        )
    encoding, unit = DEPTH_ENCODINGS[name]
    values = pixel_values(message, encoding)
    if name == "32FC1":
        _check_metres(values)
    return values, unit


def _check_metres(values: NDArray[np.float32]) -> None:
    some = values[::_LOOK_STEP, ::_LOOK_STEP]
    known = some[np.isfinite(some) & (some > 0)]
    if np.any(known % 1) or known.size == 0:
        return
    nearest, farthest = known.min(), known.max()
    if _NO_METRES <= nearest < farthest:  # a single number is the empty sky of simulators
        raise InputError(
            f"The depth image is 32FC1, which is in metres, and has whole numbers from"
            f" {nearest:g} to {farthest:g}; let the driver publish millimetres as 16UC1."
        )


def depth_encoding(name: str) -> str | None:
    """Return which of `DEPTH_ENCODINGS` has this name, in capitals or not; None if none has."""
    return _BY_NAME.get(name.strip().lower())


def depth_without(depth: NDArray[Any], ignored: NDArray[np.uint8]) -> NDArray[Any]:
    """Return a depth image (H, W) uint16 or float32 without what is under a mask: 0, or NaN.

    ignored: all but zero is left out; it shows what the depth image shows, in a size of its own. A
    pixel of the depth image of which the mask covers but a part is left out, too.
    """
    height, width = depth.shape
    if ignored.shape != depth.shape:
        shrinks = height < ignored.shape[0] or width < ignored.shape[1]
        way = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
        ignored = np.asarray(cv2.resize(ignored, (width, height), interpolation=way), np.uint8)
    left = depth.copy()
    np.copyto(left, np.nan if depth.dtype.kind == "f" else 0, where=ignored != 0)
    return left


def same_view(size: tuple[float, float], image_size: tuple[int, int]) -> bool:
    """Return whether (H, W) is `image_size` at another scale, up to one pixel of rounding."""
    (height, width), (image_height, image_width) = size, image_size
    difference = abs(width * image_height - height * image_width)
    return min(height, width) > 0 and difference <= max(image_size)


def read_lens(message: CameraInfo, image_size: tuple[int, int], rectified: bool) -> Lens:
    """Return the lens of a sensor_msgs/CameraInfo for an image of (H, W), at whatever scale.

    rectified: the image's pixels are those of the projection matrix P, without distortion, instead
    of those of K and D, as they are if K is all zeros and P is not. Binning and region of interest
    are taken into account. Raise InputError if the camera is not calibrated, its distortion is not
    known or the aspect ratio is another.
    """
    rectified = rectified or bool(np.any(message.p) and not np.any(message.k))
    roi, height, width = message.roi, image_size[0], image_size[1]
    binning = max(1, message.binning_x), max(1, message.binning_y)
    own_width = (roi.width or message.width) / binning[0]
    own_height = (roi.height or message.height) / binning[1]
    if not same_view((own_height, own_width), image_size):
        raise InputError(
            f"The camera_info is for {own_width:g} x {own_height:g} pixels, the image has"
            f" {width} x {height}; both must have one aspect ratio."
        )
    name, matrix = ("P", message.p.reshape(3, 4)) if rectified else ("K", message.k.reshape(3, 3))
    focal = float(matrix[0, 0]), float(matrix[1, 1])
    centre = float(matrix[0, 2]), float(matrix[1, 2])
    if not (np.isfinite([*focal, *centre]).all() and min(focal) >= 1):
        raise InputError(
            f"{name} of the camera_info has the focal lengths {focal[0]:g} and {focal[1]:g}; those"
            " of a calibrated camera are at least one pixel."
        )
    scale = width / own_width, height / own_height
    offset = roi.x_offset, roi.y_offset
    return Lens(
        (focal[0] / binning[0] * scale[0], focal[1] / binning[1] * scale[1]),
        # Another scale moves the middle of the first pixel; binning, by definition, does not.
        (
            ((centre[0] - offset[0]) / binning[0] + 0.5) * scale[0] - 0.5,
            ((centre[1] - offset[1]) / binning[1] + 0.5) * scale[1] - 0.5,
        ),
        distortion=() if rectified else _distortion(message),
        fisheye=not rectified and message.distortion_model == "equidistant",
    )


def _distortion(message: CameraInfo) -> tuple[float, ...]:
    model, coefficients = message.distortion_model, tuple(message.d)
    if model != "equidistant" and not any(coefficients):
        return ()
    if model not in _COEFFICIENTS:
        raise InputError(
            f"The distortion model of the camera_info is {model!r}; it must be one of"
            f" {', '.join(_COEFFICIENTS)}, or the image rectified."
        )
    if len(coefficients) not in _COEFFICIENTS[model] or not np.isfinite(coefficients).all():
        raise InputError(
            f"D of the camera_info is {list(coefficients)}; {model} takes"
            f" {' or '.join(map(str, _COEFFICIENTS[model]))} finite numbers."
        )
    return coefficients


def positions_to_message(
    positions: Positions,
    velocities: Velocities,
    instances: Instances,
    header: Header,
    class_names: Sequence[str],
    depth_delay: float,
    velocity_frame: str,
) -> InstancePositionArray:
    """Return positions and velocities as a sipmask_ros/InstancePositionArray.

    header: that of the segmented image. depth_delay: seconds from its stamp to that of the depth
    image, NaN if there is none. velocity_frame: that of the velocities.
    """
    return InstancePositionArray(
        header=header,
        depth_delay=depth_delay,
        velocity_frame=velocity_frame,
        positions=[
            InstancePosition(
                class_id=label,
                class_name=class_names[label],
                score=score,
                track_id=track_id,
                valid=valid,
                position=to_point(point),
                deviation=deviation,
                width=width,
                height=height,
                pixels=pixels,
                coverage=coverage,
                velocity=to_vector(speed),
                velocity_deviation=speed_deviation,
            )
            for label, score, track_id, valid, point, deviation, (
                width,
                height,
            ), pixels, coverage, speed, speed_deviation in zip(
                instances.labels.tolist(),
                instances.scores.tolist(),
                instances.track_ids.tolist(),
                positions.valid.tolist(),
                positions.points.tolist(),
                positions.deviations.tolist(),
                positions.sizes.tolist(),
                positions.pixels.tolist(),
                positions.coverage.tolist(),
                velocities.values.tolist(),
                velocities.deviations.tolist(),
                strict=True,
            )
        ],
    )
