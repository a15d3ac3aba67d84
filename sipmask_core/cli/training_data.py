"""What a training learns from and is judged on: the options of `sipmask train` about data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sipmask_core.errors import InputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from sipmask_core.data.coco import CocoAnnotations
    from sipmask_core.model.presets import Preset
    from sipmask_core.training.dataset import CocoDataset
    from sipmask_core.training.recipe import Recipe

HOLD_OUT = 200


class TrainingData(NamedTuple):
    """What is trained on, and what is held out for validation.

    validation: images or, of a file of videos, the frames of whole videos; they lie in the folder
    `validation_images`.
    """

    dataset: CocoDataset
    validation: CocoAnnotations
    validation_images: Path


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --annotations, --images, --hold-out, --validation and --validation-images."""
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
    data.add_argument(
        "--hold-out",
        type=count_or_share,
        metavar="N",
        help="images (of a YouTube-VIS file: videos) kept from training for validation, those whose"
        " file name has the smallest SHA-256; below 1, their share, such as 0.1; 0 trains on all"
        f" (default: {HOLD_OUT}, with --validation 0)",
    )
    data.add_argument(
        "--validation",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="COCO instances JSON of other images to validate on, one or more",
    )
    data.add_argument(
        "--validation-images", nargs="+", type=Path, metavar="DIR", help="like --images, for those"
    )


def count_or_share(text: str) -> float:
    """Read a number of images or, below 1, a share. Raise ValueError for anything else."""
    value = float(text)
    if not value >= 0 or (value >= 1 and value != int(value)):
        raise ValueError(text)
    return int(value) if value >= 1 or value == 0 else value


def training_data(args: argparse.Namespace, preset: Preset, recipe: Recipe) -> TrainingData:
    """Read the data that the options name, as the preset and the recipe need them.

    Raise InputError if a file cannot be read, an image is missing, or options do not go together.
    """
    from sipmask_core.data.coco import require_images
    from sipmask_core.data.merge import with_classes
    from sipmask_core.data.youtube_vis import has_videos, read_videos
    from sipmask_core.runtime.distributed import world_size
    from sipmask_core.training.dataset import CACHE_BYTES, CocoDataset, VideoDataset

    if args.validation is None and args.validation_images is not None:
        raise InputError("--validation-images belongs to --validation.")
    if args.validation is not None and args.hold_out:
        raise InputError("--validation and --hold-out each say what to validate on; give one.")
    room = CACHE_BYTES // world_size()
    hold_out = HOLD_OUT if args.hold_out is None and args.validation is None else args.hold_out or 0
    dataset: CocoDataset
    if preset.embedding_channels and has_videos(args.annotations[0]):
        if len(args.annotations) > 1 or len(args.images) > 1:
            raise InputError("Of files of videos, --annotations and --images take one.")
        everything = read_videos(args.annotations[0])
        if not everything.has_tracks:
            raise InputError(f"{args.annotations[0]} has no annotated tracks to learn from.")
        videos, held_out_videos = everything.split(hold_out)
        held_out, folder = held_out_videos.frames(), args.images[0]
        dataset = VideoDataset(videos, folder, recipe.source_side, room)
    else:
        photographs, folder = _read(args.annotations, args.images, "--images")
        photographs, held_out = photographs.split(hold_out)
        dataset = CocoDataset(photographs, folder, recipe.source_side, room)
    if args.validation is not None:
        images = args.validation_images or args.images
        held_out, folder = _read(args.validation, images, "--validation-images")
        held_out = with_classes(held_out, dataset.annotations.class_names)
    require_images(held_out, folder)
    return TrainingData(dataset, held_out, folder)


def _read(
    files: Sequence[Path], folders: Sequence[Path], option: str
) -> tuple[CocoAnnotations, Path]:
    """Read the annotations of all files, and return the folder that file names are relative to."""
    from sipmask_core.data.coco import read_annotations
    from sipmask_core.data.merge import merged

    if len(folders) not in (1, len(files)):
        raise InputError(
            f"{option} names {len(folders)} folders for {len(files)} annotation files; it takes one"
            " for all, or one for each."
        )
    if len(files) == 1:
        return read_annotations(files[0]), folders[0]
    of_each = folders if len(folders) > 1 else [folders[0]] * len(files)
    return merged([(read_annotations(f), d) for f, d in zip(files, of_each, strict=True)]), Path()


def say_what_is_learnt(annotations: CocoAnnotations) -> None:
    """Say how many objects lack a mask, if any do."""
    from sipmask_core.runtime.distributed import say

    with_masks, boxes_alone = annotations.masks
    if boxes_alone and not with_masks:
        say(
            f"None of the {boxes_alone} objects has a mask: this trains a detector of boxes, whose"
            " masks mean nothing."
        )
    elif boxes_alone:
        say(f"{with_masks} objects have masks to learn from, {boxes_alone} a box alone.")
