"""Make a training data set from a recording or video, or add what another model finds.

examples:
  sipmask dataset from-bag drive.mcap --output drive/ --rate 1
  sipmask dataset from-video street.mp4 --output street/ --every 10 --skip-similar
  sipmask evaluate coco --annotations drive/annotations.json --images drive/images
  sipmask train --annotations drive/annotations.json --images drive/images --output run/ \\
      --checkpoint best.safetensors --hold-out 20
  sipmask dataset pseudo --annotations people.json --found detections.json --output all.json
  sipmask dataset from-bag --help
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipmask_core.cli.dataset_selection import SIMILAR, Selection
from sipmask_core.cli.options import (
    add_model_arguments,
    add_setting,
    importing_bags,
    load_predictor,
    model_files,
    naming_options,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sipmask_core.data.annotation_writer import Recorded
    from sipmask_core.video import Frame, Frames

SUMMARY = "make a training data set from a bag or video, or add what another model finds"

_FORMS = """\
Writes images/ and annotations.json into the new folder --output, ready for `sipmask train`,
`sipmask evaluate coco` (or youtube-vis) and `sipmask evaluate bag --ground-truth`.

--format coco: each object is one or more polygons, which annotation tools such as CVAT and Label
Studio can import and edit; a slit without width joins a hole to the outline. An outline has as few
corners as keep an IoU of 0.97 with the mask. `score` and `track_id` are stored with it, the latter
also under `attributes`, where CVAT looks for it.
--format youtube-vis: each camera or video is a video, each object a track of compressed RLEs.
Objects too uncertain to get an id are left out.

Boxes and areas are those of the masks. The tracker sees only the images that are taken: the fewer
per second, the worse it recognises objects. Ctrl-C keeps what is done.
"""

_FROM_BAG = f"""\
{_FORMS}
An image is named after its topic and its stamp in nanoseconds, so the corrected file is ground
truth for the same bag. A compressed image is stored as it was recorded. From a damaged bag,
everything readable is used, and the exit status is 1.

examples:
  sipmask dataset from-bag drive.mcap --output drive/ --rate 1 --skip-similar
  sipmask dataset from-bag drive/ --topic /left/image_raw --topic /right/image_raw --output both/
  sipmask evaluate bag drive.mcap --ground-truth drive/annotations.json    after correction
"""

_FROM_VIDEO = f"""\
{_FORMS}
An image is named after the video and the number of the frame, counted from 0. Frames of a folder
are encoded again.

examples:
  sipmask dataset from-video street.mp4 --output street/ --every 10
  sipmask dataset from-video street.mp4 --output street/ --format youtube-vis --limit 100
  sipmask dataset from-video /dev/video0 --output desk/ --rate 0.5 --limit 200 --skip-similar
"""

_PSEUDO = """\
Add to annotations what another model, the teacher, finds in the same images, to train on classes
that nobody has annotated there.

A box that scores at least --use becomes an object without a mask, which teaches class and box only.
One that scores at least --unsure becomes a crowd without a mask: within it, training learns neither
that there is an object of that class nor that there is none. Lower scores, and boxes that overlap
an annotated object of their class by three tenths of the smaller one, are dropped. The file then
counts as annotated for all classes that the teacher knows: everything else is background.

--found takes COCO's results format (a list of objects with image_id, category_id, bbox and score),
the output of `sipmask predict --json`, which names images and classes, or one object with
"categories" as in a COCO file and "boxes", which maps each file name without suffix to lists
[category_id, x, y, width, height, score].

examples:
  sipmask dataset pseudo --annotations people.json --found detections.json --output all.json
  sipmask dataset pseudo --annotations images.json --found boxes.json --use 0.45 --unsure 0.3 \\
      --output boxes_alone.json
  sipmask train --annotations masks.json all.json --images photos/ --output run/ ...
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the kinds of `sipmask dataset` and their options."""
    kinds = parser.add_subparsers(title="sources", metavar="SOURCE", required=True)
    bag = _add_kind(kinds, "from-bag", "a recording of ROS 2", _FROM_BAG, _from_bag)
    bag.add_argument("recording", type=Path, metavar="BAG", help=".mcap, .db3 or a bag's folder")
    bag.add_argument(
        "--topic",
        action="append",
        default=[],
        metavar="NAME",
        help="images, raw or compressed; by default the bag's only such topic; may be repeated",
    )
    _add_options(bag)
    video = _add_kind(kinds, "from-video", "a video, camera or stream", _FROM_VIDEO, _from_video)
    video.add_argument(
        "input", metavar="INPUT", help="video, folder of frames, camera (/dev/video0) or stream"
    )
    _add_options(video)
    _add_pseudo(kinds)


def _add_pseudo(kinds: Any) -> None:
    pseudo = _add_kind(
        kinds, "pseudo", "annotations, and the boxes that another model finds", _PSEUDO, _pseudo
    )
    add = pseudo.add_argument
    add("--annotations", required=True, type=Path, metavar="FILE", help="COCO instances JSON")
    add("--found", required=True, type=Path, metavar="FILE", help="what the other model finds")
    add("--output", required=True, type=Path, metavar="FILE", help="COCO instances JSON to write")
    add(
        "--use",
        type=float,
        default=0.5,
        metavar="S",
        help="lowest score of an object (default: 0.5)",
    )
    add(
        "--unsure",
        type=float,
        default=0.3,
        metavar="S",
        help="lowest score of what may be an object (default: 0.3)",
    )


def run(args: argparse.Namespace) -> int:
    """Make a data set from the kind of source that was named."""
    status: int = args.make(args)
    return status


def _add_kind(kinds: Any, name: str, summary: str, text: str, make: Any) -> argparse.ArgumentParser:
    kind: argparse.ArgumentParser = kinds.add_parser(
        name,
        help=summary,
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kind.set_defaults(make=make)
    return kind


def _add_options(kind: argparse.ArgumentParser) -> None:
    add = kind.add_argument
    add("--output", required=True, type=Path, metavar="DIR", help="new folder to write to")
    add("--format", default="coco", choices=("coco", "youtube-vis"), help="default: coco")
    add(
        "--image-format",
        default="jpg",
        choices=("jpg", "png"),
        help="for images that are not compressed yet: jpg (default; quality 95) or png (exact)",
    )
    thinning = kind.add_argument_group("which images (of each camera; by default all)")
    thin = thinning.add_mutually_exclusive_group()
    add_setting(thin, Selection, "every", int, "--every", "N")
    add_setting(thin, Selection, "rate", float, "--rate", "HZ")
    add_setting(thinning, Selection, "limit", int, "--limit", "N")
    add_setting(
        thinning,
        Selection,
        "min_change",
        float,
        "--skip-similar",
        "LEVELS",
        nargs="?",
        const=SIMILAR,
    )
    annotations = kind.add_argument_group("annotations")
    annotations.add_argument(
        "--no-annotations", action="store_true", help="images and the model's classes only"
    )
    annotations.add_argument(
        "--score-threshold",
        type=float,
        default=0.3,
        metavar="S",
        help="lowest score to annotate (default: 0.3)",
    )
    add_model_arguments(kind)


def _pseudo(args: argparse.Namespace) -> int:
    from sipmask_core.data.pseudo import add_pseudo_labels
    from sipmask_core.runtime.files import require_writable, write_json
    from sipmask_core.runtime.provenance import provenance

    require_writable(args.output)
    document, counts = add_pseudo_labels(args.annotations, args.found, args.use, args.unsure)
    info = document.get("info")
    record = provenance(args.command, [args.annotations, args.found])
    document["info"] = {**(info if isinstance(info, dict) else {}), "pseudo_labels": record}
    write_json(args.output, document)
    print(
        f"{counts['used']} boxes used, {counts['unsure']} uncertain; left out"
        f" {counts['overlapping']} on true objects and {counts['low']} of low score."
        f" Written: {args.output}"
    )
    return 0


def _from_bag(args: argparse.Namespace) -> int:
    with importing_bags():
        from sipmask_ros.bags.dataset import recorded_images
        from sipmask_ros.bags.evaluation import image_topics
        from sipmask_ros.bags.reader import Bag
    bag = Bag(args.recording)
    with naming_options(topics="--topic"):
        topics = image_topics(bag, args.topic)
    total = sum(bag.promised.get(topic, 0) for topic in topics) or None
    inputs = dict.fromkeys(map(str, bag.files))
    images = recorded_images(bag, topics)
    return _make(args, images, topics, total, inputs, lambda: list(map(str, bag.damage)))


def _from_video(args: argparse.Namespace) -> int:
    from sipmask_core.video import Frames, source_sha256

    with Frames(args.input) as frames:
        if frames.left_out:
            print(f"sipmask: {frames.left_out}", file=sys.stderr)
        source = Path(frames.name).stem or "video"
        inputs = {args.input: source_sha256(args.input)}
        images = _recorded_frames(frames, source)
        return _make(args, images, [source], frames.count, inputs, lambda: frames.unreadable)


def _recorded_frames(frames: Frames, source: str) -> Iterator[Recorded]:
    import time

    from sipmask_core.data.annotation_writer import Recorded
    from sipmask_core.video import FPS_WHERE_UNKNOWN

    def pixels(frame: Frame) -> Any:
        return frame.image

    fps = frames.fps or FPS_WHERE_UNKNOWN
    for frame in frames:
        seconds = time.monotonic() if frames.is_live else frame.index / fps
        yield Recorded(source, f"{source}-{frame.index:06}", seconds, partial(pixels, frame))


def _make(
    args: argparse.Namespace,
    images: Iterable[Recorded],
    sources: Sequence[str],
    total: int | None,
    inputs: dict[str, str | None],
    damage: Any,
) -> int:
    """Make the data set and return the exit status.

    damage: called afterwards, returns a sentence for each loss in the source.
    """
    from tqdm import tqdm

    from sipmask_core.cli.dataset_run import export
    from sipmask_core.data.annotation_writer import AnnotationWriter
    from sipmask_core.runtime.provenance import provenance, sha256

    selection = Selection(args.every, args.rate, args.limit, args.min_change)
    predictor = load_predictor(args, score_threshold=args.score_threshold)
    writer = AnnotationWriter(args.output, args.format, predictor.class_names, args.image_format)
    record = provenance(args.command, model_files(args), predictor.device)
    record["inputs"] |= {path: digest or sha256(path) for path, digest in inputs.items()}
    writer.info = {
        "description": f"Images of {', '.join(inputs)}"
        + (
            ""
            if args.no_annotations
            else f", annotated by {predictor.model_name} (scores from {args.score_threshold:g} on)"
        ),
        "provenance": record,
    }
    with writer, tqdm(images, total=total, unit="image", disable=None) as bar:
        interrupted, failures = export(
            bar, sources, writer, None if args.no_annotations else predictor, selection
        )
    failures += damage()
    for failure in failures:
        print(f"sipmask: {failure}", file=sys.stderr)
    if not writer.image_count:
        print("sipmask: No image was found; nothing is written.", file=sys.stderr)
    else:
        print(
            f"{'Interrupted. ' if interrupted else ''}{writer.image_count} images,"
            f" {writer.object_count} objects, {writer.track_count} tracks."
            f" Written: {writer.annotations}, {writer.images}"
        )
    if interrupted:
        return 130
    return 1 if failures or not writer.image_count else 0
