"""YouTube-VIS annotations (2019, 2021 and OVIS share the format), checked, and their frames."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from sipmask_core.data.coco import CocoAnnotations, CocoImage, CocoObject
from sipmask_core.data.document import Document, OtherFormatError
from sipmask_core.data.fields import Field, image_size, is_crowd
from sipmask_core.data.hold_out import hold_out
from sipmask_core.data.problems import Invalid

if TYPE_CHECKING:
    from sipmask_core.data.fields import Entry
    from sipmask_core.data.shapes import Shape


@dataclass(frozen=True)
class Track:
    """One object of a video; `shapes` has one entry per frame, None if it is not visible there.

    `id`: its place among the tracks of its file, from 1.
    """

    id: int
    label: int
    is_crowd: bool
    shapes: tuple[Shape | None, ...]


@dataclass(frozen=True)
class Video:
    """One video: its annotated frames in order, and what is annotated in them.

    `as_stored`: see `CocoImage`.
    """

    id: int
    file_names: tuple[str, ...]
    height: int
    width: int
    tracks: tuple[Track, ...]
    as_stored: bool = False

    @property
    def name(self) -> str:
        """The first frame's path as one word, by which the hold-out tells videos apart."""
        return "-".join(PurePosixPath(self.file_names[0]).parts)


@dataclass(frozen=True)
class VideoAnnotations:
    """A YouTube-VIS file. Label i is `class_names[i]`, in the file `category_ids[i]`.

    `notes` are sentences about what was found in the file that is no error but should be told.
    """

    path: Path
    sha256: str
    description: str
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    videos: tuple[Video, ...]
    notes: tuple[str, ...] = ()

    @property
    def has_tracks(self) -> bool:
        """Whether there is truth to compare results with; of some files only the server has it."""
        return any(video.tracks for video in self.videos)

    def split(self, count: float) -> tuple[VideoAnnotations, VideoAnnotations]:
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
                    CocoImage(
                        id=len(images) + 1,
                        file_name=file_name,
                        height=video.height,
                        width=video.width,
                        objects=tuple(objects),
                        as_stored=video.as_stored,
                    )
                )
        return CocoAnnotations(
            path=self.path,
            sha256=self.sha256,
            description=self.description,
            class_names=self.class_names,
            category_ids=self.category_ids,
            images=tuple(images),
            notes=self.notes,
        )


def has_videos(path: Path) -> bool:
    """Return whether an annotation file is of videos; raise InputError if it cannot be read."""
    return Document(path).is_of_videos


def read_videos(path: Path, *, skip_invalid: bool = False) -> VideoAnnotations:
    """Read and check a YouTube-VIS file, which may be compressed by gzip.

    Shapes are polygons or either form of RLE, null or an empty list for a frame that does not show
    the object; boxes and areas that are missing come from the masks. If only the benchmark's server
    knows the truth, "annotations" may be missing or null.

    skip_invalid: leave out tracks that cannot be used, and note their number and kinds. Raises
    InputError that names the file, what is wrong in which ways, and the first five ids of each.
    """
    document = Document(path)
    if document.has("images") and not document.has("videos"):
        raise OtherFormatError(f"{path} is a COCO file, of images: 'videos' is missing.")
    categories = document.categories()
    seen: set[str] = set()

    def video(number: int, entry: Entry) -> Video:
        record = _video(number, entry)
        for name in record.file_names:
            if name in seen:
                raise Invalid("a file twice", f".file_names has {name} once more")
            seen.add(name)
        return record

    videos = document.by_id("videos", video)
    tracks: dict[int, list[Track]] = {}
    if document.has("annotations"):

        def read(number: int, entry: Entry, record: Video, label: int) -> Track:
            return _track(document, number, entry, record, label)

        tracks = document.annotated("videos", videos, categories, read, skip_invalid)
    return VideoAnnotations(
        path=document.path,
        sha256=document.sha256,
        description=document.description,
        class_names=tuple(categories.values()),
        category_ids=tuple(categories),
        videos=tuple(replace(v, tracks=tuple(tracks.get(v.id, ()))) for v in videos.values()),
        notes=tuple(document.notes),
    )


def _video(number: int, entry: Entry) -> Video:
    names = entry.get("file_names")
    if not isinstance(names, list) or not names or not all(isinstance(n, str) and n for n in names):
        raise Invalid("file_names", ".file_names is not a list of one or more file names")
    return Video(number, tuple(names), *image_size(entry), tracks=())


def _per_frame(entry: Entry, name: str, video: Video) -> list[Field]:
    """Read a list with an entry for each frame; all but masks may be missing."""
    count = len(video.file_names)
    value = entry.get(name)
    if value is None and name != "segmentations":
        value = [None] * count
    if not isinstance(value, list) or len(value) != count:
        given = f"{len(value)} entries" if isinstance(value, list) else repr(value)
        raise Invalid(
            f"{name} per frame",
            f".{name} has {given}, expected a list with one entry for each of the {count}"
            f" frames of video {video.id}",
        )
    return [Field(f"{name}[{i}]", of_frame) for i, of_frame in enumerate(value)]


def _track(document: Document, number: int, entry: Entry, video: Video, label: int) -> Track:
    fields = (_per_frame(entry, name, video) for name in ("segmentations", "bboxes", "areas"))
    shapes = tuple(
        document.shape(mask, bbox, area, (video.height, video.width)) if mask.value else None
        for mask, bbox, area in zip(*fields, strict=True)
    )
    return Track(number, label, is_crowd(entry), shapes)
