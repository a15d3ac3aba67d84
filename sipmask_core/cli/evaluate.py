"""Score a model, or existing results, against ground truth.

examples:
  sipmask evaluate coco --annotations instances.json --images photos/ --output evaluation/
  sipmask evaluate coco --annotations instances.json --results results.json --json scores.json
  sipmask evaluate youtube-vis --annotations valid.json --images JPEGImages/ --save-results r.zip
  sipmask evaluate bag drive.mcap --topic /camera/image_raw --output seen/
  torchrun --nproc-per-node 2 -m sipmask_core evaluate coco --annotations ...     on two GPUs
  sipmask evaluate coco --help
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipmask_core.cli import evaluate_bag, evaluate_coco, evaluate_youtube_vis

if TYPE_CHECKING:
    import argparse

SUMMARY = "score a model on a data set or a recording"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the kinds of `sipmask evaluate` and their options."""
    kinds = parser.add_subparsers(title="protocols", metavar="PROTOCOL", required=True)
    evaluate_coco.add_arguments(kinds)
    evaluate_youtube_vis.add_arguments(kinds)
    evaluate_bag.add_arguments(kinds)


def run(args: argparse.Namespace) -> int:
    """Evaluate by the protocol that was named."""
    from sipmask_core.runtime.distributed import process_group

    with process_group(args.device) as device:
        status: int = args.evaluate(args, device)
    return status
