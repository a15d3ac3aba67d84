"""Images that an EXIF orientation turns, and annotations that do or do not know of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sipmask_core.data.coco import CocoAnnotations, require_images
from sipmask_core.data.youtube_vis import VideoAnnotations
from sipmask_core.errors import AvoidableError
from sipmask_core.imaging.first_look import UPRIGHT

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TypeVar

    Annotations = TypeVar("Annotations", CocoAnnotations, VideoAnnotations)


def as_annotated(
    annotations: Annotations, image_dir: Path, ignore_exif: bool = False
) -> Annotations:
    """Look at all images, and return annotations by which they are read the way round they should.

    Images are turned as their EXIF orientation says; the annotations' notes then have a sentence
    with their number. ignore_exif: read all as they are stored. Raises InputError as
    `require_images` does, and if the size of an image in the annotations is that of the stored
    pixels, and not of the turned ones.
    """
    frames = annotations.frames() if isinstance(annotations, VideoAnnotations) else annotations
    looks = require_images(frames, image_dir)
    if ignore_exif:
        return _stored(annotations)
    turned = sum(look.orientation != UPRIGHT for look in looks)
    unaware = [
        look.path
        for image, look in zip(frames.images, looks, strict=True)
        if look.is_on_its_side and look.size == (image.height, image.width)
    ]
    if unaware:
        raise AvoidableError(
            f"{len(unaware)} of the {turned} images in {image_dir} that an EXIF orientation turns"
            f" are annotated as they are stored, not as they are turned, {unaware[0]} for one.",
            "ignore_exif",
            "reads pixels as they are stored",
        )
    if not turned:
        return annotations
    note = f"Images that are turned as their EXIF orientation says: {turned} of {len(looks)}."
    return replace(annotations, notes=(*annotations.notes, note))


def _stored(annotations: Annotations) -> Annotations:
    if isinstance(annotations, VideoAnnotations):
        return replace(
            annotations, videos=tuple(replace(v, as_stored=True) for v in annotations.videos)
        )
    return replace(
        annotations, images=tuple(replace(i, as_stored=True) for i in annotations.images)
    )
