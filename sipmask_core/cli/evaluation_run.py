"""A model's run over a data set, which can be interrupted: what the kinds of `evaluate` share."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipmask_core.cli.options import load_predictor, model_files, ran_with
from sipmask_core.errors import InputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from sipmask_core.data.coco_results import Result
    from sipmask_core.evaluation.partial_results import PartialResults
    from sipmask_core.segmenter import Segmenter

    # [results, seconds of each image or frame] of each item, those finished by an earlier run
    # included, as JSON has them; and how many images or frames per second this run has finished.
    Share = tuple[list[Any], float | None]

_THRESHOLD = 0.05  # lowest score that counts, of models that have no preset to say it
# With --results no model runs, so that these would do nothing.
_OF_A_RUN = ("score_threshold", "save_results", "restart", "checkpoint", "preset")


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
        help="lowest score that counts (default: 0.05; the authors' presets keep their own)",
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
    add("--restart", action="store_true", help="forget what an interrupted run has finished")
    add("--json", type=Path, metavar="FILE", help="write the report there")


def check_run_arguments(args: argparse.Namespace, more_of_a_run: Sequence[str] = ()) -> None:
    """Raise InputError for numbers below 1 and, with --results, for options of a model's run."""
    refuse_beside_results(args, (*_OF_A_RUN, *more_of_a_run))
    for option, number in (("--limit", args.limit), ("--workers", args.workers)):
        if number is not None and number < 1:
            raise InputError(f"{option} is {number}; it must be 1 or more.")


def refuse_beside_results(args: argparse.Namespace, options: Sequence[str]) -> None:
    """Raise InputError if one of the options is given and, with --results, no model runs."""
    for option in options:
        value = getattr(args, option)
        if args.results is not None and value is not None and value is not False:
            raise InputError(
                f"--{option.replace('_', '-')} is for a model's run; with --results none runs."
            )


def load_evaluated(args: argparse.Namespace, class_names: Sequence[str]) -> Segmenter:
    """Load the model that the options ask for, with the score threshold of evaluation.

    class_names: of the data set; lines are printed about those that the model does not know, and
    those that it writes differently.
    """
    from sipmask_core.data.classes import matching_names
    from sipmask_core.inference.predictor import Predictor
    from sipmask_core.runtime.distributed import say

    predictor = load_predictor(args, score_threshold=args.score_threshold)
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
    work: Callable[[PartialResults | None], Share],
    write: Callable[[list[Result]], None],
    *,
    count: int,
    unit: str,
    places: Sequence[Path],
    making: dict[str, Any],
    restart: bool,
) -> tuple[list[Result], dict[str, Any]]:
    """Run the model, write what it finds, and return that and the run's part of the report.

    work: goes through this process's share of the items, of which there are `count` in all. With
        several processes the first one gets all results and writes them.
    unit: what is timed, image or frame. places: where results go; what an interrupted run has
        finished lies beside the first one, see `PartialResults` for `making` and `restart`.
    """
    from sipmask_core.evaluation.partial_results import PartialResults
    from sipmask_core.evaluation.run_images import format_latencies
    from sipmask_core.runtime.distributed import gathered, is_main, world_size
    from sipmask_core.runtime.stopwatch import latencies

    with ExitStack() as stack:
        partial = None
        if places and world_size() == 1:
            partial = stack.enter_context(PartialResults(places[0], making, restart=restart))
        share, per_second = work(partial)
        items = gathered(share, count)
        results = [result for of_item, _ in items for result in of_item]
        if is_main():
            write(results)
        if partial is not None:
            partial.remove()
    report = ran_with(predictor)
    if is_main():
        report["latency_ms"] = latencies([timed for _, seconds in items for timed in seconds])
        print(format_latencies(report["latency_ms"]))
        if per_second is not None:
            report[f"{unit}s_per_second"] = per_second * world_size()
            print(f"{report[f'{unit}s_per_second']:.1f} {unit}s/s")
    return results, report


@contextmanager
def telling_what_is_kept(partial: PartialResults | None, total: int, items: str) -> Iterator[None]:
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


def rate(ends: Sequence[float]) -> float | None:
    """Return items per second from the times (s) at which they ended; None for fewer than two.

    The first item does not count: its time includes the start of the threads and the warm-up.
    """
    return (len(ends) - 1) / (ends[-1] - ends[0]) if len(ends) > 1 else None
