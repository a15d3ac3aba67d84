"""Images that an EXIF orientation turns, and annotations that do or do not know of it."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

from PIL import ExifTags, Image

from sipmask_core.data.coco import CocoAnnotations
from sipmask_core.data.file_names import image_path
from sipmask_core.data.youtube_vis import VideoAnnotations
from sipmask_core.errors import AvoidableError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TypeVar

    from sipmask_core.data.fields import Size

    Annotations = TypeVar("Annotations", CocoAnnotations, VideoAnnotations)

_TURNED_FORMATS = ("JPEG", "PNG", "WEBP")  # of which OpenCV applies the orientation
_UPRIGHT = 1
_FIRST_ON_ITS_SIDE = 5  # from here to 8, width and height change places


def as_annotated(
    annotations: Annotations, image_dir: Path, ignore_exif: bool = False
) -> Annotations:
    """Return annotations whose images are read the way round that they are annotated.

    Images are turned as their EXIF orientation says; the annotations' notes then have a sentence
    with their number. ignore_exif: read all as they are stored. Raises InputError if the size of an
    image in the annotations is that of the stored pixels, and not of the turned ones.
    """
    if ignore_exif:
        return _stored(annotations)
    if isinstance(annotations, VideoAnnotations):
        images = annotations.frames().images
    else:
        images = annotations.images
    turned = 0
    unaware = []
    for image in images:
        path = image_path(image_dir, image.file_name)
        orientation, size = _orientation(path)
        turned += orientation != _UPRIGHT
        on_its_side = orientation >= _FIRST_ON_ITS_SIDE and size[0] != size[1]
        if on_its_side and size == (image.height, image.width):
            unaware.append(path)
    if unaware:
        raise AvoidableError(
            f"{len(unaware)} of the {turned} images in {image_dir} that an EXIF orientation turns"
            f" are annotated as they are stored, not as they are turned, {unaware[0]} for one.",
            "ignore_exif",
            "reads pixels as they are stored",
        )
    if not turned:
        return annotations
    note = f"Images that are turned as their EXIF orientation says: {turned} of {len(images)}."
    return replace(annotations, notes=(*annotations.notes, note))


def _stored(annotations: Annotations) -> Annotations:
    if isinstance(annotations, VideoAnnotations):
        return replace(
            annotations, videos=tuple(replace(v, as_stored=True) for v in annotations.videos)
        )
    return replace(
        annotations, images=tuple(replace(i, as_stored=True) for i in annotations.images)
    )


def _orientation(path: Path) -> tuple[int, Size]:
    """Return an image's EXIF orientation, 1 to 8, and the stored (H, W), from its first bytes.

    1, upright, if it cannot be told; what is wrong with an image shows when it is decoded.
    """
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")
            exif = Image.Exif()
            if image.format in _TURNED_FORMATS:
                # Not image.getexif(): it also looks at XMP, and OpenCV does not.
                exif.load(image.info.get("exif") or b"")
            value = exif.get(ExifTags.Base.Orientation, _UPRIGHT)
            return (value if value in range(2, 9) else _UPRIGHT), (image.height, image.width)
    except Exception:  # damaged files fail in many ways
        return _UPRIGHT, (0, 0)
