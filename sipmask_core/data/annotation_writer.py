"""Write a data set: images and what was found in them, for a person to correct and train on."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import cv2
from pycocotools import mask as coco_mask

from sipmask_core.data.classes import category_ids
from sipmask_core.data.polygons import mask_polygons
from sipmask_core.data.shapes import merged_rle
from sipmask_core.errors import InputError
from sipmask_core.instances import UNTRACKED
from sipmask_core.runtime.files import PiecewiseWriter, atomic_path, make_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from sipmask_core.data.fields import Entry
    from sipmask_core.instances import Instances

Form = Literal["coco", "youtube-vis"]
ImageFormat = Literal["jpg", "png"]
JPEG_MAGIC, PNG_MAGIC = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class Recorded:
    """An image that can be added to a data set.

    source: the camera or video from which it comes. name: of its file, without suffix. seconds:
    when it was taken. decode: gives (H, W, 3) uint8 BGR or raises InputError. encoded: a JPEG or
    PNG of exactly these pixels, which is stored as it is; None if there is none.
    """

    source: str
    name: str
    seconds: float
    decode: Callable[[], NDArray[np.uint8]]
    encoded: bytes | None = None


class AnnotationWriter(PiecewiseWriter):
    """A new data set: `folder`/images and, when the block ends, `folder`/annotations.json.

    If the block ends with an error, the file has the images up to there. If no image was added,
    nothing is left of the data set.

    form: "coco": each image stands for itself; instances become polygons, see `mask_polygons`.
        "youtube-vis": the images of a source are a video; tracks become lists of RLEs, and
        instances without a track id are left out.
    image_format: of images that come without an encoded form.

    Track ids are counted from 1 over all sources. Empty masks are left out. Memory grows with the
    annotations, about 1 kB for each object in an image.
    Raises InputError if `folder` has something in it or cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        form: Form,
        class_names: Sequence[str],
        image_format: ImageFormat = "jpg",
    ) -> None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder} exists; a data set is written to a new or empty folder.")
        self.path = self.folder = folder
        self.info: Entry = {}  # what the file says about itself
        self.image_count = 0
        self.object_count = 0
        self._suffix = f".{image_format}"
        self._class_names = class_names
        self._category_ids = category_ids(class_names)
        self._tracks: dict[tuple[str, int], int] = {}
        self._sections = (_Images if form == "coco" else _Videos)(self._category_ids)

    @property
    def annotations(self) -> Path:
        """The annotation file."""
        return self.folder / "annotations.json"

    @property
    def images(self) -> Path:
        """The folder of the images."""
        return self.folder / "images"

    @property
    def track_count(self) -> int:
        """The number of tracks."""
        return len(self._tracks)

    def _open(self, stack: ExitStack) -> None:
        self._was_there = self.folder.exists()
        make_folder(self.images)
        stack.callback(self._finish)

    def check(self, source: str, image: NDArray[np.uint8]) -> None:
        """Raise InputError if a video's image has another size than those before."""
        self._sections.check(source, (image.shape[0], image.shape[1]))

    def add(self, recorded: Recorded, image: NDArray[np.uint8], instances: Instances) -> None:
        """Append a decoded image and the instances found in it. Its name must be new."""
        encoded, suffix = recorded.encoded, self._suffix
        if encoded is None:
            quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if suffix == ".jpg" else []
            encoded = cv2.imencode(suffix, image, quality)[1].tobytes()
        else:
            suffix = ".png" if encoded.startswith(PNG_MAGIC) else ".jpg"
        file_name = f"{recorded.name}{suffix}"
        with atomic_path(self.images / file_name) as temporary:
            temporary.write_bytes(encoded)
        numbers = [
            self._tracks.setdefault((recorded.source, track_id), len(self._tracks) + 1)
            if track_id != UNTRACKED
            else None
            for track_id in instances.track_ids.tolist()
        ]
        self.object_count += self._sections.add(recorded, file_name, instances, numbers)
        self.image_count += 1

    def _finish(self) -> None:
        if not self.image_count:
            shutil.rmtree(self.images if self._was_there else self.folder, ignore_errors=True)
            return
        categories = [
            {"id": number, "name": name}
            for number, name in zip(self._category_ids, self._class_names, strict=True)
        ]
        sections = {**self._sections.entries(), "categories": categories}
        lines = [f'"info": {json.dumps(self.info)}']
        for section, entries in sections.items():
            lines.append(f'"{section}": [\n' + ",\n".join(map(json.dumps, entries)) + "\n]")
        with atomic_path(self.annotations) as temporary:
            temporary.write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")


class _Images:
    """Collects the sections of a COCO file."""

    def __init__(self, category_ids: list[int]) -> None:
        self._category_ids = category_ids
        self._images: list[Entry] = []
        self._annotations: list[Entry] = []

    def check(self, source: str, size: tuple[int, int]) -> None:
        """Accept the image: COCO's images may differ in size."""

    def add(
        self, recorded: Recorded, file_name: str, instances: Instances, tracks: list[int | None]
    ) -> int:
        """Add an image; return how many annotations it has."""
        height, width = instances.image_size
        image_id = len(self._images) + 1
        self._images.append(
            {"id": image_id, "file_name": file_name, "height": height, "width": width}
        )
        before = len(self._annotations)
        for index, mask in enumerate(instances.mask_crops):
            polygons = mask_polygons(mask)
            if not polygons:
                continue
            rle = merged_rle(polygons, (height, width))
            annotation: Entry = {
                "id": len(self._annotations) + 1,
                "image_id": image_id,
                "category_id": self._category_ids[instances.labels[index]],
                "iscrowd": 0,
                "bbox": coco_mask.toBbox(rle).tolist(),
                "area": int(coco_mask.area(rle)),
                "score": round(float(instances.mask_scores[index]), 4),
            }
            if (track := tracks[index]) is not None:
                # CVAT keeps it in the attributes.
                annotation |= {"track_id": track, "attributes": {"track_id": track}}
            self._annotations.append({**annotation, "segmentation": polygons})
        return len(self._annotations) - before

    def entries(self) -> dict[str, list[Entry]]:
        """Return the entries of each section except the categories."""
        return {"images": self._images, "annotations": self._annotations}


class _Videos:
    """Collects the sections of a YouTube-VIS file."""

    def __init__(self, category_ids: list[int]) -> None:
        self._category_ids = category_ids
        self._videos: dict[str, Entry] = {}
        # For each track, its video and, for each frame that shows it, label, score and RLE.
        self._tracks: dict[int, tuple[Entry, dict[int, tuple[int, float, Any]]]] = {}

    def check(self, source: str, size: tuple[int, int]) -> None:
        """Raise InputError if the image has another size than those before: a video has one."""
        video = self._videos.get(source)
        if video is not None and size != (video["height"], video["width"]):
            raise InputError(
                f"It has {size[0]} x {size[1]} pixels, the images of {source} before it"
                f" {video['height']} x {video['width']} (height x width); a video has one size."
            )

    def add(
        self, recorded: Recorded, file_name: str, instances: Instances, tracks: list[int | None]
    ) -> int:
        """Add a frame; return how many tracks it shows."""
        height, width = instances.image_size
        video = self._videos.setdefault(
            recorded.source,
            {"id": len(self._videos) + 1, "name": recorded.source, "height": height}
            | {"width": width, "length": 0, "file_names": []},
        )
        frame = video["length"]
        video["length"] += 1
        video["file_names"].append(file_name)
        count = 0
        parts = zip(tracks, instances.mask_crops, instances.to_rle(), strict=True)
        for index, (track, mask, rle) in enumerate(parts):
            if track is not None and mask.bitmap.any():
                shown = self._tracks.setdefault(track, (video, {}))[1]
                label, score = int(instances.labels[index]), float(instances.mask_scores[index])
                shown[frame] = label, score, rle
                count += 1
        return count

    def entries(self) -> dict[str, list[Entry]]:
        """Return the entries of each section except the categories."""
        annotations = []
        for track, (video, shown) in self._tracks.items():
            rles = [shown[i][2] if i in shown else None for i in range(video["length"])]
            labels = Counter(label for label, _, _ in shown.values())
            annotations.append(
                {
                    "id": track,
                    "video_id": video["id"],
                    "category_id": self._category_ids[labels.most_common(1)[0][0]],
                    "iscrowd": 0,
                    "score": round(sum(score for _, score, _ in shown.values()) / len(shown), 4),
                    "bboxes": [rle and coco_mask.toBbox(rle).tolist() for rle in rles],
                    "areas": [rle and int(coco_mask.area(rle)) for rle in rles],
                    "segmentations": rles,
                }
            )
        return {"videos": list(self._videos.values()), "annotations": annotations}
