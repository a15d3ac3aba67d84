"""`sipmask evaluate coco`: its options, and the way from images or results to figures."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
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
from sipmask_core.cli.options import add_model_arguments, add_tiles_argument, model_files
from sipmask_core.cli.training_data import count_or_share, split
from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    import torch

    from sipmask_core.cli.evaluation_run import Finished
    from sipmask_core.data.coco import CocoAnnotations
    from sipmask_core.data.coco_results import Result
    from sipmask_core.evaluation.coco import Evaluation
    from sipmask_core.segmenter import Segmenter

_DESCRIPTION = """\
Compute box and mask AP and AR by COCO's rules, over all classes and for each; equal to pycocotools.

With --images, the model runs over the images, and the report includes the time for decoding,
preprocessing, the network and postprocessing. With --results, existing results are scored and no
model runs; --images then only says where the pictures are.

Writes into the folder --output report.json, results.json (what the model found, in COCO's results
format), precision_recall.png, and mistakes.jpg: the largest objects that were missed and the most
confident false alarms. While the model runs, finished images are kept beside the results, in a file
whose name ends in .partial: after Ctrl-C, a damaged image or a crash, the same command continues
from there. Without --output, --save-results and --submission nothing is kept.

Under torchrun, the processes share the images, and the figures are those of one process; an
interrupted run then starts anew.

examples:
  sipmask evaluate coco --annotations instances_val.json --images val/ --output evaluation/
  sipmask evaluate coco --annotations instances_val.json --images val/ --checkpoint best.safetensors
  sipmask evaluate coco --annotations instances_val.json --results results.json --json scores.json
  sipmask evaluate coco --annotations image_info_test-dev2017.json --images test2017/ \\
      --submission sipmask.json             for the server: sipmask.json and sipmask.zip
"""


def add_arguments(kinds: Any) -> None:
    """Declare `coco` among the kinds of `sipmask evaluate`."""
    coco = kinds.add_parser(
        "coco",
        help="COCO's box and mask AP",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_data_arguments(coco, "COCO instances JSON", "its images", "COCO results", "images")
    coco.add_argument(
        "--hold-out",
        type=count_or_share,
        metavar="N",
        help="only the images that `sipmask train --hold-out N` keeps for validation",
    )
    coco.add_argument(
        "--output", type=Path, metavar="DIR", help="folder for report, results and pictures"
    )
    coco.add_argument(
        "--submission",
        type=Path,
        metavar="FILE",
        help="write what COCO's test-dev server takes: this .json, and beside it a .zip of it",
    )
    add_run_arguments(coco, "images")
    add_tiles_argument(coco)
    add_model_arguments(coco)
    coco.set_defaults(evaluate=_evaluate)


def _evaluate(args: argparse.Namespace, device: torch.device) -> int:
    evaluated(args, device)
    return 0


def evaluated(args: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Do what the options say and return the report; of several processes, only the first has one.

    device: of this process. Raise InputError if that cannot be done.
    """
    from sipmask_core.data.coco import read_annotations
    from sipmask_core.data.coco_results import read_results, suspicion
    from sipmask_core.data.document import OtherFormatError
    from sipmask_core.data.orientation import as_annotated
    from sipmask_core.runtime.distributed import is_main
    from sipmask_core.runtime.files import require_writable, write_json
    from sipmask_core.runtime.provenance import provenance

    _check_usage(args)
    if args.results is not None and not is_main():
        return {}
    reports = _places(args.json, args.output, "report.json")
    saved = [] if args.results else _places(args.save_results, args.output, "results.json")
    try:
        everything = read_annotations(
            args.annotations,
            need_truth=not saved and not args.submission,
            skip_invalid=args.skip_invalid,
        )
    except OtherFormatError as error:
        raise InputError(f"{error} `sipmask evaluate youtube-vis` takes it.") from None
    annotations = _chosen(everything, args)
    if args.images is not None:
        annotations = as_annotated(annotations, args.images, args.ignore_exif)
    say_notes(annotations.notes)
    for place in (*reports, *saved, *_submitted(args)):
        require_writable(place)

    report: dict[str, Any] = {"protocol": "coco", "images": len(annotations.images)}
    inputs = [args.annotations]
    ran_on = None
    folders = {}
    if args.results is not None:
        chosen = {image.id for image in annotations.images}
        results = read_results(args.results, everything, subset=args.subset)
        results = [result for result in results if result["image_id"] in chosen]
        say_notes(filter(None, [suspicion(results)]))
        inputs.append(args.results)
        _write_results(results, [], args.submission)
    else:
        predictor = load_evaluated(args, device, annotations.class_names)
        results, run = _run_model(predictor, annotations, args, saved)
        if not is_main():
            return {}
        report |= run
        ran_on = predictor.device
        inputs += model_files(args)
        folders[args.images] = annotations.files(args.images)
    report["results"] = len(results)
    print(f"{len(annotations.images)} images, {len(results)} results")
    evaluations = _scored(annotations, results, report)
    report["provenance"] = provenance(args.command, inputs, ran_on, folders)
    for place in reports:
        write_json(place, report)
    if args.output is not None and evaluations:
        _draw(args, annotations, evaluations)
    written = [place for place in (args.output, args.save_results, args.json) if place]
    if written:
        print(f"Written: {', '.join(map(str, written))}")
    return report


def _check_usage(args: argparse.Namespace) -> None:
    if args.results is None and args.images is None:
        raise InputError("Give --images, to run a model, or --results, to score a file.")
    check_run_arguments(args, ["tiles"])
    if args.hold_out == 0:
        raise InputError("--hold-out is 0; it must be 1 or more, or a share of the images below 1.")
    if args.restart and not (args.output or args.save_results or args.submission):
        raise InputError(
            "--restart is of use with --output, --save-results or --submission only: nothing else"
            " is kept."
        )
    if args.submission is not None:
        if args.submission.suffix != ".json":
            raise InputError(f"--submission is {args.submission}; its name must end in .json.")
        if args.hold_out is not None or args.limit is not None:
            raise InputError("A --submission is about all images: leave out --hold-out, --limit.")


def _places(file: Path | None, folder: Path | None = None, name: str = "") -> list[Path]:
    """Return where to write: the file that is asked for by itself, and the one in --output."""
    return [*([file] if file else []), *([folder / name] if folder else [])]


def _submitted(args: argparse.Namespace) -> list[Path]:
    """Return the two files of --submission, if it is given."""
    return [args.submission, args.submission.with_suffix(".zip")] if args.submission else []


def _chosen(annotations: CocoAnnotations, args: argparse.Namespace) -> CocoAnnotations:
    """Keep the images that --hold-out and --limit leave."""
    if args.hold_out is not None:
        annotations = split(annotations, args.hold_out)[1]
    return replace(annotations, images=annotations.images[: args.limit])


def _run_model(
    predictor: Segmenter, annotations: CocoAnnotations, args: argparse.Namespace, saved: list[Path]
) -> tuple[list[Result], dict[str, Any]]:
    """Run the model, write what it finds, and return that and the run's part of the report."""
    from sipmask_core.evaluation.run_images import detect_in_required
    from sipmask_core.inference.tiles import tiled

    segmenter = tiled(predictor, args.tiles or "")

    def detect(left: Collection[int], after_frame: Callable[[], object]) -> Iterator[Finished]:
        images = tuple(image for image in annotations.images if image.id in left)
        unfinished = replace(annotations, images=images)
        for image in detect_in_required(segmenter, unfinished, args.images, args.workers):
            after_frame()
            yield image.image_id, image.results, [image.seconds]

    return run_model(
        segmenter,
        detect,
        lambda results: _write_results(results, saved, args.submission),
        frames={image.id: 1 for image in annotations.images},
        items="images",
        unit="image",
        places=[*saved, *_submitted(args)],
        making=made_by(args, predictor, annotations.sha256)
        | {
            "hold_out": args.hold_out,
            "ignore_exif": args.ignore_exif or None,
            "tiles": args.tiles,
        },
        restart=args.restart,
    )


def _write_results(results: list[Result], saved: list[Path], submission: Path | None) -> None:
    from sipmask_core.data.coco_results import write_submission
    from sipmask_core.runtime.files import write_json

    for place in saved:
        write_json(place, results)
    if submission is not None:
        archive = write_submission(submission, results)
        print(f"Submission: {archive}")


def _scored(
    annotations: CocoAnnotations, results: list[Result], report: dict[str, Any]
) -> dict[str, Evaluation]:
    """Print the figures and put them into the report; return none if there are no annotations."""
    from sipmask_core.evaluation.coco import evaluate, format_classes, format_scores

    if not annotations.has_truth:
        print(f"{annotations.path} has no annotations: nothing is scored.")
        return {}
    with_masks, boxes_alone = annotations.masks
    if boxes_alone and not with_masks:
        print(f"None of the {boxes_alone} objects has a mask: boxes alone are scored.")
    elif boxes_alone:
        print(
            f"Objects without a mask: {boxes_alone} of {with_masks + boxes_alone}; they count for"
            " boxes, and need not be found as masks."
        )
    evaluations = evaluate(annotations, results)
    overall = {kind: evaluation.scores.overall for kind, evaluation in evaluations.items()}
    by_class = {kind: evaluation.scores.by_class for kind, evaluation in evaluations.items()}
    report |= {**overall, "by_class": by_class}
    print(f"{format_scores(overall)}\n\n{format_classes(by_class)}")
    return evaluations


def _draw(
    args: argparse.Namespace, annotations: CocoAnnotations, evaluations: dict[str, Evaluation]
) -> None:
    """Draw the pictures of --output."""
    from sipmask_core.evaluation.mistakes import draw_mistakes
    from sipmask_core.evaluation.precision_recall import draw_precision_recall
    from sipmask_core.runtime.files import write_image

    scores = {kind: evaluation.scores for kind, evaluation in evaluations.items()}
    draw_precision_recall(args.output / "precision_recall.png", scores)
    if args.images is not None:
        evaluation = evaluations.get("segm") or evaluations["bbox"]
        sheet = draw_mistakes(annotations, args.images, evaluation)
        write_image(args.output / "mistakes.jpg", sheet)
