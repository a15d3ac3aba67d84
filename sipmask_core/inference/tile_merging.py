"""What several views of an image show, put together: each object whole and once.

Two views show the same object if its masks agree where both look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sipmask_core.instances import Instances
from sipmask_core.mask_crop import MaskCrop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Lowest IoU of the same object in two views. Above a half, no two objects of a view that lie apart
# can both be the same as one of another view.
SAME = 0.5
# An object that ends this near to a border of its view is taken as cut by it: of the view's side.
_MARGIN = 0.01
# From this size on, of the view's side, an object is seen better in the whole image than in a tile.
_LARGE = 0.5


class View(NamedTuple):
    """A part of an image: pixels from (x0, y0) up to, without, (x1, y1)."""

    x0: int
    y0: int
    x1: int
    y1: int

    def shared(self, other: View) -> View:
        """Return what both show; its sides are not positive if that is nothing."""
        lower = map(max, self[:2], other[:2])
        return View(*lower, *map(min, self[2:], other[2:]))

    def around(self, other: View) -> View:
        """Return the smallest view that shows what either does."""
        lower = map(min, self[:2], other[:2])
        return View(*lower, *map(max, self[2:], other[2:]))


class _Found(NamedTuple):
    """An instance of the image, in its pixels. row: its place among all that the views show."""

    row: int
    view: View
    score: float
    label: int
    box: tuple[float, ...]
    crop: MaskCrop


def merge(seen: Sequence[tuple[View, Instances]]) -> Instances:
    """Return the instances of an image from those of its views, of which the first is the whole.

    Each object comes once, see `TiledSegmenter`.
    """
    image = seen[0][0]
    everything = [instances for _, instances in seen]
    good, gap_fillers, pieces = [], [], []
    first = 0
    for view, instances in seen:
        for found in _found(instances, view, first):
            if _is_cut(found, image):
                pieces.append(found)
            elif view == image or not _is_large(found):
                good.append(found)
            else:
                gap_fillers.append(found)
        first += len(instances)
    gap_fillers += [found for found in _joined(pieces) if not _is_cut(found, image)]
    kept: list[_Found] = []
    for found in sorted(good, key=_falling):
        if not any(_are_same(found, other) for other in kept):
            kept.append(found)
    for found in sorted(gap_fillers, key=_falling):
        if not any(_share_place(found, other) for other in kept):
            kept.append(found)
    return _instances(sorted(kept, key=_falling), everything)


def _falling(found: _Found) -> float:
    return -found.score


def _found(instances: Instances, view: View, first: int) -> list[_Found]:
    """Return the instances of a view in the image's pixels, with rows from `first` on."""
    x0, y0 = view[:2]
    moved = (instances.boxes + np.array([x0, y0, x0, y0], np.float32)).tolist()
    return [
        _Found(row, view, score, label, tuple(box), _moved(crop, x0, y0))
        for row, (score, label, box, crop) in enumerate(
            zip(
                instances.scores.tolist(),
                instances.labels.tolist(),
                moved,
                instances.mask_crops,
                strict=True,
            ),
            start=first,
        )
    ]


def _moved(crop: MaskCrop, x: int, y: int) -> MaskCrop:
    return MaskCrop(crop.x + x, crop.y + y, crop.bitmap) if crop.bitmap.size else crop


def _is_cut(found: _Found, image: View) -> bool:
    """Return whether an instance reaches a border of its view that is not one of the image."""
    view, (x0, y0, x1, y1) = found.view, found.box
    beside, above = _MARGIN * (view.x1 - view.x0), _MARGIN * (view.y1 - view.y0)
    return (
        (view.x0 > image.x0 and x0 <= view.x0 + beside)
        or (view.y0 > image.y0 and y0 <= view.y0 + above)
        or (view.x1 < image.x1 and x1 >= view.x1 - beside)
        or (view.y1 < image.y1 and y1 >= view.y1 - above)
    )


def _is_large(found: _Found) -> bool:
    """Return whether an instance fills much of its view's width or height."""
    view, (x0, y0, x1, y1) = found.view, found.box
    return max((x1 - x0) / (view.x1 - view.x0), (y1 - y0) / (view.y1 - view.y0)) >= _LARGE


def _are_same(a: _Found, b: _Found) -> bool:
    """Return whether instances of two views are of one class and agree where both look."""
    if a.label != b.label or a.view == b.view:
        return False
    where = a.view.shared(b.view)
    if not (common := _common(a.crop, b.crop)):
        return False
    either = sum(np.count_nonzero(_part(each.crop, where)) for each in (a, b)) - common
    return bool(common > SAME * either)


def _share_place(a: _Found, b: _Found) -> bool:
    """Return whether instances are of one class and the smaller lies mostly in the larger."""
    if a.label != b.label or not (common := _common(a.crop, b.crop)):
        return False
    return bool(2 * common > min(np.count_nonzero(each.crop.bitmap) for each in (a, b)))


def _common(a: MaskCrop, b: MaskCrop) -> int:
    """Return how many pixels two masks have in common."""
    where = _extent(a).shared(_extent(b))
    if where.x0 >= where.x1 or where.y0 >= where.y1:
        return 0
    return int(np.count_nonzero(_part(a, where) & _part(b, where)))


def _extent(crop: MaskCrop) -> View:
    height, width = crop.bitmap.shape
    return View(crop.x, crop.y, crop.x + width, crop.y + height)


def _part(crop: MaskCrop, where: View) -> NDArray[np.bool_]:
    """Return what of a mask lies in a view."""
    rows = slice(max(0, where.y0 - crop.y), max(0, where.y1 - crop.y))
    return crop.bitmap[rows, max(0, where.x0 - crop.x) : max(0, where.x1 - crop.x)]


def _joined(pieces: Sequence[_Found]) -> list[_Found]:
    """Join the pieces that are the same, directly or through others; leave out the rest."""
    left, joined = dict(enumerate(pieces)), []
    while left:
        group = [left.popitem()[1]]
        for piece in group:  # grows meanwhile
            same = [row for row, other in left.items() if _are_same(piece, other)]
            group += [left.pop(row) for row in same]
        if len(group) > 1:
            joined.append(_union(group))
    return joined


def _union(pieces: Sequence[_Found]) -> _Found:
    """Join pieces of one object; it has the score of the best of them, and that one's row."""
    best = max(pieces, key=lambda piece: piece.score)
    view, extent = best.view, _extent(best.crop)
    for piece in pieces:
        view, extent = view.around(piece.view), extent.around(_extent(piece.crop))
    bitmap = np.zeros((extent.y1 - extent.y0, extent.x1 - extent.x0), bool)
    for piece in pieces:
        x, y = piece.crop.x - extent.x0, piece.crop.y - extent.y0
        height, width = piece.crop.bitmap.shape
        bitmap[y : y + height, x : x + width] |= piece.crop.bitmap
    sides = list(zip(*(piece.box for piece in pieces), strict=True))
    box = min(sides[0]), min(sides[1]), max(sides[2]), max(sides[3])
    return best._replace(view=view, box=box, crop=MaskCrop(extent.x0, extent.y0, bitmap))


def _instances(found: Sequence[_Found], everything: Sequence[Instances]) -> Instances:
    """Return these as Instances, with what else the views' instances carry, by their rows."""
    rows = [each.row for each in found]
    return Instances(
        boxes=np.array([each.box for each in found], np.float32).reshape(-1, 4),
        scores=np.array([each.score for each in found], np.float32),
        labels=np.array([each.label for each in found], np.int64),
        mask_crops=[each.crop for each in found],
        image_size=everything[0].image_size,
        mask_scores=np.concatenate([each.mask_scores for each in everything])[rows],
        embeddings=_embeddings(everything)[rows],
    )


def _embeddings(everything: Sequence[Instances]) -> NDArray[np.float32]:
    """Return (N, E) of all instances; a view without instances may have another E."""
    width = max(each.embeddings.shape[1] for each in everything)
    return np.concatenate([e.embeddings for e in everything if e.embeddings.shape[1] == width])
