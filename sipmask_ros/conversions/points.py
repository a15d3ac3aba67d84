"""What masks show of objects in space, as a sensor_msgs/PointCloud2."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField

from sipmask_core.positions import depth_limit
from sipmask_ros.conversions.images import message_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from std_msgs.msg import Header

    from sipmask_core.instances import Instances
    from sipmask_core.positions import Lens

# A point as it lies in the message. RViz and PCL take the bytes of a colour (0, red, green, blue,
# the last one lowest) for a float. There is no 64-bit integer among the types of PointField.
POINT = np.dtype(
    [
        ("x", "<f4"),
        ("y", "<f4"),
        ("z", "<f4"),
        ("rgb", "<u4"),
        ("track_id", "<i4"),
        ("class_id", "<u2"),
        ("instance", "<u2"),
    ]
)
_FIELDS = [
    PointField(name=name, offset=offset, datatype=datatype, count=1)
    for (name, (_, offset)), datatype in zip(
        POINT.fields.items(),  # type: ignore[union-attr]
        [PointField.FLOAT32] * 4 + [PointField.INT32] + [PointField.UINT16] * 2,
        strict=True,
    )
]


def instance_points(
    instances: Instances,
    owners: NDArray[np.uint16],
    image: NDArray[np.uint8],
    depth: NDArray[Any],
    unit: float,
    lens: Lens,
    stride: int = 1,
) -> NDArray[Any]:
    """Return a point for each place on an instance whose depth is known: (n,) of POINT.

    Places are the pixels of every `stride`-th row and column. owners: (H, W), the `label_image` of
    the instances. image: (H, W, 3) uint8 BGR. depth: of the same view in a size of its own, in
    `unit` metres; what means no depth says `positions.locate`. lens: for the size of the image.
    Metres, x right, y down, z forward. `instance` is an index into `instances`.
    """
    height, width = owners.shape
    first = min(stride, height, width) // 2
    z = _at_pixels(depth, (height, width), first, stride)
    owner = owners[first::stride, first::stride]
    rays = _rays(lens, (height, width), first, stride)
    known = (owner > 0) & (z > 0) & (z < depth_limit(depth, unit)) & np.isfinite(rays[..., 0])
    # By number from here on: `take` is several times as fast as an index.
    places = np.flatnonzero(known)
    rows, columns = np.divmod(places, z.shape[1])
    index = owner.reshape(-1).take(places).astype(np.intp) - 1
    pixels = (first + rows * stride) * width + first + columns * stride
    blue, green, red = image.reshape(-1, 3).take(pixels, axis=0).astype(np.uint32).T
    points = np.empty(len(places), POINT)
    points["z"] = z.reshape(-1).take(places) * np.float32(unit)
    for axis, name in enumerate("xy"):
        points[name] = rays.reshape(-1, 2)[:, axis].take(places) * points["z"]
    points["rgb"] = red << 16 | green << 8 | blue
    points["track_id"] = instances.track_ids.take(index)
    points["class_id"] = instances.labels.take(index)
    points["instance"] = index
    return points


def points_to_message(points: NDArray[Any], header: Header) -> PointCloud2:
    """Return points (n,) of POINT as a sensor_msgs/PointCloud2 without order; n may be 0."""
    message = PointCloud2(header=header, fields=_FIELDS, height=1, width=len(points))
    message.point_step, message.row_step = POINT.itemsize, points.nbytes
    message.is_dense = True
    message.data = message_bytes(points)
    return message


def _at_pixels(depth: NDArray[Any], size: tuple[int, ...], first: int, stride: int) -> NDArray[Any]:
    """Return the depths at pixels of an image (H, W) of the same view, every so many of them."""
    if depth.shape == size:
        return depth[first::stride, first::stride]
    rows, columns = (
        ((np.arange(first, own, stride) + 0.5) * (there / own)).astype(np.intp)
        for own, there in zip(size, depth.shape, strict=True)
    )
    sampled: NDArray[Any] = depth[np.ix_(rows, columns)]
    return sampled


@lru_cache(maxsize=16)  # one for each camera; distortion costs more than all the rest
def _rays(lens: Lens, size: tuple[int, int], first: int, stride: int) -> NDArray[np.float32]:
    """Return the rays of pixels of an image (H, W): (h, w, 2), x and y at one metre of depth."""
    y, x = np.mgrid[first : size[0] : stride, first : size[1] : stride].astype(np.float64)
    rays = lens.rays(np.stack([x.ravel(), y.ravel()], axis=1))
    return rays.astype(np.float32).reshape(*x.shape, 2)
