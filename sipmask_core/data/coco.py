"""COCO instance annotations: read once, checked when read."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from sipmask_core.data.document import Document, OtherFormatError
from sipmask_core.data.fields import Field, as_whole_number, image_size, is_crowd, text
from sipmask_core.data.file_names import image_path, similar_file
from sipmask_core.data.hold_out import hold_out
from sipmask_core.data.problems import Invalid
from sipmask_core.errors import InputError
from sipmask_core.imaging.first_look import look_at
from sipmask_core.imaging.image_files import read_image
from sipmask_core.runtime.signatures import first_bytes, other_kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from sipmask_core.data.fields import Entry
    from sipmask_core.data.shapes import Polygons
    from sipmask_core.imaging.first_look import FirstLook

NAMED_IMAGES = 50  # damaged ones whose names a refusal gives


@dataclass(frozen=True)
class CocoObject:
    """One annotation. `bbox` is x, y, width, height in pixels; `label` is 0-based.

    `id` differs from those of all other objects; a file's objects are counted from 1 in its order.
    `segmentation` is a list of polygons (x0, y0, x1, y1, ...), a compressed RLE, or None: then the
    object is known by its box alone. A crowd marks a region with many objects: it is scored by
    COCO's rules and is never a training target. `track_id` says which object of a video it is; None
    for photographs.
    """

    id: int
    label: int
    bbox: tuple[float, float, float, float]
    area: float
    segmentation: Polygons | dict[str, Any] | None
    is_crowd: bool
    track_id: int | None = None

    @property
    def has_mask(self) -> bool:
        """Whether its mask is known, not only its box."""
        return self.segmentation is not None


@dataclass(frozen=True)
class CocoImage:
    """One image of the file and what is annotated in it.

    `known_labels`: the classes of which all objects are annotated; None for all classes. Of other
    classes nothing is known: neither that the image shows one nor that it shows none.
    `as_stored`: its annotations are about the pixels of the file, not about the picture that an
    EXIF orientation in it makes of them.
    """

    id: int
    file_name: str
    height: int
    width: int
    objects: tuple[CocoObject, ...]
    known_labels: frozenset[int] | None = None
    as_stored: bool = False

    def knows(self, label: int) -> bool:
        """Return whether it is known which objects of that class the image shows."""
        return self.known_labels is None or label in self.known_labels


@dataclass(frozen=True)
class CocoAnnotations:
    """A COCO instance file. Label i is `class_names[i]`, in the file `category_ids[i]`.

    `description` is what the file says about itself, licence included; "" if it says nothing.
    `has_truth` is false for a list of images alone, whose annotations a benchmark's server keeps.
    `notes` are sentences about what was found in the file that is no error but should be told.
    `text_ids`: the ids of images here for those that are texts in the file.
    """

    path: Path
    sha256: str
    description: str
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    images: tuple[CocoImage, ...]
    has_truth: bool = True
    notes: tuple[str, ...] = ()
    text_ids: Mapping[str, int] = field(default_factory=dict)

    @property
    def image_names_sha256(self) -> str:
        """SHA-256 of the image file names in order, which tells the parts of one file apart."""
        return hashlib.sha256(json.dumps([i.file_name for i in self.images]).encode()).hexdigest()

    def files(self, image_dir: Path) -> list[Path]:
        """Return the image files, in order."""
        return [image_path(image_dir, image.file_name) for image in self.images]

    @property
    def masks(self) -> tuple[int, int]:
        """How many objects have a mask, and how many only a box; crowds are not counted."""
        has = [o.has_mask for image in self.images for o in image.objects if not o.is_crowd]
        return sum(has), len(has) - sum(has)

    def split(self, count: float) -> tuple[CocoAnnotations, CocoAnnotations]:
        """Split into a training and a validation part, which holds the images of `hold_out`."""
        held_out = hold_out([image.file_name for image in self.images], count)
        return tuple(  # type: ignore[return-value]
            replace(self, images=tuple(i for i in self.images if (i.file_name in held_out) is held))
            for held in (False, True)
        )


def read_annotations(
    path: Path, *, need_truth: bool = True, skip_invalid: bool = False
) -> CocoAnnotations:
    """Read and check a COCO instance file; without need_truth it may lack "annotations".

    Polygons, uncompressed and compressed RLE are read; images without objects are kept; labels
    follow the category ids in rising order; a box or area that is missing comes from the mask.
    Objects without a mask, or with one that the file marks as doubtful (`iscrowd` beside a
    `voc_box`), are known by their box alone; an annotation with an empty box and no mask is no
    object. In files of LVIS, an image knows only the classes that it says to know. The file may be
    compressed by gzip.

    skip_invalid: leave out objects that cannot be used, and note their number and kinds. Raises
    InputError that names the file, what is wrong in which ways, and the first five ids of each.
    """
    document = Document(path)
    if document.is_of_videos:
        raise OtherFormatError(f"{path} is a YouTube-VIS file, of videos: 'images' is missing.")
    categories = document.categories()
    entries: dict[int, Entry] = {}
    names: set[str] = set()

    def image(number: int, entry: Entry) -> CocoImage:
        entries[number] = entry
        height, width = image_size(entry)
        record = CocoImage(number, _file_name(entry), height, width, objects=())
        if record.file_name in names:
            raise Invalid(
                "a file twice", f".file_name is {record.file_name}, which is listed twice"
            )
        names.add(record.file_name)
        return record

    images = document.by_id("images", image)
    objects: dict[int, list[CocoObject]] = {}
    has_truth = need_truth or document.has("annotations")
    if has_truth:

        def read(number: int, entry: Entry, record: CocoImage, label: int) -> CocoObject | None:
            return _object(document, number, entry, record, label)

        objects = document.annotated("images", images, categories, read, skip_invalid)
    for number, record in images.items():
        of_image = tuple(objects.get(number, ()))
        known = _known_labels(entries[number], of_image, categories)
        images[number] = replace(record, objects=of_image, known_labels=known)
    return CocoAnnotations(
        path=document.path,
        sha256=document.sha256,
        description=document.description,
        class_names=tuple(categories.values()),
        category_ids=tuple(categories),
        images=tuple(images.values()),
        has_truth=has_truth,
        notes=tuple(document.notes),
        text_ids=document.numbers["images"],
    )


def _file_name(entry: Entry) -> str:
    """Read the name of an image's file; LVIS gives only the address, whose end it is."""
    if entry.get("file_name") or not isinstance(entry.get("coco_url"), str):
        return text(entry, "file_name")
    folder_and_name = PurePosixPath(unquote(urlsplit(entry["coco_url"]).path)).parts[-2:]
    return "/".join(part for part in folder_and_name if part != "/") or text(entry, "file_name")


def _known_labels(
    entry: Entry, objects: tuple[CocoObject, ...], categories: dict[int, str]
) -> frozenset[int] | None:
    """Return the classes of which all objects are annotated; None for all, unless LVIS says so.

    There, these are the classes that were looked for, except those whose objects are too many.
    """
    absent, unfinished = (
        {as_whole_number(number) for number in numbers} if isinstance(numbers, list) else None
        for numbers in map(entry.get, ("neg_category_ids", "not_exhaustive_category_ids"))
    )
    if absent is None or unfinished is None:
        return None
    present = {o.label for o in objects}
    return frozenset(
        label
        for label, number in enumerate(categories)
        if (label in present or number in absent) and number not in unfinished
    )


def _object(
    document: Document, number: int, entry: Entry, image: CocoImage, label: int
) -> CocoObject | None:
    mask, bbox, area = (Field(name, entry.get(name)) for name in ("segmentation", "bbox", "area"))
    crowd = is_crowd(entry)
    if crowd and entry.get("voc_box") is not None:
        # One object, whose mask includes what it touches.
        mask, area = mask._replace(value=None), area._replace(value=None)
        bbox = Field("voc_box", entry["voc_box"])
        crowd = False
    shape = document.shape(mask, bbox, area, (image.height, image.width))
    if shape is None:
        return None
    return CocoObject(
        id=number,
        label=label,
        bbox=shape.bbox,
        area=shape.area,
        segmentation=shape.segmentation,
        is_crowd=crowd,
        track_id=_track_id(entry),
    )


def _track_id(entry: Entry) -> int | None:
    """Read the field `track_id`, here or among CVAT's attributes; None unless it is an integer.

    Of larger ones, such as hashes, 63 bits are kept: they go into tensors.
    """
    attributes = entry.get("attributes")
    for fields in (entry, attributes if isinstance(attributes, dict) else {}):
        if type(track_id := fields.get("track_id")) is int:
            return track_id if abs(track_id) < 1 << 63 else track_id % (1 << 63)
    return None


def read_annotated_image(image_dir: Path, record: CocoImage) -> NDArray[np.uint8]:
    """Read an annotated image as (H, W, 3) uint8 BGR.

    Raises InputError if it cannot be decoded or has another size than the annotations say, for
    masks of different sizes cannot be compared.
    """
    path = image_path(image_dir, record.file_name)
    image = read_image(path, record.as_stored)
    if image.shape[:2] != (record.height, record.width):
        raise InputError(
            f"Image {path} has {image.shape[0]} x {image.shape[1]} pixels,"
            f" the annotations say {record.height} x {record.width} (height x width)."
        )
    return image


def require_images(annotations: CocoAnnotations, image_dir: Path) -> list[FirstLook]:
    """Look at all image files, in order, before hours of work go by.

    Raise InputError if `image_dir` is no folder or if some are missing or damaged. Damaged ones are
    all named, up to NAMED_IMAGES; damage amid a file shows only when it is read, that amid a JPEG
    perhaps not even then. It is also raised if two images are the same file, which their names only
    seem to tell apart.
    """
    if not os.path.isdir(image_dir):  # noqa: PTH112 -- Path.is_dir raises for names too long
        kind = other_kind(first_bytes(image_dir)) if os.path.isfile(image_dir) else ""  # noqa: PTH113
        what = f"is {kind}" if kind else "is no folder that is there"
        raise InputError(f"{image_dir} {what}; expected the folder of the images.")
    files: dict[Path, CocoImage] = {}
    missing = []
    for image in annotations.images:
        path = image_path(image_dir, image.file_name)
        if not os.path.isfile(path):  # noqa: PTH113 -- Path.is_file raises for names too long
            missing.append(image)
        elif files.setdefault(path, image) is not image:
            raise InputError(
                f"{annotations.path} lists {files[path].file_name} and {image.file_name}, and for"
                f" both there is only {path}."
            )
    if missing:
        name = missing[0].file_name
        similar = similar_file(image_dir, name)
        raise InputError(
            f"{len(missing)} of {len(annotations.images)} images that {annotations.path} lists"
            f" are not in {image_dir}, {name} for one{f'; {similar} is there' if similar else ''}."
        )
    looks = look_at(files)
    damaged = [look.defect for look in looks if look.defect]
    if damaged:
        more = len(damaged) - NAMED_IMAGES
        raise InputError(
            f"{len(damaged)} of {len(files)} images that {annotations.path} lists cannot be read. "
            + " ".join(damaged[:NAMED_IMAGES])
            + (f" And {more} more." if more > 0 else "")
        )
    return looks
