"""What should have been seen in a recording, and how well what was seen agrees with it.

Ground truth comes from an InstanceArray topic, keyed by the stamps of its headers, or from a file
in the format of COCO or YouTube-VIS. An image of such a file belongs to the recorded image that
its entry's integer field `stamp` (header stamp in nanoseconds) or `frame` (0 is the topic's first
image) names. Without these fields (for YouTube-VIS: lists `stamps` or `frames` of a video), the
number that its file name ends in counts: from 16 digits on a stamp, otherwise a frame. If some file
names begin with the topic (`file_prefix`), as `sipmask dataset from-bag` makes them, only these
images belong to it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipmask_core.data.coco import CocoAnnotations, CocoImage, CocoObject, read_annotations
from sipmask_core.data.coco_results import coco_results
from sipmask_core.data.document import Document
from sipmask_core.data.shapes import region
from sipmask_core.data.youtube_vis import read_videos
from sipmask_core.errors import InputError
from sipmask_core.evaluation.coco import score
from sipmask_core.evaluation.track_metrics import TrackedFrame, count_tracks
from sipmask_core.instances import UNTRACKED, Instances
from sipmask_ros.bags.file_names import is_of, stamp_or_frame
from sipmask_ros.bags.reader import deserialized
from sipmask_ros.conversions.headers import stamp_nanoseconds
from sipmask_ros.conversions.instances import message_to_instances
from sipmask_ros.msg import InstanceArray

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sipmask_core.data.coco_results import Result
    from sipmask_core.data.fields import Entry
    from sipmask_ros.bags.reader import Bag


@dataclass(frozen=True)
class GroundTruth:
    """Annotated images by the header stamp (ns) or by the frame number of the recorded image."""

    annotations: CocoAnnotations
    by_stamp: dict[int, CocoImage]
    by_frame: dict[int, CocoImage]

    def find(self, frame: int, stamp: int) -> CocoImage | None:
        """Return the annotated image of a recorded one, if there is one."""
        return self.by_stamp.get(stamp) or self.by_frame.get(frame)


def read_truth(path: Path, topic: str) -> GroundTruth:
    """Read ground truth from a COCO or YouTube-VIS file.

    The latter must hold exactly one video of the topic, or exactly one video if none is named after
    the topic. Raise InputError if the file is wrong, or if nothing says which recorded image an
    image is or two are the same one.
    """
    document = Document(path)
    if not document.is_of_videos:
        images = read_annotations(path)
        pairs = list(zip(images.images, document.entries("images"), strict=True))
        own = [pair for pair in pairs if is_of(topic, pair[0].file_name)] or pairs
        images = dataclasses.replace(images, images=tuple(image for image, _ in own))
        return _keyed(images, [entry for _, entry in own])
    everything = read_videos(path)
    of_topic = [v for v in everything.videos if is_of(topic, v.file_names[0])]
    chosen = tuple(of_topic) or everything.videos
    if len(chosen) != 1:
        raise InputError(f"{path} holds {len(chosen)} videos; a recording needs a file with one.")
    annotations = dataclasses.replace(everything, videos=chosen).frames()
    video = document.by_id("videos", lambda _, entry: entry)[chosen[0].id]
    fields = {}
    for field in ("stamp", "frame"):
        values = video.get(f"{field}s")
        if values is not None:
            if not isinstance(values, list) or len(values) != len(annotations.images):
                where = document.where(chosen[0].id, "videos", f"{field}s")
                raise InputError(f"{where} is not a list of {len(annotations.images)} numbers.")
            fields[field] = values
    entries = [
        {field: values[index] for field, values in fields.items()}
        for index in range(len(annotations.images))
    ]
    return _keyed(annotations, entries)


def recorded_truth(bag: Bag, topic: str) -> GroundTruth:
    """Return ground truth from the InstanceArrays of a topic; category ids follow the class names.

    Raise InputError if the topic has no such messages, no instance is in them or one is damaged.
    """
    arrays = list(read_arrays(bag, topic))
    names = sorted({i.class_name for message in arrays for i in message.instances})
    images: dict[int, CocoImage] = {}
    object_id = 0
    for image_id, message in enumerate(arrays, start=1):
        stamp = stamp_nanoseconds(message.header)
        objects = []
        instances = message_to_instances(message)
        for index, rle in enumerate(instances.to_rle()):
            object_id += 1
            x0, y0, x1, y1 = (float(edge) for edge in instances.boxes[index])
            track_id = int(instances.track_ids[index])
            objects.append(
                CocoObject(
                    id=object_id,
                    label=names.index(message.instances[index].class_name),
                    bbox=(x0, y0, x1 - x0, y1 - y0),
                    area=float(instances.mask_crops[index].bitmap.sum()),
                    segmentation=rle,
                    is_crowd=False,
                    track_id=track_id if track_id >= 0 else None,
                )
            )
        height, width = instances.image_size
        images[stamp] = CocoImage(image_id, str(stamp), height, width, tuple(objects))
    if not names:
        raise InputError(f"The topic {topic} of {bag.path} holds no instances to compare with.")
    annotations = CocoAnnotations(
        path=bag.path,
        sha256="",
        description="",
        class_names=tuple(names),
        category_ids=tuple(range(1, len(names) + 1)),
        images=tuple(images.values()),
    )
    return GroundTruth(annotations, images, {})


def read_arrays(bag: Bag, topic: str) -> Iterator[Any]:
    """Yield the InstanceArrays of a topic.

    Raise InputError if the topic has another type or one of them is damaged.
    """
    if bag.topics.get(topic) != "sipmask_ros/msg/InstanceArray":
        known = [t for t, kind in bag.topics.items() if kind == "sipmask_ros/msg/InstanceArray"]
        raise InputError(
            f"{bag.path} has no InstanceArrays on {topic};"
            f" it has some on {', '.join(known) or 'no topic'}."
        )
    for message in bag.messages([topic]):
        yield deserialized(message, InstanceArray)


class Scorer:
    """Compares what is seen in the images of one topic with the ground truth.

    Classes correspond by name; what the truth has no class for is left out. Crowds are scored by
    COCO's rules, and left out of the tracking metrics. Those need an id and a mask for every true
    object. Memory grows with the annotated images. Raises InputError if no class corresponds.
    """

    def __init__(self, truth: GroundTruth, class_names: Sequence[str]) -> None:
        self._truth = truth
        by_name = dict(
            zip(truth.annotations.class_names, truth.annotations.category_ids, strict=True)
        )
        self._category_ids = [by_name.get(name) for name in class_names]
        if class_names and all(category_id is None for category_id in self._category_ids):
            raise InputError(
                f"The ground truth knows {', '.join(list(by_name)[:5])}, none of which is among"
                f" {', '.join(class_names[:5])}."
            )
        self._scored: set[int] = set()
        self._images: list[CocoImage] = []
        self._results: list[Result] = []
        self._true_frames: list[TrackedFrame] = []
        self._frames: list[TrackedFrame] = []
        self._has_ids = True

    def add(self, frame: int, stamp: int, instances: Instances | None) -> None:
        """Take in what was seen in a recorded image; None, for no result, counts as nothing seen.

        An image that was recorded twice counts once. Raise InputError if the sizes differ.
        """
        image = self._truth.find(frame, stamp)
        if image is None or image.id in self._scored:
            return
        if instances is None:
            instances = Instances.empty((image.height, image.width))
        if instances.image_size != (image.height, image.width):
            raise InputError(
                f"Image {frame} has {instances.image_size[0]} x {instances.image_size[1]} pixels,"
                f" its ground truth {image.height} x {image.width} (height x width)."
            )
        self._scored.add(image.id)
        self._images.append(image)
        self._results += coco_results(instances, image.id, self._category_ids)
        tracked = instances[
            [
                index
                for index, (track_id, label) in enumerate(
                    zip(instances.track_ids, instances.labels, strict=True)
                )
                if track_id != UNTRACKED and self._category_ids[label] is not None
            ]
        ]
        self._frames.append(TrackedFrame(tracked.track_ids.tolist(), tracked.to_rle()))
        true = [o for o in image.objects if not o.is_crowd]
        ids = [o.track_id for o in true if o.track_id is not None]
        self._has_ids &= len(ids) == len(true) and all(o.has_mask for o in true)
        if self._has_ids:
            size = (image.height, image.width)
            self._true_frames.append(TrackedFrame(ids, [region(o, size) for o in true]))

    def scores(self) -> dict[str, Any]:
        """Return metrics by kind: segm and bbox as COCO's, tracking as HOTA's and MOTA's authors'.

        annotated_images are those of the ground truth, scored_images those that were recorded.
        """
        everything = self._truth.annotations
        scores: dict[str, Any] = {
            "annotated_images": len(everything.images),
            "scored_images": len(self._images),
        }
        if not self._images:
            return scores
        scored = dataclasses.replace(everything, images=tuple(self._images))
        scores |= score(scored, self._results)
        if self._has_ids:
            scores["tracking"] = count_tracks(self._true_frames, self._frames).metrics()
        return scores


def _keyed(annotations: CocoAnnotations, entries: Sequence[Entry]) -> GroundTruth:
    truth = GroundTruth(annotations, {}, {})
    for image, entry in zip(annotations.images, entries, strict=True):
        kind, number = _key(annotations.path, image, entry)
        images = truth.by_stamp if kind == "stamp" else truth.by_frame
        if number in images:
            raise InputError(
                f"{annotations.path}: {images[number].file_name} and {image.file_name} are both"
                f" for {kind} {number}."
            )
        images[number] = image
    return truth


def _key(path: Path, image: CocoImage, entry: Entry) -> tuple[str, int]:
    for kind in ("stamp", "frame"):
        if (number := entry.get(kind)) is not None:
            if type(number) is not int or number < 0:
                raise InputError(
                    f"{path}: {kind} of {image.file_name} is {number!r}, expected an integer >= 0."
                )
            return kind, number
    key = stamp_or_frame(image.file_name)
    if key is None:
        raise InputError(
            f"{path}: nothing says which recorded image {image.file_name} is; its name must end in"
            " a number or its entry have a field 'stamp' or 'frame'."
        )
    return key
