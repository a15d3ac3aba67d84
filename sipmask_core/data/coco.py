"""COCO instance annotations: read once, checked when read, served as images with masks."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypedDict

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from tqdm import tqdm

from sipmask_core.data.rle import checked_rle
from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

CACHE_BYTES = 8 << 30  # of decoded images kept in memory; those beyond are decoded at each use


class Target(TypedDict):
    """The objects of one image.

    boxes: (n, 4) float32, x0 y0 x1 y1 in pixels. labels: (n,) int64, 0-based.
    masks: (n, H, W) uint8, 0 or 1.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    masks: NDArray[np.uint8]


@dataclass(frozen=True)
class CocoObject:
    """One annotation. `bbox` is x, y, width, height in pixels; `label` is 0-based.

    `segmentation` is a list of polygons (x0, y0, x1, y1, ...) or a compressed RLE. A crowd marks a
    region with many objects: scored by COCO's rules, never a training target.
    """

    id: int
    label: int
    bbox: tuple[float, float, float, float]
    area: float
    segmentation: list[list[float]] | dict[str, Any]
    is_crowd: bool


@dataclass(frozen=True)
class CocoImage:
    """One image of the file and what is annotated in it."""

    id: int
    file_name: str
    height: int
    width: int
    objects: tuple[CocoObject, ...]


@dataclass(frozen=True)
class CocoAnnotations:
    """A COCO instance file. Label i is `class_names[i]`, in the file `category_ids[i]`.

    `description` is the file's own word about itself, licence included, "" without one.
    """

    path: Path
    sha256: str
    description: str
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    images: tuple[CocoImage, ...]

    @property
    def image_names_sha256(self) -> str:
        """SHA-256 of the image file names in order: tells the parts of one file apart."""
        return hashlib.sha256(json.dumps([i.file_name for i in self.images]).encode()).hexdigest()

    def files(self, image_dir: Path) -> list[Path]:
        """The image files, in order."""
        return [image_dir / image.file_name for image in self.images]

    def split(self, count: int) -> tuple[CocoAnnotations, CocoAnnotations]:
        """Training and validation part; the latter holds the `count` images of `hold_out`."""
        held_out = hold_out([image.file_name for image in self.images], count)
        return tuple(  # type: ignore[return-value]
            replace(self, images=tuple(i for i in self.images if (i.file_name in held_out) is held))
            for held in (False, True)
        )


def hold_out(file_names: Iterable[str], count: int) -> frozenset[str]:
    """The `count` file names whose SHA-256 is smallest: a split that any machine reproduces.

    The hash is of the name's last component in UTF-8, read as a hexadecimal string, so neither the
    order of the file, nor its folder, nor a random generator matters; images that are added later
    move few others. Raises InputError unless 0 <= count < number of names.
    """
    names = sorted(file_names, key=_name_digest)
    if not 0 <= count < len(names):
        raise InputError(
            f"{count} images cannot be held out of {len(names)};"
            f" a number from 0 to {len(names) - 1} is accepted."
        )
    return frozenset(names[:count])


def _name_digest(file_name: str) -> str:
    return hashlib.sha256(PurePosixPath(file_name).name.encode()).hexdigest()


def read_annotations(path: Path) -> CocoAnnotations:
    """Reads and checks a COCO instance file.

    Polygons, uncompressed and compressed RLE are read; images without objects are kept; labels
    follow the category ids in rising order. Raises InputError naming file, entry id and field.
    """
    try:
        content = Path(path).read_bytes()
        document = json.loads(content)
    except OSError as error:
        raise InputError(f"Cannot read annotations {path}: {error.strerror}.") from error
    except ValueError as error:
        raise InputError(f"Annotations {path} are not valid JSON: {error}.") from error
    reader = _Reader(str(path))
    categories = {
        reader.integer(entry, "id", "categories"): reader.text(entry, "name", "categories")
        for entry in reader.entries(document, "categories")
    }
    category_ids = tuple(sorted(categories))
    labels = {category_id: label for label, category_id in enumerate(category_ids)}
    images: dict[int, CocoImage] = {}
    names: set[str] = set()
    for entry in reader.entries(document, "images"):
        image = reader.image(entry)
        if image.id in images or image.file_name in names:
            raise InputError(f"{path}: image {image.id} ({image.file_name}) is listed twice.")
        images[image.id] = image
        names.add(image.file_name)
    objects: dict[int, list[CocoObject]] = {image_id: [] for image_id in images}
    seen: set[int] = set()
    for entry in reader.entries(document, "annotations"):
        image_id, coco_object = reader.object(entry, images, labels)
        if coco_object.id in seen:
            raise InputError(f"{path}: annotation {coco_object.id} is listed twice.")
        seen.add(coco_object.id)
        objects[image_id].append(coco_object)
    return CocoAnnotations(
        path=Path(path),
        sha256=hashlib.sha256(content).hexdigest(),
        description=reader.description(document),
        class_names=tuple(categories[category_id] for category_id in category_ids),
        category_ids=category_ids,
        images=tuple(replace(i, objects=tuple(objects[i.id])) for i in images.values()),
    )


class _Reader:
    """Field by field checks of one COCO document; every message begins with the file's path."""

    def __init__(self, path: str) -> None:
        self.path = path

    def description(self, document: dict[str, Any]) -> str:
        info = document.get("info")
        description = info.get("description") if isinstance(info, dict) else None
        return description if isinstance(description, str) else ""

    def entries(self, document: Any, section: str) -> list[dict[str, Any]]:
        value = document.get(section) if isinstance(document, dict) else None
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise InputError(f"{self.path}: {section!r} is missing or not a list of objects.")
        if not value and section != "annotations":
            raise InputError(f"{self.path}: {section!r} is empty.")
        return value

    def where(self, entry: dict[str, Any], kind: str, field: str) -> str:
        return f"{self.path}: {kind}[id={entry.get('id')!r}].{field}"

    def integer(self, entry: dict[str, Any], field: str, kind: str, minimum: int = 0) -> int:
        value = entry.get(field)
        if type(value) is not int or value < minimum:
            raise InputError(
                f"{self.where(entry, kind, field)} is {value!r}, expected an integer >= {minimum}."
            )
        return value

    def text(self, entry: dict[str, Any], field: str, kind: str) -> str:
        value = entry.get(field)
        if not isinstance(value, str) or not value:
            raise InputError(f"{self.where(entry, kind, field)} is {value!r}, expected a name.")
        return value

    def numbers(self, value: Any, where: str, count: str, ok: bool) -> list[float]:
        if not ok or not all(type(x) in (int, float) and math.isfinite(x) for x in value):
            raise InputError(f"{where} is {_brief(value)}, expected {count} finite numbers.")
        return [float(x) for x in value]

    def image(self, entry: dict[str, Any]) -> CocoImage:
        return CocoImage(
            id=self.integer(entry, "id", "images"),
            file_name=self.text(entry, "file_name", "images"),
            height=self.integer(entry, "height", "images", minimum=1),
            width=self.integer(entry, "width", "images", minimum=1),
            objects=(),
        )

    def object(
        self, entry: dict[str, Any], images: dict[int, CocoImage], labels: dict[int, int]
    ) -> tuple[int, CocoObject]:
        kind = "annotations"
        image_id = self.integer(entry, "image_id", kind)
        category_id = self.integer(entry, "category_id", kind)
        if image_id not in images:
            raise InputError(
                f"{self.where(entry, kind, 'image_id')} is {image_id}, which 'images' lacks."
            )
        if category_id not in labels:
            raise InputError(
                f"{self.where(entry, kind, 'category_id')} is {category_id},"
                " which 'categories' lacks."
            )
        image = images[image_id]
        segmentation = self.segmentation(entry, image)
        bbox = entry.get("bbox")
        if bbox is None:
            bbox = coco_mask.toBbox(_merged_rle(segmentation, image)).tolist()
        is_four = isinstance(bbox, list) and len(bbox) == 4
        x, y, w, h = self.numbers(bbox, self.where(entry, kind, "bbox"), "four", is_four)
        if w < 0 or h < 0:
            raise InputError(f"{self.where(entry, kind, 'bbox')} has a negative size: {bbox}.")
        area = entry.get("area")
        if area is None:
            area = float(coco_mask.area(_merged_rle(segmentation, image)))
        (area,) = self.numbers([area], self.where(entry, kind, "area"), "one", True)
        is_crowd = entry.get("iscrowd", 0)
        if is_crowd not in (0, 1):
            raise InputError(
                f"{self.where(entry, kind, 'iscrowd')} is {is_crowd!r}, expected 0 or 1."
            )
        return image_id, CocoObject(
            id=self.integer(entry, "id", kind, minimum=1),  # pycocotools reads 0 as "unmatched"
            label=labels[category_id],
            bbox=(x, y, w, h),
            area=area,
            segmentation=segmentation,
            is_crowd=bool(is_crowd),
        )

    def segmentation(
        self, entry: dict[str, Any], image: CocoImage
    ) -> list[list[float]] | dict[str, Any]:
        value = entry.get("segmentation")
        where = self.where(entry, "annotations", "segmentation")
        if isinstance(value, dict):
            return checked_rle(value, (image.height, image.width), where)
        if not isinstance(value, list) or not value:
            raise InputError(f"{where} is {_brief(value)}, expected polygons or an RLE.")
        return [
            self.numbers(
                polygon,
                where,
                "polygons of three or more points, an even number (six or more) of",
                isinstance(polygon, list) and len(polygon) >= 6 and len(polygon) % 2 == 0,
            )
            for polygon in value
        ]


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _merged_rle(segmentation: list[list[float]] | dict[str, Any], image: CocoImage) -> Any:
    """The compressed RLE of one object; its polygons are united."""
    if isinstance(segmentation, dict):
        return segmentation
    return coco_mask.merge(coco_mask.frPyObjects(segmentation, image.height, image.width))


def decoded_mask(coco_object: CocoObject, record: CocoImage) -> NDArray[np.uint8]:
    """(H, W) uint8, 0 or 1, of an object at the size of its image."""
    mask: NDArray[np.uint8] = coco_mask.decode(_merged_rle(coco_object.segmentation, record))
    return mask


def read_image(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 BGR of an image file. Raises InputError when it cannot be decoded."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        state = "cannot be decoded as an image" if path.is_file() else "does not exist"
        raise InputError(f"Image {path} {state}.")
    return image  # type: ignore[return-value]


def read_annotated_image(image_dir: Path, record: CocoImage) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 BGR of an annotated image.

    Raises InputError when it cannot be decoded or has another size than the annotations say, for
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
    """Raises InputError when an image file is missing, before hours of work have gone by."""
    missing = [i for i in annotations.images if not (image_dir / i.file_name).is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(annotations.images)} images that {annotations.path} lists"
            f" are not in {image_dir}, {missing[0].file_name} for one."
        )


class CocoDataset:
    """The images of a COCO file with their objects, crowds left out.

    `dataset[i]` is the image, (H, W, 3) uint8 BGR, and its `Target`, as the annotations have them
    or, with `max_side`, scaled down so that the long side is at most that many pixels. Scaled
    images are decoded once and stay in memory up to `cache_bytes`. Raises InputError on
    construction when an image file is missing, on reading when it is damaged or not of the
    annotated size.
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
        require_images(annotations, self.image_dir)

    def __len__(self) -> int:
        return len(self.annotations.images)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], Target]:
        record = self.annotations.images[index]
        objects = [o for o in record.objects if not o.is_crowd]
        image, packed = self._cache.get(index) or self._load(index, record, objects)
        h, w = image.shape[:2]
        masks = np.unpackbits(packed, axis=1, count=h * w).reshape(-1, h, w)
        boxes = np.array([o.bbox for o in objects], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        boxes *= np.array([w / record.width, h / record.height] * 2, np.float32)
        labels = np.array([o.label for o in objects], np.int64)
        return image, Target(boxes=boxes, labels=labels, masks=masks)

    def fill_cache(self) -> None:
        """Read images ahead, with a progress bar, as long as the cache has room."""
        for index in tqdm(range(len(self)), desc="reading images", unit="image", leave=False):
            _ = self[index]
            if index not in self._cache:
                return

    def _load(
        self, index: int, record: CocoImage, objects: Sequence[CocoObject]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Image (h, w, 3) and masks packed to bits (n, ceil(h * w / 8)), at the dataset's scale."""
        image = read_annotated_image(self.image_dir, record)
        scale = min(1.0, (self.max_side or math.inf) / max(image.shape[:2]))
        size = (max(1, round(record.width * scale)), max(1, round(record.height * scale)))
        if scale < 1:
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        packed = np.zeros((len(objects), math.ceil(size[0] * size[1] / 8)), np.uint8)
        for row, coco_object in zip(packed, objects, strict=True):
            mask = decoded_mask(coco_object, record)  # (H, W)
            if scale < 1:
                mask = cv2.resize(mask * 255, size, interpolation=cv2.INTER_AREA) // 128  # type: ignore[assignment]
            row[:] = np.packbits(np.ascontiguousarray(mask).reshape(-1))
        size_bytes = image.nbytes + packed.nbytes
        if size_bytes <= self._cache_room:
            self._cache_room -= size_bytes
            self._cache[index] = image, packed
        return image, packed
