"""Instances in the results formats of COCO and YouTube-VIS, and as a file while they come in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sipmask_core.classes import category_ids
from sipmask_core.files import PiecewiseWriter, pending_path, writing
from sipmask_core.instances import UNTRACKED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import ExitStack

    from sipmask_core.instances import Instances


Result = dict[str, Any]


def coco_results(
    instances: Instances, image_id: int, category_ids: Sequence[int | None]
) -> list[Result]:
    """The instances of one image as COCO results; label i has category id i, None leaves it out.

    A result has image_id, category_id, bbox (x, y, width, height), segmentation (compressed RLE)
    and score, by which masks are ranked. Where the model rates masks on their own (SipMask++),
    box_score is the score of the detection, by which boxes are ranked. One that is tracked has
    track_id.
    """
    results = []
    for index, rle in enumerate(instances.to_rle()):
        category_id = category_ids[instances.labels[index]]
        if category_id is None:
            continue
        x0, y0, x1, y1 = (float(edge) for edge in instances.boxes[index])
        score, mask_score = float(instances.scores[index]), float(instances.mask_scores[index])
        result: Result = {
            "image_id": image_id,
            "category_id": category_id,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "score": mask_score,
            "segmentation": rle,
        }
        if score != mask_score:
            result["box_score"] = score
        if instances.track_ids[index] != UNTRACKED:
            result["track_id"] = int(instances.track_ids[index])
        results.append(result)
    return results


def youtube_vis_results(
    frames: Iterable[Instances], video_id: int, category_ids: Sequence[int | None]
) -> list[Result]:
    """The tracked instances of one video as YouTube-VIS results, one per track id.

    frames: the instances of every frame, in order; untracked ones are left out, and the last one
    counts where two of a frame share an id. Label i has category id i of `category_ids`; tracks
    with None there are left out. A result has video_id, category_id (of the label that most frames
    give, the lowest on a tie), score (mean over the frames that show the object) and segmentations:
    per frame a compressed RLE, or None.
    """
    tracks: dict[int, dict[int, tuple[float, int, dict[str, Any]]]] = {}
    number = 0
    for frame, instances in enumerate(frames):
        number = frame + 1
        parts = zip(
            instances.track_ids.tolist(),
            instances.mask_scores.tolist(),
            instances.labels.tolist(),
            instances.to_rle(),
            strict=True,
        )
        for track_id, score, label, rle in parts:
            if track_id != UNTRACKED:
                tracks.setdefault(track_id, {})[frame] = (score, label, rle)

    results = []
    for seen in tracks.values():
        scores, labels, _ = zip(*seen.values(), strict=True)
        category_id = category_ids[int(np.bincount(labels).argmax())]
        if category_id is None:
            continue
        results.append(
            {
                "video_id": video_id,
                "category_id": category_id,
                "score": sum(scores) / len(scores),
                "segmentations": [
                    seen[frame][2] if frame in seen else None for frame in range(number)
                ],
            }
        )
    return results


class ResultsFile(PiecewiseWriter):
    """A COCO instances file with scores: annotations, images, categories and provenance.

    `pycocotools.coco.COCO(path)` opens it, and its "annotations" are what `loadRes` takes: the
    results of `coco_results` with an id and an area.
    Categories have COCO's ids where all classes are COCO's and are counted from 1 otherwise;
    likewise, an image whose file name is a number, as in COCO, has that number as its id.

    Annotations go straight to disk, so that memory grows only by one short record per image. Use it
    as a context manager and call `finish` last: the file appears under its name when the block ends
    well. Raises InputError where the file cannot be written.
    """

    def __init__(self, path: Path | str, class_names: Sequence[str]) -> None:
        self.path = Path(path)
        self.images: list[dict[str, Any]] = []
        self.annotation_count = 0
        self._class_names = class_names
        self._category_ids = category_ids(class_names)
        self._image_ids: set[int] = set()
        self._next_id = 1

    def _open(self, stack: ExitStack) -> None:
        temporary = stack.enter_context(pending_path(self.path))
        self._file = stack.enter_context(temporary.open("w", encoding="utf-8"))
        self._file.write('{"annotations": [')

    def add(self, file_name: str, instances: Instances, image_id: int | None = None) -> None:
        """Append the instances of one image; an id that is given must be new."""
        if image_id is None:
            image_id = self._new_image_id(file_name)
        self._image_ids.add(image_id)
        height, width = instances.image_size
        self.images.append(
            {"id": image_id, "file_name": file_name, "height": height, "width": width}
        )
        results = coco_results(instances, image_id, self._category_ids)
        for result, mask in zip(results, instances.mask_crops, strict=True):
            annotation = {
                "id": self.annotation_count + 1,
                **result,
                "area": int(mask.bitmap.sum()),
                "iscrowd": 0,
            }
            separator = ",\n" if self.annotation_count else "\n"
            with writing(self.path):
                self._file.write(separator + json.dumps(annotation))
            self.annotation_count += 1

    def finish(self, provenance: dict[str, Any]) -> None:
        """Write what follows the annotations; the last call."""
        categories = [
            {"id": number, "name": name}
            for number, name in zip(self._category_ids, self._class_names, strict=True)
        ]
        tail = {"images": self.images, "categories": categories, "provenance": provenance}
        with writing(self.path):
            self._file.write("\n],\n" + json.dumps(tail, indent=1)[1:].lstrip() + "\n")

    def _new_image_id(self, file_name: str) -> int:
        stem = Path(file_name).stem
        image_id = int(stem) if stem.isascii() and stem.isdigit() else self._next_id
        while image_id in self._image_ids:
            image_id = self._next_id
            self._next_id += 1
        return image_id
