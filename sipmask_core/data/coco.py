"""COCO instance annotations: read once, checked when read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from sipmask_core.data.document import Document, Entry, Polygons
from sipmask_core.errors import InputError
from sipmask_core.image_files import read_image, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

NAMED_IMAGES = 50  # damaged ones whose names a refusal gives


@dataclass(frozen=True)
class CocoObject:
    """One annotation. `bbox` is x, y, width, height in pixels; `label` is 0-based.

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
    """

    id: int
    file_name: str
    height: int
    width: int
    objects: tuple[CocoObject, ...]
    known_labels: frozenset[int] | None = None

    def knows(self, label: int) -> bool:
        """Return whether it is known which objects of that class the image shows."""
        return self.known_labels is None or label in self.known_labels


@dataclass(frozen=True)
class CocoAnnotations:
    """A COCO instance file. Label i is `class_names[i]`, in the file `category_ids[i]`.

    `description` is what the file says about itself, licence included; "" if it says nothing.
    `has_truth` is false for a list of images alone, whose annotations a benchmark's server keeps.
    """

    path: Path
    sha256: str
    description: str
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    images: tuple[CocoImage, ...]
    has_truth: bool = True

    @property
    def image_names_sha256(self) -> str:
        """SHA-256 of the image file names in order, which tells the parts of one file apart."""
        return hashlib.sha256(json.dumps([i.file_name for i in self.images]).encode()).hexdigest()

    def files(self, image_dir: Path) -> list[Path]:
        """Return the image files, in order."""
        return [image_dir / image.file_name for image in self.images]

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


def hold_out(file_names: Iterable[str], count: float, what: str = "images") -> frozenset[str]:
    """Choose the file names whose SHA-256 is smallest: a split that any machine reproduces.

    count: how many names are held out or, if below 1, the share of all possible digests, so that an
    image is held out of every file that lists it or of none. The hash is of the name's last
    component in UTF-8, as a hexadecimal string, so neither the order of the file, nor its folder,
    nor a random generator matters; images that are added later move few others or, with a share,
    none. Raises InputError unless some names remain; `what` says in its message what they name.
    """
    names = sorted(file_names, key=_name_digest)
    held = sum(int(_name_digest(n), 16) < count * 2**256 for n in names) if 0 < count < 1 else count
    if not (0 <= held < len(names) and held == int(held)):
        raise InputError(
            f"{count} {what} cannot be held out of {len(names)}; a number from 0 to"
            f" {len(names) - 1} is accepted, or a share below 1 that leaves some."
        )
    return frozenset(names[: int(held)])


def _name_digest(file_name: str) -> str:
    return hashlib.sha256(PurePosixPath(file_name).name.encode()).hexdigest()


def read_annotations(path: Path, *, need_truth: bool = True) -> CocoAnnotations:
    """Read and check a COCO instance file; without need_truth it may lack "annotations".

    Polygons, uncompressed and compressed RLE are read; images without objects are kept; labels
    follow the category ids in rising order; a box or area that is missing comes from the mask.
    Objects without a mask, or with one that the file marks as doubtful (`iscrowd` beside a
    `voc_box`), are known by their box alone. Raises InputError naming file, entry id and field.
    """
    document = Document(path)
    categories = document.categories()
    labels = {category_id: label for label, category_id in enumerate(categories)}
    images: dict[int, CocoImage] = {}
    names: set[str] = set()
    for entry in document.entries("images"):
        file_name = document.text(entry, "file_name", "images")
        image = CocoImage(entry["id"], file_name, *document.size(entry, "images"), objects=())
        if image.file_name in names:
            raise InputError(f"{path}: image {image.id} ({image.file_name}) is listed twice.")
        images[image.id] = image
        names.add(image.file_name)
    objects: dict[int, list[CocoObject]] = {image_id: [] for image_id in images}
    has_truth = need_truth or document.has("annotations")
    for entry in document.entries("annotations", may_be_empty=True) if has_truth else ():
        image_id = document.reference(entry, "image_id", images, "images")
        category_id = document.reference(entry, "category_id", labels, "categories")
        objects[image_id].append(_object(document, entry, images[image_id], labels[category_id]))
    return CocoAnnotations(
        path=document.path,
        sha256=document.sha256,
        description=document.description,
        class_names=tuple(categories.values()),
        category_ids=tuple(categories),
        images=tuple(replace(i, objects=tuple(objects[i.id])) for i in images.values()),
        has_truth=has_truth,
    )


def _object(document: Document, entry: Entry, image: CocoImage, label: int) -> CocoObject:
    values = {field: entry.get(field) for field in ("segmentation", "bbox", "area")}
    is_crowd = document.is_crowd(entry)
    if is_crowd and entry.get("voc_box") is not None:
        # One object, whose mask includes what it touches.
        values = {"segmentation": None, "voc_box": entry["voc_box"], "area": None}
        is_crowd = False
    shape = document.shape(entry, values, (image.height, image.width))
    return CocoObject(
        # pycocotools reads 0 as "unmatched"
        id=document.integer(entry, "id", "annotations", minimum=1),
        label=label,
        bbox=shape.bbox,
        area=shape.area,
        segmentation=shape.segmentation,
        is_crowd=is_crowd,
        track_id=_track_id(entry),
    )


def _track_id(entry: Entry) -> int | None:
    """Read the field `track_id`, here or among CVAT's attributes; None unless it is an integer."""
    attributes = entry.get("attributes")
    for fields in (entry, attributes if isinstance(attributes, dict) else {}):
        if type(track_id := fields.get("track_id")) is int:
            return track_id
    return None


def read_annotated_image(image_dir: Path, record: CocoImage) -> NDArray[np.uint8]:
    """Read an annotated image as (H, W, 3) uint8 BGR.

    Raises InputError if it cannot be decoded or has another size than the annotations say, for
    masks of different sizes cannot be compared.
    """
    image = read_image(image_dir / record.file_name)
    if image.shape[:2] != (record.height, record.width):
        raise InputError(
            f"Image {image_dir / record.file_name} has {image.shape[0]} x {image.shape[1]} pixels,"
            f" the annotations say {record.height} x {record.width} (height x width)."
        )
    return image


def require_images(annotations: CocoAnnotations, image_dir: Path) -> None:
    """Raise InputError if image files are missing or damaged, before hours of work have gone by.

    Damaged ones are all named, up to NAMED_IMAGES. Damage amid a file shows only when it is read.
    """
    files = annotations.files(image_dir)
    missing = [i for i in annotations.images if not (image_dir / i.file_name).is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(annotations.images)} images that {annotations.path} lists"
            f" are not in {image_dir}, {missing[0].file_name} for one."
        )
    damaged = unreadable(files)
    if damaged:
        more = len(damaged) - NAMED_IMAGES
        raise InputError(
            f"{len(damaged)} of {len(files)} images that {annotations.path} lists cannot be read. "
            + " ".join(damaged[:NAMED_IMAGES])
            + (f" And {more} more." if more > 0 else "")
        )
