"""A model's run over a data set, which can be interrupted: what the kinds of `evaluate` share."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipmask_core.cli.annotation_options import add_reading_arguments
from sipmask_core.cli.options import load_predictor, model_files, ran_with
from sipmask_core.errors import InputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    import torch

    from sipmask_core.data.coco_results import Result
    from sipmask_core.evaluation.partial_results import PartialResults
    from sipmask_core.segmenter import Segmenter

    # The id of an image or a video, what was found there, and what each stage took of each frame.
    Finished = tuple[int, list[Result], list[dict[str, float]]]
    # Runs a model over the items with these ids, in order, and calls its second argument after each
    # frame.
    Detect = Callable[[Collection[int], Callable[[], object]], Iterable[Finished]]

_THRESHOLD = 0.05  # lowest score that counts, of models that have no preset to say it
# With --results no model runs, so that these would do nothing.
_OF_A_RUN = ("score_threshold", "save_results", "restart", "checkpoint", "preset")


def add_data_arguments(
    parser: argparse.ArgumentParser, annotations: str, images: str, results: str, items: str
) -> None:
    """Add --annotations, --images, --results, --subset, --skip-invalid and --ignore-exif.

    The strings say what the options take, for their help: "COCO instances JSON", "its images",
    "COCO results" and, for what results are about, "images".
    """
    add = parser.add_argument
    add("--annotations", required=True, type=Path, metavar="FILE", help=annotations)
    add("--images", type=Path, metavar="DIR", help=f"folder of {images}")
    add(
        "--results",
        type=Path,
        metavar="FILE",
        help=f"score these {results}; no model runs",
    )
    add(
        "--subset",
        action="store_true",
        help=f"with --results: leave out those for {items} that the annotations do not list",
    )
    add_reading_arguments(parser)


def add_run_arguments(parser: argparse.ArgumentParser, items: str, formats: str = "") -> None:
    """Add --limit, --score-threshold, --workers, --save-results, --restart and --json.

    items: what a run goes through one by one and --limit counts, such as "images". formats: those
    of --save-results, for its help.
    """
    add = parser.add_argument
    add("--limit", type=int, metavar="N", help=f"only the first N {items}")
    add(
        "--score-threshold",
        type=float,
        metavar="S",
        help="lowest score to keep (default: 0.05; the authors' presets keep their own)",
    )
    add(
        "--workers",
        type=int,
        default=4,
        metavar="N",
        help="threads that decode images ahead (default: 4)",
    )
    add(
        "--save-results",
        type=Path,
        metavar="FILE",
        help=f"write what the model finds there{formats}",
    )
    add("--restart", action="store_true", help="discard what an interrupted run has finished")
    add("--json", type=Path, metavar="FILE", help="write the report there")


def check_run_arguments(args: argparse.Namespace, more_of_a_run: Sequence[str] = ()) -> None:
    """Raise InputError for numbers below 1 and for options that belong to the other way.

    Those are options of a model's run with --results, and --subset without.
    """
    refuse_beside_results(args, (*_OF_A_RUN, *more_of_a_run))
    for option, number in (("--limit", args.limit), ("--workers", args.workers)):
        if number is not None and number < 1:
            raise InputError(f"{option} is {number}; it must be 1 or more.")
    if args.subset and args.results is None:
        raise InputError("--subset belongs to --results.")


def refuse_beside_results(args: argparse.Namespace, options: Sequence[str]) -> None:
    """Raise InputError if one of the options is given and, with --results, no model runs."""
    for option in options:
        value = getattr(args, option)
        if args.results is not None and value is not None and value is not False:
            raise InputError(
                f"--{option.replace('_', '-')} is for a model's run; with --results none runs."
            )


def load_evaluated(
    args: argparse.Namespace, device: torch.device, class_names: Sequence[str]
) -> Segmenter:
    """Load the model that the options ask for, with the score threshold of evaluation.

    device: of this process. class_names: of the data set; lines are printed about those that the
    model does not know, and those that it writes differently.
    """
    from sipmask_core.data.classes import matching_names
    from sipmask_core.inference.predictor import Predictor
    from sipmask_core.runtime.distributed import say

    predictor = load_predictor(args, device, score_threshold=args.score_threshold)
    if args.score_threshold is None:
        predictor.score_threshold = (
            predictor.preset.evaluation_threshold
            if isinstance(predictor, Predictor)
            else _THRESHOLD
        )
    names = matching_names(class_names, predictor.class_names)
    pairs = list(zip(class_names, names, strict=True))
    alike = [f"{own!r} is the model's {its!r}" for own, its in pairs if its not in (own, None)]
    if alike:
        say(f"Classes that are written differently: {', '.join(alike)}.")
    unknown = [own for own, its in pairs if its is None]
    if unknown:
        say(
            f"The model does not know {len(unknown)} of the {len(class_names)} classes, whose"
            f" objects count as missed: {', '.join(unknown[:5])}{', ...' * (len(unknown) > 5)}."
        )
    return predictor


def made_by(
    args: argparse.Namespace, predictor: Segmenter, annotations_sha256: str
) -> dict[str, Any]:
    """Return what decides which results a run gives, for `PartialResults`."""
    from sipmask_core.inference.predictor import Predictor
    from sipmask_core.runtime.provenance import package_versions, sha256

    return {
        "annotations": annotations_sha256,
        "limit": args.limit,
        "weights": [sha256(path) for path in model_files(args)],
        "preset": asdict(predictor.preset) if isinstance(predictor, Predictor) else None,
        "score_threshold": args.score_threshold,
        "precision": predictor.precision,
        "device": predictor.device.type,
        **package_versions(),
    }


def run_model(
    predictor: Segmenter,
    detect: Detect,
    write: Callable[[list[Result]], None],
    *,
    frames: Mapping[int, int],
    items: str,
    unit: str,
    places: Sequence[Path],
    making: dict[str, Any],
    restart: bool,
) -> tuple[list[Result], dict[str, Any]]:
    """Run the model, write what it finds, and return that and the run's part of the report.

    write: gets the results of all items.
    frames: how many frames each item has, by the item's id; with several processes, each one looks
        at its share of the items, and the first one gets all results and writes them.
    items, unit: what items and frames are called: "videos" and "frame". places: where results go;
        what an interrupted run has finished lies beside the first one, see `PartialResults` for
        `making` and `restart`.
    """
    from sipmask_core.evaluation.partial_results import PartialResults
    from sipmask_core.evaluation.run_images import format_latencies
    from sipmask_core.runtime.distributed import gathered, is_main, own_share, world_size
    from sipmask_core.runtime.stopwatch import latencies

    share = {number: frames[number] for number in own_share(list(frames))}
    with ExitStack() as stack:
        partial = None
        if places and world_size() == 1:
            partial = stack.enter_context(PartialResults(places[0], making, restart=restart))
        with _telling_what_is_kept(partial, len(share), items):
            own, per_second = _work_off(share, unit, detect, partial)
        found = gathered(own, len(frames))
        results = [result for of_item, _ in found for result in of_item]
        if is_main():
            write(results)
        if partial is not None:
            partial.remove()
    report = ran_with(predictor)
    if is_main():
        report["latency_ms"] = latencies([timed for _, seconds in found for timed in seconds])
        print(format_latencies(report["latency_ms"]))
        if per_second is not None:
            report[f"{unit}s_per_second"] = per_second * world_size()
            print(f"{report[f'{unit}s_per_second']:.1f} {unit}s/s")
    return results, report


def _work_off(
    frames: Mapping[int, int],
    unit: str,
    detect: Detect,
    partial: PartialResults | None,
) -> tuple[list[Any], float | None]:
    """Detect in the items that are not finished yet; see `run_model` for the arguments.

    Return [results, seconds] of each item, those finished by an earlier run included, and how many
    frames per second this run has finished.
    """
    from tqdm import tqdm

    from sipmask_core.runtime.distributed import is_main

    found: dict[int, Any] = {} if partial is None else dict(partial.done)
    left = [number for number in frames if number not in found]
    total, to_do = sum(frames.values()), sum(frames[number] for number in left)
    ends: list[float] = []
    with tqdm(
        total=total, initial=total - to_do, unit=unit, disable=None if is_main() else True
    ) as bar:

        def after_frame() -> None:
            ends.append(time.perf_counter())
            bar.update()

        for number, results, seconds in detect(frozenset(left), after_frame):
            found[number] = [results, seconds]
            if partial is not None:
                partial.add(number, found[number])
    # The first frame does not count: its time includes the start of the threads and the warm-up.
    per_second = (len(ends) - 1) / (ends[-1] - ends[0]) if len(ends) > 1 else None
    return [found[number] for number in frames], per_second


@contextmanager
def _telling_what_is_kept(partial: PartialResults | None, total: int, items: str) -> Iterator[None]:
    """If the block raises, print how many of the items are finished and where they are kept."""
    try:
        yield
    except BaseException:
        if partial is not None and partial.done:
            print(
                f"sipmask: {len(partial.done)} of {total} {items} are finished and kept in"
                f" {partial.path}; the same command goes on from there.",
                file=sys.stderr,
            )
        raise
