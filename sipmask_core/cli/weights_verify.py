"""`sipmask weights verify`: whether weights give the AP that their authors published."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipmask_core.cli import evaluate_coco, evaluate_youtube_vis
from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from sipmask_core.weights.table import Weights

TOLERANCE = 0.2  # percent AP: other libraries decode and resize images a little differently
_SLACK = 1e-9  # of the subtraction

_DESCRIPTION = f"""\
Run weights over the data on which their authors measured, and compare the outcome with every figure
that they published: each must be within {TOLERANCE} percent AP. The exit status is 0 if all are,
and 1 if one is not.

This runs `sipmask evaluate` in float32, and the options are passed on to it; with --output or
--save-results an interrupted run continues. The ground truth of YouTube-VIS's validation part is
not public: without it, --save-results writes a file for its server to score.

examples:
  sipmask weights verify sipmask_r50_caffe_fpn_gn_1x \\
      --annotations instances_val2017.json --images val2017/ --output verified/
  sipmask weights verify vis_sipmask_r50_caffe_fpn_gn_1x \\
      --annotations valid.json --images valid/JPEGImages --save-results submission.zip
"""


def add_arguments(kinds: Any) -> None:
    """Declare `verify` among the kinds of `sipmask weights`."""
    parser = kinds.add_parser(
        "verify",
        help="check that weights reach the published AP",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("name", metavar="NAME", help="as `sipmask weights list` shows it")
    add(
        "--annotations",
        required=True,
        metavar="FILE",
        help="annotations of the data that the AP is published for",
    )
    add("--images", required=True, metavar="DIR", help="folder of its images or frames")
    add("--output", metavar="DIR", help="folder for report, results and pictures (COCO)")
    add("--save-results", metavar="FILE", help="write what the model finds there")
    add("--json", type=Path, metavar="FILE", help="write the verdict and the report there")
    add("--device", default="auto", metavar="DEVICE", help="auto (default), cpu, cuda or cuda:N")
    add("--precision", default="fp32", metavar="TYPE", help="fp32 (default), fp16, bf16 or auto")
    add("--workers", metavar="N", help="threads that decode images ahead")
    parser.set_defaults(do=_verify)


def published(name: str) -> Weights:
    """Return the row of published weights; raise InputError if none have that name."""
    from sipmask_core.weights.home import SHIPPED, find
    from sipmask_core.weights.table import PUBLISHED

    if name == SHIPPED:
        raise InputError(f"{name} ships with the package; no AP is published for it.")
    if name not in PUBLISHED:
        find(name)
    return PUBLISHED[name]


def _verify(args: argparse.Namespace) -> int:
    from sipmask_core.runtime.files import require_writable, write_json
    from sipmask_core.weights.home import find

    weights = published(args.name)
    find(args.name)
    if args.json is not None:
        require_writable(args.json)
    report = _report(args, weights)
    if not report:
        return 0  # one of several processes, not the first
    found = {kind: 100 * figures["AP"] for kind, figures in report.items() if kind in _KINDS}
    if not found:
        print("There is no ground truth to compare with: nothing is verified.")
        return 1
    benchmark = weights.benchmark
    count = report["images" if benchmark.protocol == "coco" else "videos"]
    holds, sentence = verdict(weights, found, count)
    print(sentence)
    if args.json is not None:
        write_json(
            args.json,
            {
                "weights": weights.name,
                "holds": holds,
                "published": weights.published,
                "found": found,
                "benchmark": benchmark.name,
                "report": report,
            },
        )
    return 0 if holds else 1


_KINDS = {"segm": "mask AP", "bbox": "box AP"}


def verdict(weights: Weights, found: dict[str, float], count: int) -> tuple[bool, str]:
    """Return whether figures in percent are the published ones, and a sentence that says it.

    count: images or videos that were scored; if they are not those of the benchmark, the figures
    cannot be the published ones.
    """
    pairs = {kind: (figure, found[kind]) for kind, figure in weights.published.items()}
    close = all(abs(mine - theirs) <= TOLERANCE + _SLACK for theirs, mine in pairs.values())
    figures = "; ".join(
        f"{_KINDS[kind]} {mine:.2f}, published {theirs:.1f}"
        for kind, (theirs, mine) in pairs.items()
    )
    benchmark = weights.benchmark
    if count != benchmark.count:
        said = (
            f"is not verified, for {benchmark.name} has {benchmark.count} images or videos, and"
            f" {count} were scored"
        )
    else:
        said = f"{'gives' if close else 'does NOT give'} the published AP, within {TOLERANCE}"
    return close and count == benchmark.count, f"{weights.name} {said}: {figures}."


def _report(args: argparse.Namespace, weights: Weights) -> dict[str, Any]:
    """Evaluate as `sipmask evaluate` would, with the options as typed."""
    from sipmask_core.runtime.distributed import process_group

    kind = weights.benchmark.protocol
    evaluate = {"coco": evaluate_coco, "youtube-vis": evaluate_youtube_vis}[kind]
    given = ("annotations", "images", "output", "save_results", "device", "precision", "workers")
    values = {option: getattr(args, option) for option in given}
    typed = [
        word
        for option, value in values.items()
        if value is not None
        for word in (f"--{option.replace('_', '-')}", value)
    ]
    if kind != "coco" and args.output is not None:
        raise InputError("--output is for COCO; a video's results go to --save-results FILE.")
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser.add_subparsers())
    options = parser.parse_args([kind, *typed, "--checkpoint", weights.name])
    options.command = args.command
    with process_group(options.device) as device:
        return evaluate.evaluated(options, device)
