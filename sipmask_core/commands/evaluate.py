"""Score a model, or results that exist already, against ground truth.

examples:
  sipmask evaluate coco --annotations instances.json --images photos/ --checkpoint best.safetensors
  sipmask evaluate coco --annotations instances.json --results results.json --json scores.json
  sipmask evaluate bag drive.mcap --topic /camera/image_raw --output seen/
  torchrun --nproc-per-node 2 -m sipmask_core evaluate coco --annotations ...     on two GPUs
  sipmask evaluate coco --help
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sipmask_core.commands import evaluate_bag, evaluate_youtube_vis
from sipmask_core.commands.model_arguments import (
    add_model_arguments,
    load_predictor,
    model_files,
)
from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from sipmask_core.results import Result

SUMMARY = "measure AP on a data set"

_COCO = """\
Box and mask AP and AR by COCO's rules (pycocotools).

With --results, existing results are scored and no model runs. Without, the model runs over the
images and --save-results keeps what it found, in COCO's results format, also when Ctrl-C or a
damaged image ends the run. Under torchrun the processes share the images, and the figures are those
of one process; what was found before the end came is then not kept.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the kinds of `sipmask evaluate` and their options."""
    kinds = parser.add_subparsers(title="protocols", metavar="PROTOCOL", required=True)
    coco = kinds.add_parser(
        "coco",
        help="COCO's box and mask AP",
        description=_COCO,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    coco.add_argument(
        "--annotations", required=True, type=Path, metavar="FILE", help="COCO instances JSON"
    )
    coco.add_argument("--images", type=Path, metavar="DIR", help="folder of its images")
    coco.add_argument(
        "--results", type=Path, metavar="FILE", help="score these COCO results; no model runs"
    )
    coco.add_argument(
        "--hold-out",
        type=int,
        metavar="N",
        help="only the N images that `sipmask train --hold-out N` keeps for validation",
    )
    coco.add_argument("--limit", type=int, metavar="N", help="only the first N images")
    coco.add_argument(
        "--score-threshold",
        type=float,
        metavar="S",
        help="lowest score that counts (default: 0.05; the authors' presets keep their own)",
    )
    coco.add_argument(
        "--save-results", type=Path, metavar="FILE", help="write the model's results there"
    )
    coco.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    add_model_arguments(coco)
    coco.set_defaults(evaluate=_evaluate_coco)
    evaluate_youtube_vis.add_arguments(kinds)
    evaluate_bag.add_arguments(kinds)


def run(args: argparse.Namespace) -> int:
    """Evaluate by the protocol that was named."""
    from sipmask_core.distributed import process_group

    with process_group(args.device) as device:
        args.device = str(device)
        status: int = args.evaluate(args)
    return status


def _evaluate_coco(args: argparse.Namespace) -> int:
    import dataclasses
    from itertools import chain

    from sipmask_core.data.coco import read_annotations
    from sipmask_core.distributed import gathered, is_main, world_size
    from sipmask_core.evaluation.coco import (
        detect,
        evaluation_threshold,
        format_scores,
        own_share,
        read_results,
        score,
    )
    from sipmask_core.files import require_writable, write_json
    from sipmask_core.provenance import provenance

    if (args.results is None) == (args.images is None):
        raise InputError("Give either --images, to run a model, or --results, to score a file.")
    if args.results is not None and args.save_results is not None:
        raise InputError("--save-results keeps what a model finds; with --results none runs.")
    everything = annotations = read_annotations(args.annotations)
    if args.hold_out is not None:
        if args.hold_out < 1:
            raise InputError(f"--hold-out is {args.hold_out}; it must be 1 or more.")
        annotations = annotations.split(args.hold_out)[1]
    if args.limit is not None:
        if args.limit < 1:
            raise InputError(f"--limit is {args.limit}; it must be 1 or more.")
        annotations = dataclasses.replace(annotations, images=annotations.images[: args.limit])

    for target in (args.save_results, args.json):
        if target is not None:
            require_writable(target)

    device = None
    inputs = [args.annotations]
    folders = {}
    if args.results is not None:
        scored = {image.id for image in annotations.images}
        results = [r for r in read_results(args.results, everything) if r["image_id"] in scored]
        inputs.append(args.results)
    else:
        predictor = load_predictor(args, score_threshold=args.score_threshold)
        if args.score_threshold is None:
            predictor.score_threshold = evaluation_threshold(predictor.preset)
        device = predictor.device
        inputs += model_files(args)
        folders[args.images] = annotations.files(args.images)
        share: list[list[Result]] = []  # of each image
        try:
            for found in detect(predictor, own_share(annotations), args.images, is_main()):
                share.append(found)
        finally:
            partial = len(share) < len(annotations.images) and world_size() == 1
            if partial and share and args.save_results is not None:
                write_json(args.save_results, list(chain(*share)))
                print(
                    f"sipmask: {args.save_results} has the results of the first {len(share)} of"
                    f" {len(annotations.images)} images; score them with --results and"
                    f" --limit {len(share)}.",
                    file=sys.stderr,
                )
        results = list(chain(*gathered(share, len(annotations.images))))
        if args.save_results is not None and is_main():
            write_json(args.save_results, results)
    if not is_main():
        return 0
    scores = score(annotations, results)
    print(f"{len(annotations.images)} images, {len(results)} results")
    print(format_scores(scores))
    if args.json is not None:
        record = {
            "protocol": "coco",
            "images": len(annotations.images),
            "results": len(results),
            **scores,
            "provenance": provenance(inputs, device, folders),
        }
        write_json(args.json, record)
    return 0
