"""What each location should predict (FCOS assignment, with the authors' details)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sipmask_core.model.outputs import STRIDES, locations

if TYPE_CHECKING:
    from collections.abc import Sequence

# Levels P3 to P7 take objects whose farthest box side is this many pixels from the location.
REGRESS_RANGES = ((-1, 64), (64, 128), (128, 256), (256, 512), (512, 1e8))
CENTER_RADIUS = 1.5


class Points(NamedTuple):
    """The locations of all levels, P3 to P7, row by row.

    xy: (L, 2) pixels; stride: (L,) pixels; regress_range: (L, 2) pixels.
    """

    xy: Tensor
    stride: Tensor
    regress_range: Tensor


class Assignment(NamedTuple):
    """Targets of one image.

    labels: (L,) int64, 0 background, 1 + class otherwise. positives: (P,) indices of the locations
    with an object; objects: (P,) index of that object; distances: (P, 4) left top right bottom in
    pixels from the location to its box.
    """

    labels: Tensor
    positives: Tensor
    objects: Tensor
    distances: Tensor


def make_points(sizes: Sequence[torch.Size], device: torch.device) -> Points:
    """Return the locations for feature maps of these sizes (H_l, W_l)."""
    xy = [locations(h, w, s, device) for (h, w), s in zip(sizes, STRIDES, strict=True)]
    counts = torch.tensor([len(level) for level in xy], device=device)
    strides = torch.tensor(STRIDES, dtype=torch.float32, device=device)
    ranges = torch.tensor(REGRESS_RANGES, dtype=torch.float32, device=device)
    return Points(
        torch.cat(xy), strides.repeat_interleave(counts), ranges.repeat_interleave(counts, dim=0)
    )


def assign(points: Points, boxes: Tensor, labels: Tensor, inclusive: bool) -> Assignment:
    """Give each location at most one object of an image.

    A location belongs to an object when it lies strictly inside both the box and the square of
    1.5 strides around the box's centre, and the box's farthest side is in its level's range; the
    smallest object wins. boxes: (n, 4); labels: (n,) 0-based. `inclusive` counts the last pixel of
    a box in its area, as the authors do.
    """
    if len(boxes) == 0:
        none = torch.zeros(0, dtype=torch.long, device=boxes.device)
        background = torch.zeros(len(points.xy), dtype=torch.long, device=boxes.device)
        return Assignment(background, none, none, boxes.new_zeros(0, 4))
    distances = _distances(points.xy, boxes)  # (L, n, 4)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2  # (n, 2)
    radius = (CENTER_RADIUS * points.stride)[:, None, None]  # (L, 1, 1)
    central = torch.cat(
        (
            torch.maximum(centre - radius, boxes[:, :2]),
            torch.minimum(centre + radius, boxes[:, 2:]),
        ),
        dim=2,
    )  # (L, n, 4)
    in_centre = _distances(points.xy, central).amin(dim=2) > 0  # (L, n)
    farthest = distances.amax(dim=2)  # (L, n)
    low, high = points.regress_range[:, :1], points.regress_range[:, 1:]
    in_range = (farthest >= low) & (farthest <= high)

    size = boxes[:, 2:] - boxes[:, :2] + (1 if inclusive else 0)
    area = size.prod(dim=1).expand(len(points.xy), -1)  # (L, n)
    area = torch.where(in_centre & in_range, area, torch.inf)
    smallest, owner = area.min(dim=1)  # (L,)
    positives = smallest.isfinite().nonzero()[:, 0]
    objects = owner[positives]
    assigned = torch.zeros(len(points.xy), dtype=torch.long, device=boxes.device)
    assigned[positives] = labels[objects] + 1
    return Assignment(assigned, positives, objects, distances[positives, objects])


def without_crowds(labels: Tensor, points: Points, ignore: Tensor | None) -> Tensor:
    """Return labels (L,) as `Assignment` has them, with -1 for background in regions of crowds.

    ignore: (H, W), non-zero in those regions; None without any. Beyond it there is no region.
    """
    if ignore is None:
        return labels
    h, w = ignore.shape
    x, y = points.xy.long().unbind(1)
    ignored = (x < w) & (y < h) & (ignore[y.clamp(max=h - 1), x.clamp(max=w - 1)] > 0)
    return torch.where(ignored & (labels == 0), -1, labels)


def known_places(
    points: Points, targets: Sequence[dict[str, Tensor]], labels: Tensor, classes: int
) -> Tensor | None:
    """Return of which class it is known whether a location shows it: (N, L, classes) bool.

    Unknown are the classes that `known_classes` (classes,) of a target leaves out, and a class of
    `unsure_labels` (k,) within the box of `unsure_boxes` (k, 4) that goes with it; the class of a
    location's own target is always known. labels: (N, L) as `Assignment` has them. Return None if
    all is known.
    """
    if not any("known_classes" in t or "unsure_boxes" in t for t in targets):
        return None
    known = torch.ones(*labels.shape, classes, dtype=torch.bool, device=labels.device)
    for of_image, target in zip(known, targets, strict=True):
        if "known_classes" in target:
            of_image &= target["known_classes"]
        if "unsure_boxes" in target:
            inside = _distances(points.xy, target["unsure_boxes"]).amin(dim=2) > 0  # (L, k)
            # Several boxes may be of one class.
            place, box = inside.nonzero(as_tuple=True)
            of_image[place, target["unsure_labels"][box]] = False
    return known | F.one_hot(labels.clamp(min=0), classes + 1)[..., 1:].bool()


def _distances(points: Tensor, boxes: Tensor) -> Tensor:
    """Return left top right bottom (L, n, 4) of points (L, 2) in boxes (n, 4) or (L, n, 4)."""
    points = points[:, None]  # (L, 1, 2)
    return torch.cat((points - boxes[..., :2], boxes[..., 2:] - points), dim=2)


def centerness(distances: Tensor) -> Tensor:
    """Rate left top right bottom (P, 4): (P,) in [0, 1], 1 in the box's centre (FCOS, eq. 3)."""
    left, top, right, bottom = distances.unbind(1)
    horizontal = torch.minimum(left, right) / torch.maximum(left, right)
    vertical = torch.minimum(top, bottom) / torch.maximum(top, bottom)
    return (horizontal * vertical).sqrt()
