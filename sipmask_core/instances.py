"""What a segmenter returns: parallel arrays, one entry per instance."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from sipmask_core.mask_crop import MaskCrop, crop_of, encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

UNTRACKED = -1
_NOT_GIVEN: NDArray[Any] = np.zeros((0, 0))


def _not_given() -> NDArray[Any]:
    """Stand for a field that is to be made of the scores, as its metadata say."""
    return _NOT_GIVEN


class TrackState(IntEnum):
    """Where a track is in its life (TRACK_* of sipmask_ros/Instance)."""

    NONE = 0
    NEW = 1
    CONFIRMED = 2
    LOST = 3


@dataclass(frozen=True)
class Instances:
    """The instances found in one image, by falling score.

    boxes: (N, 4) float32, x0 y0 x1 y1 in pixels of the input image, sub-pixel.
    scores: (N,) float32, in [0, 1], descending.
    mask_scores: (N,) float32; equals `scores` unless the preset re-scores masks (SipMask++).
    labels: (N,) int64, 0-based class index.
    mask_crops: N mask crops, each cut to the pixels that the mask can cover.
    image_size: (H, W) of the input image.
    track_ids: (N,) int64, -1 if untracked.
    track_states: (N,) uint8, a TrackState. track_ages: (N,) int64, frames since the track was born.
    embeddings: (N, E) float32, by which a tracker recognises objects; E is 0 unless the preset has
        a track branch.

    Raises ValueError if the arrays disagree in length or shape.

    >>> import numpy as np
    >>> import sipmask_core as sm
    >>> found = sm.Instances(
    ...     boxes=np.array([[8, 4, 12, 6], [0, 0, 3, 3]], np.float32),
    ...     scores=np.array([0.9, 0.4], np.float32),
    ...     labels=np.array([0, 2]),
    ...     mask_crops=[
    ...         sm.MaskCrop(8, 4, np.ones((2, 4), bool)),
    ...         sm.MaskCrop(0, 0, np.eye(3, dtype=bool)),
    ...     ],
    ...     image_size=(10, 20),
    ... )
    >>> found.masks.shape, found.masks.sum(axis=(1, 2))
    ((2, 10, 20), array([8, 3]))
    >>> sure = found[found.scores > 0.5]
    >>> len(sure), sure.boxes.tolist()
    (1, [[8.0, 4.0, 12.0, 6.0]])
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    mask_crops: Sequence[MaskCrop]
    image_size: tuple[int, int]
    mask_scores: NDArray[np.float32] = field(
        default_factory=_not_given, metadata={"make": lambda scores: scores}
    )
    track_ids: NDArray[np.int64] = field(
        default_factory=_not_given,
        metadata={"make": lambda scores: np.full(len(scores), UNTRACKED, np.int64)},
    )
    track_states: NDArray[np.uint8] = field(
        default_factory=_not_given,
        metadata={"make": lambda scores: np.zeros(len(scores), np.uint8)},
    )
    track_ages: NDArray[np.int64] = field(
        default_factory=_not_given,
        metadata={"make": lambda scores: np.zeros(len(scores), np.int64)},
    )
    embeddings: NDArray[np.float32] = field(
        default_factory=_not_given,
        metadata={"make": lambda scores: np.zeros((len(scores), 0), np.float32)},
    )

    def __post_init__(self) -> None:
        for each in fields(self):
            if getattr(self, each.name) is _NOT_GIVEN:
                object.__setattr__(self, each.name, each.metadata["make"](self.scores))
        after_n = {"boxes": (4,), "embeddings": self.embeddings.shape[-1:]}
        for name, value in self._per_instance():
            actual = value.shape if isinstance(value, np.ndarray) else (len(value),)
            expected = (len(self), *after_n.get(name, ()))
            if actual != expected:
                raise ValueError(f"Instances.{name} has shape {actual}, expected {expected}.")

    def _per_instance(self) -> Iterator[tuple[str, Any]]:
        """Yield the name and the value of each field that has an entry per instance."""
        return (
            (each.name, getattr(self, each.name))
            for each in fields(self)
            if each.name != "image_size"
        )

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: NDArray[Any] | slice | list[int]) -> Instances:
        """Pick instances by a slice, an index array or a boolean mask, in that order."""
        chosen = np.arange(len(self))[index]
        picked: dict[str, Any] = {
            name: value[chosen] if isinstance(value, np.ndarray) else [value[i] for i in chosen]
            for name, value in self._per_instance()
        }
        return replace(self, **picked)

    @classmethod
    def from_masks(
        cls,
        masks: ArrayLike,
        scores: ArrayLike,
        labels: ArrayLike,
        boxes: ArrayLike | None = None,
    ) -> Instances:
        """Make instances of whole masks (N, H, W), of which all but zero is object.

        scores, labels: (N,), in any order; the instances are sorted by falling score. boxes: (N, 4)
        x0 y0 x1 y1; None for those that the masks just fill. Raises ValueError if the shapes do not
        go together.
        """
        whole = np.asarray(masks)
        if whole.ndim != 3:
            raise ValueError(f"masks have shape {whole.shape}, expected (N, H, W).")
        crops = [crop_of(mask) for mask in whole]
        if boxes is None:
            boxes = [(x, y, x + bits.shape[1], y + bits.shape[0]) for x, y, bits in crops]
        unsorted = cls(
            boxes=np.asarray(boxes, np.float32).reshape(-1, 4),
            scores=np.asarray(scores, np.float32),
            labels=np.asarray(labels, np.int64),
            mask_crops=crops,
            image_size=whole.shape[1:],
        )
        return unsorted[np.argsort(-unsorted.scores, kind="stable")]

    @classmethod
    def empty(cls, image_size: tuple[int, int]) -> Instances:
        """Return no instances, for an image of (H, W) pixels."""
        return cls(
            boxes=np.zeros((0, 4), np.float32),
            scores=np.zeros(0, np.float32),
            labels=np.zeros(0, np.int64),
            mask_crops=[],
            image_size=image_size,
        )

    @property
    def masks(self) -> NDArray[np.bool_]:
        """The full masks, (N, H, W) bool, made on each access: N x H x W bytes."""
        canvas = np.zeros((len(self), *self.image_size), bool)
        for mask, (x, y, bitmap) in zip(canvas, self.mask_crops, strict=True):
            h, w = bitmap.shape
            mask[y : y + h, x : x + w] = bitmap
        return canvas

    def to_rle(self) -> list[dict[str, Any]]:
        """Encode each mask as a COCO compressed RLE: {"size": [H, W], "counts": str}."""
        size = list(self.image_size)
        counts = encode(self.mask_crops, self.image_size)
        return [{"size": size.copy(), "counts": text} for text in counts]
