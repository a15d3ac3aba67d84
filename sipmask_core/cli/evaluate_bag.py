"""`sipmask evaluate bag`: its options, and the call of the package that knows ROS."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipmask_core.cli.evaluation_run import refuse_beside_results
from sipmask_core.cli.options import (
    add_model_arguments,
    importing_bags,
    load_predictor,
    model_files,
    naming_options,
    ran_with,
)
from sipmask_core.errors import InputError

if TYPE_CHECKING:
    import torch

_DESCRIPTION = """\
Run model and tracker over the images of a recorded bag (MCAP or SQLite), as fast as they can.

Writes into the folder --output a new bag with an InstanceArray for each image, on <topic>/instances
with the image's stamp, exactly as segmentation_node publishes them; report.json with rates, gaps,
latencies, instances and tracks; and plots of these over time. With ground truth, the report adds
mask and box AP and the tracking metrics. From a damaged bag, everything readable is used, and the
exit status is 1. Ctrl-C keeps what is done. With several topics, repeat the options that belong to
a topic, in the order of --topic.

A ground-truth image is matched to the recorded image that its integer field `stamp` (nanoseconds)
or `frame` (0 is the topic's first image) names; for YouTube-VIS, lists `stamps` or `frames` of the
video. Without these, the number at the end of its file name is used: from 16 digits on it is a
stamp, otherwise a frame. `sipmask dataset from-bag` makes such files, also for several topics at
once: give that file once for each.

examples:
  sipmask evaluate bag drive.mcap --output seen/
  sipmask evaluate bag drive/ --topic /left/image_raw --topic /right/image_raw --overlay
  sipmask evaluate bag drive.mcap --ground-truth drive.json --score-threshold 0.05
  sipmask evaluate bag drive.mcap --results drive.mcap --ground-truth-topic /truth
"""

_OPTIONS = {
    "topics": "--topic",
    "results_topics": "--results-topic",
    "truth_files": "--ground-truth",
    "truth_topics": "--ground-truth-topic",
}


def add_arguments(kinds: Any) -> None:
    """Declare `bag` among the kinds of `sipmask evaluate`."""
    bag = kinds.add_parser(
        "bag",
        help="a recording of ROS 2: rates, latency, tracks, AP and tracking metrics",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    bag.add_argument("recording", type=Path, metavar="BAG", help=".mcap, .db3 or a bag's folder")
    bag.add_argument(
        "--topic",
        action="append",
        default=[],
        metavar="NAME",
        help="images, raw or compressed; by default the bag's only such topic",
    )
    bag.add_argument(
        "--output", type=Path, metavar="DIR", help="folder to write to (default: BAG_evaluation)"
    )
    bag.add_argument("--overlay", action="store_true", help="also write pictures, on TOPIC/overlay")
    bag.add_argument(
        "--mask-encoding", default="mono8", choices=("mono8", "rle"), help="of the InstanceArrays"
    )
    bag.add_argument(
        "--score-threshold",
        type=float,
        default=0.3,
        metavar="S",
        help="lowest score to report (default: 0.3, as in the node; for AP, use 0.05)",
    )
    truth = bag.add_mutually_exclusive_group()
    truth.add_argument(
        "--ground-truth",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="COCO or YouTube-VIS annotations",
    )
    truth.add_argument(
        "--ground-truth-topic",
        action="append",
        default=[],
        metavar="NAME",
        help="topic of InstanceArrays in the bag to use as ground truth",
    )
    bag.add_argument(
        "--results",
        type=Path,
        metavar="BAG",
        help="score the InstanceArrays in this bag, the recording itself or another; no model"
        " runs, no bag is written",
    )
    bag.add_argument(
        "--results-topic",
        action="append",
        default=[],
        metavar="NAME",
        help="their topic in --results (default: TOPIC/instances or the only such topic)",
    )
    bag.add_argument("--json", type=Path, metavar="FILE", help="write the report there, too")
    add_model_arguments(bag)
    bag.set_defaults(evaluate=_evaluate)


def _evaluate(args: argparse.Namespace, device: torch.device) -> int:
    with importing_bags():
        from sipmask_ros.bags.evaluation import Task, evaluate, format_report, image_topics
        from sipmask_ros.bags.reader import Bag
    from sipmask_core.runtime.files import require_writable, write_json
    from sipmask_core.runtime.provenance import provenance

    if args.results is None and args.results_topic:
        raise InputError("--results-topic is of use with --results only.")
    refuse_beside_results(args, ("overlay", "checkpoint", "preset"))
    task = Task(
        recording=args.recording,
        output=args.output or Path(f"{args.recording.resolve().stem}_evaluation"),
        topics=tuple(args.topic),
        overlay=args.overlay,
        mask_encoding=args.mask_encoding,
        truth_files=tuple(args.ground_truth),
        truth_topics=tuple(args.ground_truth_topic),
        results=args.results,
        results_topics=tuple(args.results_topic),
    )
    bag = Bag(task.recording)
    with naming_options(**_OPTIONS):
        image_topics(bag, task.topics)  # refuses the task before a folder is made for it
    places = [task.report, *([args.json] if args.json else [])]
    for place in places:
        require_writable(place)
    inputs = [*bag.files, *task.truth_files]
    predictor = None
    if args.results is None:
        predictor = load_predictor(args, device, score_threshold=args.score_threshold)
        inputs += model_files(args)
    elif args.results != args.recording:
        inputs += Bag(args.results).files
    with naming_options(**_OPTIONS):
        report, failures = evaluate(task, predictor)
    if predictor is not None:
        report |= ran_with(predictor)
    report["provenance"] = provenance(args.command, inputs, predictor.device if predictor else None)
    for place in places:
        write_json(place, report)
    for failure in failures:
        print(f"sipmask: {failure}", file=sys.stderr)
    print(format_report(report))
    print(f"{'Interrupted. ' if report['interrupted'] else ''}Written: {task.output}")
    if report["interrupted"]:
        return 130
    return 1 if failures else 0
