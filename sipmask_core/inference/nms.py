"""Non-maximum suppression within classes, on the CPU and only as far as detections are wanted.

Whether a box survives depends only on better ones of its class, so boxes are taken in blocks by
falling score until enough have survived. Classes share a block, so that the number of operations
does not grow with the number of classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FAST_NMS_PER_CLASS = 200
# Boxes of the first and of the largest block: each block is twice as large as the one before.
FIRST_BLOCK = 64
LARGEST_BLOCK = 512


def suppress(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    labels: NDArray[np.int64],
    threshold: float,
    wanted: int,
    kind: Literal["greedy", "fast"],
) -> NDArray[np.int64]:
    """Return the indices of the survivors, by falling score.

    They are at least the best `wanted` and all that tie with the last of these; all survivors if
    there are fewer. boxes: (N, 4) x0 y0 x1 y1; scores and labels: (N,). A better box of its class
    suppresses a box if their IoU is above `threshold`. "greedy": only survivors suppress. "fast":
    all do, and a class has no more than its best `FAST_NMS_PER_CLASS` boxes (Bolya et al.,
    "YOLACT", ICCV 2019). Boxes of equal score are ordered by label, then by index.
    """
    order = np.lexsort((labels, -scores))
    if kind == "fast":
        ranks = _ranks(labels[order])
        allowed = ranks < FAST_NMS_PER_CLASS
        order, ranks = order[allowed], ranks[allowed]
    scores = scores[order]
    sides = np.ascontiguousarray(boxes[order].T)  # (4, N)
    areas = (sides[2] - sides[0]) * (sides[3] - sides[1])
    labels = labels[order]

    def falls(by: NDArray[np.int64], which: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether boxes `by` (n, 1) or (n, m), if better, suppress boxes (m,): (n, m)."""
        iou = _iou(sides[:, by], areas[by], sides[:, which], areas[which])
        # torchvision's NMS compares in double; in the matrix form NaN, the IoU of two boxes
        # without an area, counts as overlap.
        high = iou > np.float64(threshold) if kind == "greedy" else ~(iou <= np.float32(threshold))
        high &= labels[by] == labels[which]
        high &= by < which
        return high

    kept = np.zeros(0, np.int64)
    start, size = 0, FIRST_BLOCK
    while start < len(order) and (
        len(kept) < wanted or scores[start] in scores[kept[wanted - 1 : wanted]]
    ):
        block = np.arange(start, min(start + size, len(order)))
        left = block[~falls(kept[:, None], block).any(axis=0)]
        if kind == "greedy":
            left = left[_greedy(falls(left[:, None], left))]
        elif start <= LARGEST_BLOCK:
            left = left[~falls(np.arange(block[-1])[:, None], left).any(axis=0)]
        else:  # many: compare each with those of its class alone
            better = _by_class(labels, ranks)[: ranks[left].max(initial=0), labels[left]]
            left = left[~falls(better, left).any(axis=0)]
        kept = np.concatenate((kept, left))
        start, size = start + size, min(2 * size, LARGEST_BLOCK)
    return order[kept]


def _greedy(falls: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which of n boxes survive (n,).

    Row i of falls (n, n) says which boxes i suppresses if it survives itself. In each round only
    the survivors of the round before suppress, until nothing changes.
    """
    survives: NDArray[np.bool_] = ~np.any(falls, axis=0)
    before: NDArray[np.bool_] | None = None
    while before is None or not np.array_equal(before, survives):
        before, survives = survives, ~np.any(falls[survives], axis=0)
    return survives


def _ranks(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count how many of the same label come before each (N,)."""
    by_label = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    ranks = np.empty_like(labels)
    ranks[by_label] = np.arange(len(labels)) - np.repeat(counts.cumsum() - counts, counts)
    return ranks


def _by_class(labels: NDArray[np.int64], ranks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Arrange indices by rank and label, (most of a class, classes); the last index fills gaps."""
    shape = (ranks.max(initial=-1) + 1, labels.max(initial=-1) + 1)
    table = np.full(shape, len(labels) - 1)
    table[ranks, labels] = np.arange(len(labels))
    return table


def _iou(
    a: NDArray[np.float32],
    areas_a: NDArray[np.float32],
    b: NDArray[np.float32],
    areas_b: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Compute the IoU (n, m) of boxes (4, n, 1) or (4, n, m) and (4, m) with these areas."""
    width = np.minimum(a[2], b[2])
    width -= np.maximum(a[0], b[0])
    height = np.minimum(a[3], b[3])
    height -= np.maximum(a[1], b[1])
    common = np.maximum(width, 0, out=width)
    common *= np.maximum(height, 0, out=height)
    either = areas_a + areas_b
    either -= common
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.divide(common, either, out=common)
