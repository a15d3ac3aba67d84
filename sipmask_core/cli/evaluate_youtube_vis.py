"""`sipmask evaluate youtube-vis`: model and tracker over a YouTube-VIS data set, and its scores."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sipmask_core.cli.annotation_options import say_notes
from sipmask_core.cli.evaluation_run import (
    add_data_arguments,
    add_run_arguments,
    check_run_arguments,
    load_evaluated,
    made_by,
    run_model,
)
from sipmask_core.cli.options import add_model_arguments, model_files
from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    import torch

    from sipmask_core.cli.evaluation_run import Finished
    from sipmask_core.data.coco_results import Result
    from sipmask_core.data.youtube_vis import VideoAnnotations
    from sipmask_core.segmenter import Segmenter
    from sipmask_core.tracking.tracker import Mode

_DESCRIPTION = """\
Score tracks and their masks in videos: AP and AR by YouTube-VIS's rules, in which the overlap of
two tracks is that of their masks over the whole video, and HOTA, IDF1, MOTA and id switches on
masks.

--annotations takes a file of YouTube-VIS 2019 or 2021, of OVIS, or in the same format; --images the
folder that its file_names are relative to, such as train/JPEGImages with <video>/<frame>.jpg. For a
file without annotations, such as that of a benchmark's server, only the results are written.

--save-results writes the official results, one entry per track; as .zip, in the form that the
server takes. While the model runs, finished videos are kept beside that file, with .partial added
to its name: after Ctrl-C, a damaged frame or a crash, the same command continues from there. With
--results, existing results are scored and no model runs. Under torchrun, the processes share the
videos, and an interrupted run starts anew.

AP needs many results, also doubtful ones; HOTA and MOTA only likely ones. For the figures of a
robot that reports from a score of 0.3, add --score-threshold 0.3.

examples:
  sipmask evaluate youtube-vis --annotations train.json --images train/JPEGImages --limit 100
  sipmask evaluate youtube-vis --annotations valid.json --images valid/JPEGImages \\
      --checkpoint sipmask_vis.pth --save-results submission.zip
  sipmask evaluate youtube-vis --annotations train.json --results results.json --json scores.json
"""


def add_arguments(kinds: Any) -> None:
    """Declare `youtube-vis` among the kinds of `sipmask evaluate`."""
    parser = kinds.add_parser(
        "youtube-vis",
        help="tracks in videos: YouTube-VIS's mask AP, HOTA, IDF1, MOTA",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    results = "YouTube-VIS results (.json or .zip)"
    add_data_arguments(parser, "YouTube-VIS JSON", "its frames", results, "videos")
    add = parser.add_argument
    add(
        "--mode",
        choices=("online", "youtube-vis"),
        help="how objects are followed; by default the authors' association for presets with a"
        " track branch, the online tracker for others",
    )
    add(
        "--fps",
        type=float,
        metavar="F",
        help="frames per second of the annotated frames, for the online mode (default: 30;"
        " YouTube-VIS has 6)",
    )
    add_run_arguments(parser, "videos", " (.json or .zip)")
    add_model_arguments(parser)
    parser.set_defaults(evaluate=_evaluate)


def _evaluate(args: argparse.Namespace, device: torch.device) -> int:
    evaluated(args, device)
    return 0


def evaluated(args: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Do what the options say and return the report; of several processes, only the first has one.

    device: of this process. Raise InputError if that cannot be done.
    """
    from sipmask_core.data.document import OtherFormatError
    from sipmask_core.data.orientation import as_annotated
    from sipmask_core.data.youtube_vis import read_videos
    from sipmask_core.data.youtube_vis_results import read_results
    from sipmask_core.runtime.distributed import is_main
    from sipmask_core.runtime.files import require_writable, write_json
    from sipmask_core.runtime.provenance import provenance

    _check_usage(args)
    if args.results is not None and not is_main():
        return {}
    try:
        everything = read_videos(args.annotations, skip_invalid=args.skip_invalid)
    except OtherFormatError as error:
        raise InputError(f"{error} `sipmask evaluate coco` takes it.") from None
    if not everything.has_tracks and args.save_results is None:
        raise InputError(
            f"{args.annotations} has no tracks to compare with"
            + ("." if args.results else "; give --save-results FILE to write what a model finds.")
        )
    annotations = replace(everything, videos=everything.videos[: args.limit])
    if args.images is not None:
        annotations = as_annotated(annotations, args.images, args.ignore_exif)
    say_notes(annotations.notes)
    written = [place for place in (args.save_results, args.json) if place]
    for place in written:
        require_writable(place)

    report: dict[str, Any] = {
        "protocol": "youtube-vis",
        "videos": len(annotations.videos),
        "frames": sum(len(video.file_names) for video in annotations.videos),
    }
    inputs = [args.annotations]
    ran_on = None
    folders = {}
    if args.results is not None:
        scored = {video.id for video in annotations.videos}
        results = read_results(args.results, everything, subset=args.subset)
        results = [result for result in results if result["video_id"] in scored]
        inputs.append(args.results)
    else:
        predictor = load_evaluated(args, device, annotations.class_names)
        results, run = _run_model(predictor, annotations, args)
        if not is_main():
            return {}
        report |= run
        ran_on = predictor.device
        inputs += model_files(args)
        folders[args.images] = annotations.frames().files(args.images)
    report["results"] = len(results)
    print(f"{report['videos']} videos, {report['frames']} frames, {len(results)} results")
    if everything.has_tracks:
        _score(annotations, results, report)
    else:
        print(f"{args.annotations} has no tracks: the results are written, there is no score.")
    if args.json is not None:
        origin = provenance(args.command, inputs, ran_on, folders)
        write_json(args.json, report | {"provenance": origin})
    if written:
        print(f"Written: {', '.join(map(str, written))}")
    return report


def _check_usage(args: argparse.Namespace) -> None:
    if (args.results is None) == (args.images is None):
        raise InputError("Give either --images, to run a model, or --results, to score a file.")
    check_run_arguments(args, ("mode", "fps"))
    if args.restart and args.save_results is None:
        raise InputError("--restart is of use with --save-results only: nothing else is kept.")


def _run_model(
    predictor: Segmenter, annotations: VideoAnnotations, args: argparse.Namespace
) -> tuple[list[Result], dict[str, Any]]:
    """Run the model, write what it finds, and return that and the run's part of the report."""
    from sipmask_core.data.youtube_vis_results import write_results
    from sipmask_core.evaluation.run_videos import detect_tracks

    mode = _mode(predictor, args)
    how = {"mode": mode, "fps": args.fps}
    places = [args.save_results] if args.save_results else []

    def detect(left: Collection[int], after_frame: Callable[[], object]) -> Iterator[Finished]:
        videos = tuple(video for video in annotations.videos if video.id in left)
        for video in detect_tracks(
            predictor,
            replace(annotations, videos=videos),
            args.images,
            mode,
            fps=args.fps,
            workers=args.workers,
            after_frame=after_frame,
        ):
            yield video.video_id, video.results, video.seconds

    def write(results: list[Result]) -> None:
        for place in places:
            write_results(place, results)

    results, report = run_model(
        predictor,
        detect,
        write,
        frames={video.id: len(video.file_names) for video in annotations.videos},
        items="videos",
        unit="frame",
        places=places,
        making=made_by(args, predictor, annotations.sha256)
        | how
        | {"ignore_exif": args.ignore_exif or None},
        restart=args.restart,
    )
    return results, report | how


def _mode(predictor: Segmenter, args: argparse.Namespace) -> Mode:
    from sipmask_core.inference.predictor import Predictor

    mode: Mode | None = args.mode
    return mode or (predictor.tracking_mode if isinstance(predictor, Predictor) else "online")


def _score(annotations: VideoAnnotations, results: list[Result], report: dict[str, Any]) -> None:
    """Print the figures and put them into the report."""
    from sipmask_core.evaluation.youtube_vis import format_scores, score
    from sipmask_core.evaluation.youtube_vis_tracks import count_by_class, format_tracking, together

    scores = score(annotations, results)
    counts = count_by_class(annotations, results)
    report["segm"] = scores.overall
    report["tracking"] = together(counts.values()).metrics()
    report["by_class"] = {
        name: {"segm": scores.by_class[name], "tracking": of_class.metrics()}
        for name, of_class in counts.items()
        if of_class.true_objects
    }
    print(f"{format_scores(scores)}\n\n{format_tracking(counts)}")
