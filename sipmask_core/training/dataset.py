"""Annotated images served with their masks, for training."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from tqdm import tqdm

from sipmask_core.data.coco import CocoAnnotations, CocoImage, CocoObject, read_annotated_image
from sipmask_core.data.shapes import region
from sipmask_core.training.augmentation.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from sipmask_core.data.youtube_vis import VideoAnnotations

CACHE_BYTES = 8 << 30  # of decoded images kept in memory; those beyond are decoded at each use


class CocoDataset:
    """The images of a COCO file with the objects that can be learnt from.

    `dataset[i]` is the image, (H, W, 3) uint8 BGR, and its `Target`, as the annotations have them
    or, with `max_side`, scaled down so that the long side is at most that many pixels. A crowd with
    a mask is a region to ignore, one without a mask an uncertain object; objects whose annotated
    area is 0 or whose box is less than a pixel wide or high are left out. With `max_side`, images
    are decoded once and stay in memory up to `cache_bytes`. Raise InputError on reading if an image
    is missing, damaged or not of the annotated size; `require_images` tells most of that for all
    images at once.
    """

    def __init__(
        self,
        annotations: CocoAnnotations,
        image_dir: Path,
        max_side: int | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.annotations = annotations
        self.image_dir = Path(image_dir)
        self.max_side = max_side
        self._cache: dict[int, tuple[NDArray[np.uint8], NDArray[np.uint8]]] = {}
        self._cache_room = cache_bytes if max_side is not None else 0

    def __len__(self) -> int:
        return len(self.annotations.images)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], Target]:
        record = self.annotations.images[index]
        objects = learnable(record)
        image, packed = self._cache.get(index) or self._load(index, record, objects)
        h, w = image.shape[:2]
        planes = np.unpackbits(packed, axis=1, count=h * w).reshape(-1, h, w)
        boxes = np.array([o.bbox for o in objects], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        boxes *= np.array([w / record.width, h / record.height] * 2, np.float32)
        return image, Target(
            boxes=boxes,
            labels=np.array([o.label for o in objects], np.int64),
            ids=np.array([o.id if o.track_id is None else o.track_id for o in objects], np.int64),
            masks=planes[:-1],
            has_mask=np.array([o.has_mask for o in objects], bool),
            uncertain=np.array([o.is_crowd for o in objects], bool),
            ignore=planes[-1],
        )

    def fill_cache(self) -> None:
        """Read images ahead, with a progress bar, as long as the cache has room."""
        if not self._cache_room:
            return
        for index in tqdm(range(len(self)), desc="reading images", unit="image", leave=False):
            _ = self[index]
            if index not in self._cache:
                return

    def _load(
        self, index: int, record: CocoImage, objects: list[CocoObject]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Read image (h, w, 3) and bits (n + 1, ceil(h * w / 8)) at the dataset's scale.

        The bits are the objects' masks and, last, what is to be ignored. Cache both if there is
        room.
        """
        image = read_annotated_image(self.image_dir, record)
        scale = min(1.0, (self.max_side or math.inf) / max(image.shape[:2]))
        size = (max(1, round(record.width * scale)), max(1, round(record.height * scale)))
        if scale < 1:
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        packed = np.zeros((len(objects) + 1, math.ceil(size[0] * size[1] / 8)), np.uint8)
        crowds = (o for o in record.objects if o.is_crowd and o.has_mask)
        for row, group in zip(packed, [*([o] for o in objects), crowds], strict=True):
            mask = _united(group, record)  # (H, W)
            if mask is None:
                continue
            if scale < 1:
                mask = cv2.resize(mask * 255, size, interpolation=cv2.INTER_AREA) >= 128  # type: ignore[assignment]
            row[:] = np.packbits(np.ascontiguousarray(mask).reshape(-1))
        size_bytes = image.nbytes + packed.nbytes
        if size_bytes <= self._cache_room:
            self._cache_room -= size_bytes
            self._cache[index] = image, packed
        return image, packed


def learnable(record: CocoImage) -> list[CocoObject]:
    """Return the objects of an image that are training targets, uncertain ones included.

    A crowd with a mask is a region to ignore; one known by a box alone is an uncertain object.
    """
    return [
        o
        for o in record.objects
        if not (o.is_crowd and o.has_mask) and min(o.bbox[2:]) >= 1 and o.area > 0
    ]


def _united(objects: Iterable[CocoObject], record: CocoImage) -> NDArray[np.uint8] | None:
    """Unite the masks of all objects: (H, W), 0 or 1; None if there is no object."""
    size = record.height, record.width
    rles = [region(o, size) for o in objects]
    return coco_mask.decode(coco_mask.merge(rles)) if rles else None


class VideoDataset(CocoDataset):
    """The frames of videos, each with a reference frame that teaches which objects are the same.

    `dataset[i]` is frame i of all videos with its `Target`, whose `ids` are the tracks'.
    """

    def __init__(
        self,
        annotations: VideoAnnotations,
        image_dir: Path,
        max_side: int | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        super().__init__(annotations.frames(), image_dir, max_side, cache_bytes)
        self._candidates: list[list[int]] = []  # per frame: those of its video with objects
        for video in annotations.videos:
            first = len(self._candidates)
            frames = range(first, first + len(video.file_names))
            annotated = [i for i in frames if learnable(self.annotations.images[i])]
            self._candidates += [annotated] * len(frames)

    def reference(self, rng: np.random.Generator, index: int) -> int:
        """Draw another frame of the same video with objects in it, each as likely as the others.

        If no other frame has objects, the frame is its own reference: all its objects are then
        found again, at boxes that are jittered.
        """
        others = [i for i in self._candidates[index] if i != index]
        return others[rng.integers(len(others))] if others else index
