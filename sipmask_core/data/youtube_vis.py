"""YouTube-VIS annotations (2019, 2021 and OVIS share the format), checked, and their frames."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from sipmask_core.data.coco import CocoAnnotations, CocoImage, CocoObject, hold_out
from sipmask_core.data.document import Document, Entry, Shape
from sipmask_core.errors import InputError

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Track:
    """One object of a video; `shapes` has one entry per frame, None if it is not visible there."""

    id: int
    label: int
    is_crowd: bool
    shapes: tuple[Shape | None, ...]


@dataclass(frozen=True)
class Video:
    """One video: its annotated frames in order, and what is annotated in them."""

    id: int
    file_names: tuple[str, ...]
    height: int
    width: int
    tracks: tuple[Track, ...]

    @property
    def name(self) -> str:
        """The first frame's path as one word, by which the hold-out tells videos apart."""
        return "-".join(PurePosixPath(self.file_names[0]).parts)


@dataclass(frozen=True)
class VideoAnnotations:
    """A YouTube-VIS file. Label i is `class_names[i]`, in the file `category_ids[i]`."""

    path: Path
    sha256: str
    description: str
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    videos: tuple[Video, ...]

    @property
    def has_tracks(self) -> bool:
        """Whether there is truth to compare results with; of some files only the server has it."""
        return any(video.tracks for video in self.videos)

    def split(self, count: int) -> tuple[VideoAnnotations, VideoAnnotations]:
        """Split into a training and a validation part; the latter holds `count` whole videos.

        `hold_out` chooses them. Neighbouring frames are near copies of each other, so a split by
        frames would measure what the model remembers. Raises InputError unless some videos remain.
        """
        held_out = hold_out([video.name for video in self.videos], count, "videos")
        return tuple(  # type: ignore[return-value]
            replace(self, videos=tuple(v for v in self.videos if (v.name in held_out) is held))
            for held in (False, True)
        )

    def frames(self) -> CocoAnnotations:
        """Return all frames as photographs, for frame by frame evaluation and training.

        Image and annotation ids count from 1; `track_id` of an object is its track's id.
        """
        images: list[CocoImage] = []
        object_id = 0
        for video in self.videos:
            for index, file_name in enumerate(video.file_names):
                objects = []
                for track in video.tracks:
                    if shape := track.shapes[index]:
                        object_id += 1
                        objects.append(
                            CocoObject(
                                id=object_id,
                                label=track.label,
                                bbox=shape.bbox,
                                area=shape.area,
                                segmentation=shape.segmentation,
                                is_crowd=track.is_crowd,
                                track_id=track.id,
                            )
                        )
                images.append(
                    CocoImage(len(images) + 1, file_name, video.height, video.width, tuple(objects))
                )
        return CocoAnnotations(
            path=self.path,
            sha256=self.sha256,
            description=self.description,
            class_names=self.class_names,
            category_ids=self.category_ids,
            images=tuple(images),
        )


def has_videos(path: Path) -> bool:
    """Return whether an annotation file is of videos; raise InputError if it cannot be read."""
    return Document(path).has("videos")


def read_videos(path: Path) -> VideoAnnotations:
    """Read and check a YouTube-VIS file.

    Shapes are polygons or either form of RLE, null for a frame that does not show the object; boxes
    and areas that are missing come from the masks. If only the benchmark's server knows the truth,
    "annotations" may be missing or null. Raises InputError naming file, entry id and field.
    """
    document = Document(path)
    categories = document.categories()
    labels = {category_id: label for label, category_id in enumerate(categories)}
    videos = {entry["id"]: _video(document, entry) for entry in document.entries("videos")}
    seen: set[str] = set()
    for video in videos.values():
        for name in video.file_names:
            if name in seen:
                raise InputError(f"{path}: videos[id={video.id}].file_names has {name} once more.")
            seen.add(name)
    tracks: dict[int, list[Track]] = {video_id: [] for video_id in videos}
    known = document.has("annotations")
    for entry in document.entries("annotations", may_be_empty=True) if known else ():
        video_id = document.reference(entry, "video_id", videos, "videos")
        category_id = document.reference(entry, "category_id", labels, "categories")
        tracks[video_id].append(_track(document, entry, videos[video_id], labels[category_id]))
    return VideoAnnotations(
        path=document.path,
        sha256=document.sha256,
        description=document.description,
        class_names=tuple(categories.values()),
        category_ids=tuple(categories),
        videos=tuple(replace(v, tracks=tuple(tracks[v.id])) for v in videos.values()),
    )


def _video(document: Document, entry: Entry) -> Video:
    names = entry.get("file_names")
    if not isinstance(names, list) or not names or not all(isinstance(n, str) and n for n in names):
        where = document.where(entry, "videos", "file_names")
        raise InputError(f"{where} is not a list of one or more file names.")
    return Video(entry["id"], tuple(names), *document.size(entry, "videos"), tracks=())


def _track(document: Document, entry: Entry, video: Video, label: int) -> Track:
    count = len(video.file_names)
    size = (video.height, video.width)
    per_frame: dict[str, list[Any]] = {}
    for field in ("segmentations", "bboxes", "areas"):
        value = entry.get(field, None if field == "segmentations" else [None] * count)
        if not isinstance(value, list) or len(value) != count:
            given = f"{len(value)} entries" if isinstance(value, list) else repr(value)
            raise InputError(
                f"{document.where(entry, 'annotations', field)} has {given}, expected a list with"
                f" one entry for each of the {count} frames of video {video.id}."
            )
        per_frame[field] = value
    shapes = [
        document.shape(entry, {f"{k}[{i}]": v[i] for k, v in per_frame.items()}, size, True)
        if per_frame["segmentations"][i] is not None
        else None
        for i in range(count)
    ]
    # 0 would read as "unmatched" in the evaluation
    track_id = document.integer(entry, "id", "annotations", minimum=1)
    return Track(track_id, label, document.is_crowd(entry), tuple(shapes))
