"""What a training learns from and is judged on: the options of `sipmask train` about data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sipmask_core.cli.annotation_options import add_reading_arguments, say_notes
from sipmask_core.errors import InputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import TypeVar

    from sipmask_core.data.coco import CocoAnnotations
    from sipmask_core.data.youtube_vis import VideoAnnotations
    from sipmask_core.model.presets import Preset
    from sipmask_core.training.dataset import CocoDataset
    from sipmask_core.training.recipe import Recipe

    Annotations = TypeVar("Annotations", CocoAnnotations, VideoAnnotations)

HOLD_OUT_SHARE = 0.1
MOST_HELD_OUT = 500  # by default: more images cost more time than they make figures surer


class TrainingData(NamedTuple):
    """What is trained on, and what is held out for validation.

    validation: images or, of a file of videos, the frames of whole videos; they lie in the folder
    `validation_images`.
    """

    dataset: CocoDataset
    validation: CocoAnnotations
    validation_images: Path


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options about the data to learn from and those to validate on."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--annotations",
        required=True,
        nargs="+",
        type=Path,
        metavar="FILE",
        help="COCO instances JSON, one or more; for a video preset also YouTube-VIS JSON",
    )
    data.add_argument(
        "--images",
        required=True,
        nargs="+",
        type=Path,
        metavar="DIR",
        help="folder of their images: one for all, or one for each of --annotations",
    )
    add_reading_arguments(data)
    validation = parser.add_argument_group("validation")
    validation.add_argument(
        "--validation",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="COCO instances JSON of other images to validate on, one or more",
    )
    validation.add_argument(
        "--validation-images",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="like --images, for those (default: --images)",
    )
    validation.add_argument(
        "--hold-out",
        type=count_or_share,
        metavar="N",
        help="images (with a YouTube-VIS file: videos) to keep for validation, chosen by hash of"
        " the file name: a number, or below 1 a share, such as 0.1; 0 trains on all"
        f" (default: {HOLD_OUT_SHARE:.0%}, at most {MOST_HELD_OUT}; with --validation 0)".replace(
            "%", "%%"
        ),
    )


def count_or_share(text: str) -> float:
    """Read a number of images or, below 1, a share. Raise ValueError for anything else."""
    value = float(text)
    if not value >= 0 or (value >= 1 and value != int(value)):
        raise ValueError(text)
    return int(value) if value >= 1 or value == 0 else value


def split(annotations: Annotations, hold_out: float) -> tuple[Annotations, Annotations]:
    """Split into what is learnt from and what --hold-out keeps; InputError names the option."""
    try:
        return annotations.split(hold_out)
    except InputError as error:
        raise InputError(f"--hold-out: {error}") from None


def training_data(args: argparse.Namespace, preset: Preset, recipe: Recipe) -> TrainingData:
    """Read the data that the options name, as the preset and the recipe need them.

    Raise InputError if a file cannot be read, an image is missing, or options do not go together.
    """
    from sipmask_core.data.merge import with_classes
    from sipmask_core.data.orientation import as_annotated
    from sipmask_core.data.youtube_vis import has_videos, read_videos
    from sipmask_core.runtime.distributed import world_size
    from sipmask_core.training.dataset import CACHE_BYTES, CocoDataset, VideoDataset

    if args.validation is None and args.validation_images is not None:
        raise InputError("--validation-images belongs to --validation.")
    if args.validation is not None and args.hold_out:
        raise InputError("--validation and --hold-out each say what to validate on; give one.")
    room = CACHE_BYTES // world_size()
    dataset: CocoDataset
    if preset.embedding_channels and has_videos(args.annotations[0]):
        if len(args.annotations) > 1 or len(args.images) > 1:
            raise InputError("Of files of videos, --annotations and --images take one.")
        everything = read_videos(args.annotations[0], skip_invalid=args.skip_invalid)
        if not everything.has_tracks:
            raise InputError(f"{args.annotations[0]} has no annotated tracks to learn from.")
        everything = as_annotated(everything, args.images[0], args.ignore_exif)
        say_notes(everything.notes)
        videos, held_out_videos = split(everything, _hold_out(args, len(everything.videos)))
        held_out, folder = held_out_videos.frames(), args.images[0]
        dataset = VideoDataset(videos, folder, recipe.source_side, room)
    else:
        photographs, folder = _read(args, args.annotations, args.images, "--images")
        photographs, held_out = split(photographs, _hold_out(args, len(photographs.images)))
        dataset = CocoDataset(photographs, folder, recipe.source_side, room)
    if args.validation is not None:
        images = args.validation_images or args.images
        held_out, folder = _read(args, args.validation, images, "--validation-images")
        held_out = with_classes(held_out, dataset.annotations.class_names)
    return TrainingData(dataset, held_out, folder)


def _hold_out(args: argparse.Namespace, count: int) -> float:
    """Return the --hold-out of so many images or videos; say which it is if it was not given."""
    from sipmask_core.runtime.distributed import say

    if args.hold_out is not None or args.validation is not None:
        return args.hold_out or 0
    held = min(MOST_HELD_OUT, max(1, round(HOLD_OUT_SHARE * count))) if count > 1 else 0
    say(f"Held out for validation: {held} of {count}, as by --hold-out {held}.")
    return held


def _read(
    args: argparse.Namespace, files: Sequence[Path], folders: Sequence[Path], option: str
) -> tuple[CocoAnnotations, Path]:
    """Read the annotations of all files, and return the folder that file names are relative to."""
    from sipmask_core.data.coco import read_annotations
    from sipmask_core.data.document import OtherFormatError
    from sipmask_core.data.merge import merged
    from sipmask_core.data.orientation import as_annotated

    if len(folders) not in (1, len(files)):
        raise InputError(
            f"{option} names {len(folders)} folders for {len(files)} annotation files; it takes one"
            " for all, or one for each."
        )
    parts = []
    of_each = folders if len(folders) > 1 else [folders[0]] * len(files)
    for file, folder in zip(files, of_each, strict=True):
        try:
            part = read_annotations(file, skip_invalid=args.skip_invalid)
        except OtherFormatError as error:
            raise InputError(f"{error} Only a preset for videos learns from those.") from None
        part = as_annotated(part, folder, args.ignore_exif)
        say_notes(part.notes)
        parts.append((part, folder))
    return parts[0] if len(parts) == 1 else (merged(parts), Path())
