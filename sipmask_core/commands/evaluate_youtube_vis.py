"""`sipmask evaluate youtube-vis`: model and tracker over a YouTube-VIS data set, and its scores."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipmask_core.commands.model_arguments import (
    add_model_arguments,
    load_predictor,
    made_by,
    model_files,
)
from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from sipmask_core.data.youtube_vis import VideoAnnotations
    from sipmask_core.results import Result

_DESCRIPTION = """\
Tracks and their masks in videos: AP and AR by YouTube-VIS's rules, where the overlap of two tracks
is that of their masks over the whole video, and HOTA, IDF1, MOTA and id switches on masks.

--annotations is a file of YouTube-VIS 2019 or 2021, of OVIS, or one made alike; --images the folder
that its file_names count from, as train/JPEGImages, which holds <video>/<frame>.jpg. Of a file
without annotations, as that of a benchmark's server, only the results are written.

--save-results writes the official results, one entry per track, as .zip the way the server takes
them. While the model runs, finished videos are kept beside that file, with .partial added to its
name: after Ctrl-C, a damaged frame or a crash, the same command goes on from there. With --results,
existing results are scored and no model runs. Under torchrun the processes share the videos, and an
interrupted run starts anew.

AP wants many results, also doubtful ones, HOTA and MOTA only what is likely: for figures of a robot
that reports from 0.3 on, add --score-threshold 0.3.

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
    add = parser.add_argument
    add("--annotations", required=True, type=Path, metavar="FILE", help="YouTube-VIS JSON")
    add("--images", type=Path, metavar="DIR", help="folder of its frames")
    add(
        "--results",
        type=Path,
        metavar="FILE",
        help="score these official results (.json or .zip); no model runs",
    )
    add("--limit", type=int, metavar="N", help="only the first N videos")
    add(
        "--score-threshold",
        type=float,
        metavar="S",
        help="lowest score in a frame that counts (default: 0.05; the authors' presets keep their"
        " own)",
    )
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
    add(
        "--workers",
        type=int,
        default=4,
        metavar="N",
        help="threads that decode frames ahead (default: 4)",
    )
    add(
        "--save-results",
        type=Path,
        metavar="FILE",
        help="write the model's results there (.json or .zip)",
    )
    add("--restart", action="store_true", help="forget what an interrupted run has finished")
    add("--json", type=Path, metavar="FILE", help="write the figures there")
    add_model_arguments(parser)
    parser.set_defaults(evaluate=_evaluate)


def _evaluate(args: argparse.Namespace) -> int:
    from sipmask_core.data.coco import require_images
    from sipmask_core.data.youtube_vis import read_videos
    from sipmask_core.distributed import is_main
    from sipmask_core.evaluation.video_results import read_results
    from sipmask_core.evaluation.video_tracking import count_by_class, format_tracking, together
    from sipmask_core.evaluation.youtube_vis import format_scores, score
    from sipmask_core.files import require_writable, write_json
    from sipmask_core.provenance import provenance

    _check_usage(args)
    everything = annotations = read_videos(args.annotations)
    annotations = replace(annotations, videos=annotations.videos[: args.limit])
    if not annotations.has_tracks and args.save_results is None:
        raise InputError(
            f"{args.annotations} has no tracks to compare with; give --save-results FILE to write"
            " what a model finds."
        )
    if args.images is not None:
        require_images(annotations.frames(), args.images)
    for target in filter(None, (args.save_results, args.json)):
        require_writable(target)

    record: dict[str, Any] = {
        "protocol": "youtube-vis",
        "videos": len(annotations.videos),
        "frames": sum(len(video.file_names) for video in annotations.videos),
    }
    device = None
    inputs = [args.annotations]
    folders = {}
    if args.results is not None:
        scored = {video.id for video in annotations.videos}
        results = [r for r in read_results(args.results, everything) if r["video_id"] in scored]
        inputs.append(args.results)
    else:
        results, device, run = _run_model(args, annotations)
        record |= run
        if not is_main():
            return 0
        inputs += model_files(args)
        folders[args.images] = annotations.frames().files(args.images)
    print(f"{record['videos']} videos, {record['frames']} frames, {len(results)} results")
    record["results"] = len(results)
    if annotations.has_tracks:
        scores = score(annotations, results)
        counts = count_by_class(annotations, results)
        record["segm"] = scores.overall
        record["tracking"] = together(counts.values()).metrics()
        record["by_class"] = {
            name: {"segm": scores.by_class[name], "tracking": of_class.metrics()}
            for name, of_class in counts.items()
            if of_class.true_objects
        }
        print(f"{format_scores(scores)}\n\n{format_tracking(counts)}")
    else:
        print(f"{args.annotations} has no tracks: the results are written, there is no score.")
    if args.json is not None:
        write_json(args.json, record | {"provenance": provenance(inputs, device, folders)})
    return 0


def _run_model(
    args: argparse.Namespace, annotations: VideoAnnotations
) -> tuple[list[Result], torch.device, dict[str, Any]]:
    """What the model finds, written where it is asked for; and what the report says of the run.

    Of several processes each looks at a share of the videos, and the first one gets everything.
    """
    from tqdm import tqdm

    from sipmask_core.distributed import gathered, is_main, rank, world_size
    from sipmask_core.evaluation.detection import evaluation_threshold, format_latencies, latencies
    from sipmask_core.evaluation.partial_results import PartialResults
    from sipmask_core.evaluation.video_detection import detect_tracks
    from sipmask_core.evaluation.video_results import write_results

    predictor = load_predictor(args, score_threshold=args.score_threshold)
    if args.score_threshold is None:
        predictor.score_threshold = evaluation_threshold(predictor.preset)
    mode = args.mode or predictor.tracking_mode
    _tell_unknown(annotations.class_names, predictor.class_names)
    share = annotations.videos[rank() :: world_size()]
    found: dict[int, Any] = {}  # by video: results, and the seconds of each frame
    times = []
    with ExitStack() as stack:
        partial = None
        if args.save_results is not None and world_size() == 1:
            making = {
                "annotations": annotations.sha256,
                "mode": mode,
                "fps": args.fps,
                **made_by(args, predictor),
            }
            place = args.save_results
            partial = stack.enter_context(PartialResults(place, making, restart=args.restart))
            found |= {v.id: partial.done[v.id] for v in share if v.id in partial.done}
        left = replace(annotations, videos=tuple(v for v in share if v.id not in found))
        frames = sum(len(video.file_names) for video in share)
        done = frames - sum(len(video.file_names) for video in left.videos)
        bar = stack.enter_context(
            tqdm(total=frames, initial=done, unit="frame", disable=None if is_main() else True)
        )

        def after_frame() -> None:
            times.append(time.perf_counter())
            bar.update()

        try:
            for video in detect_tracks(
                predictor,
                left,
                args.images,
                mode,
                fps=args.fps,
                workers=args.workers,
                after_frame=after_frame,
            ):
                found[video.video_id] = [video.results, video.seconds]
                if partial is not None:
                    partial.add(video.video_id, found[video.video_id])
        except BaseException:
            bar.close()
            if partial is not None and found:
                print(
                    f"sipmask: {len(found)} of {len(share)} videos are finished and kept in"
                    f" {partial.path}; the same command goes on from there.",
                    file=sys.stderr,
                )
            raise
        of_videos = gathered([found[video.id] for video in share], len(annotations.videos))
        results = [result for of_video, _ in of_videos for result in of_video]
        if args.save_results is not None and is_main():
            write_results(args.save_results, results)
        if partial is not None:
            partial.remove()
    report: dict[str, Any] = {
        "model": predictor.model_name,
        "precision": predictor.precision,
        "score_threshold": predictor.score_threshold,
        "mode": mode,
    }
    if is_main() and len(times) > 1:
        rate = world_size() * (len(times) - 1) / (times[-1] - times[0])
        latency = latencies([frame for _, seconds in of_videos for frame in seconds])
        print(f"{rate:.1f} frames/s; {format_latencies(latency)}")
        report |= {"frames_per_second": rate, "latency_ms": latency}
    return results, predictor.device, report


def _tell_unknown(wanted: Sequence[str], known: Sequence[str]) -> None:
    """Say which classes of the data set the model has never heard of."""
    from sipmask_core.distributed import say

    unknown = [name for name in wanted if name not in known]
    if unknown:
        say(
            f"The model does not know {len(unknown)} of the {len(wanted)} classes, whose objects"
            f" count as missed: {', '.join(unknown[:5])}{', ...' * (len(unknown) > 5)}."
        )


def _check_usage(args: argparse.Namespace) -> None:
    if (args.results is None) == (args.images is None):
        raise InputError("Give either --images, to run a model, or --results, to score a file.")
    for option in ("save_results", "restart", "mode", "fps", "score_threshold"):
        value = getattr(args, option)
        if args.results is not None and value is not None and value is not False:
            raise InputError(
                f"--{option.replace('_', '-')} is for a model's run; with --results none runs."
            )
    for option, number in (("--limit", args.limit), ("--workers", args.workers)):
        if number is not None and number < 1:
            raise InputError(f"{option} is {number}; it must be 1 or more.")
    if args.restart and args.save_results is None:
        raise InputError("--restart is of use with --save-results only: nothing else is kept.")
