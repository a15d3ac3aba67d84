"""Time the node: a camera source, the node and a subscriber as three processes on real DDS.

Sends images at fixed rates, then searches for the highest rate at which fewer than 5 % are lost.
For each rate it says what became of the images, and where the time of one goes, stage by stage,
from the camera's stamp to the subscriber's callback. The images are made before the clock starts.
Ctrl-C ends it early and keeps what was measured until then.

examples:
  python -m sipmask_ros.trials.benchmark
  python -m sipmask_ros.trials.benchmark --rates 30 --seconds 30 --json node.json --plot node.png
  python -m sipmask_ros.trials.benchmark --rates 10 --score-threshold 0.05        # more instances
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from sipmask_core.benchmark.report import STAGE_COLOURS
from sipmask_core.errors import InputError
from sipmask_core.runtime.arguments import parsed, positive
from sipmask_core.runtime.files import write_figure
from sipmask_core.runtime.provenance import provenance
from sipmask_core.runtime.stopwatch import distribution
from sipmask_ros.node.diagnostics import LATENCY_WINDOW
from sipmask_ros.transport import UNTOUCHED
from sipmask_ros.trials.processes import (
    START_TIMEOUT,
    NodeProcess,
    finish,
    first_ended,
    sent_images,
    spin,
)
from sipmask_ros.trials.program import (
    Report,
    add_record_arguments,
    keep_record,
    program_parser,
    ros,
    run_program,
)
from sipmask_ros.trials.recorder import Recorder

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from sipmask_core.runtime.interruption import Interruption

FEW = 0.05  # share of images lost that a rate may cost
_PRELOADED = 90  # images in the source's memory; six seconds of the demo scene at 15 Hz
_PRECISION = 1.05  # between the highest rate that holds and the lowest that does not
_HIGHEST = 1000.0  # Hz, nothing faster is tried

# Of the stages in a chart: those of the model as in its own chart, most others in green.
_COLOURS = STAGE_COLOURS | {
    "receive": "#e5f5e0",
    "wait": "#a1d99b",
    "track": "#9e9ac8",
    "message": "#74c476",
    "deliver": "#006d2c",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; see `run_program` for what it returns.

    It has failed if a node ended later than in the first trial; it is bad input if one does not
    start.
    """
    args = _parse(arguments)
    return run_program("benchmark", args, measure, _tell, (args.json, args.plot))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_parser("benchmark", __doc__)
    add = parser.add_argument
    add(
        "--rates",
        type=positive,
        nargs="+",
        default=[15.0, 30.0, 60.0],
        metavar="HZ",
        help=f"images per second (15 30 60), at most {_HIGHEST:g}",
    )
    add("--seconds", type=positive, default=10.0, help="how long each rate is held (10)")
    add("--no-search", action="store_true", help="only the rates given; no search for the highest")
    add(
        "--compare-transport",
        action="store_true",
        help="measure the first rate once more with the system's DDS and malloc settings",
    )
    add("--threads", type=int, default=0, metavar="N", help="CPU threads; 0: PyTorch's choice")
    add("--score-threshold", type=float, default=0.3, metavar="S", help="of the node (0.3)")
    add_record_arguments(parser)
    args = parsed(parser, arguments)
    if (highest := max(args.rates)) > _HIGHEST:
        parser.error(f"--rates holds {highest:g}; at most {_HIGHEST:g} is accepted.")
    return args


def _tell(args: argparse.Namespace, report: Report) -> list[str]:
    """Print, write and draw the report. Nothing in it is a failure."""
    print(format_report(report))
    keep_record(args, report, "trials", draw)
    return []


def measure(args: argparse.Namespace, interruption: Interruption) -> Report:
    """Run all trials: the rates asked for, then those of the search.

    Raise InputError if the first does not succeed; `ended_early` says why a later one did not.
    """
    from sipmask_core.inference.predictor import PRETRAINED

    trials: list[dict[str, Any]] = []
    with ros() as stack:
        bar = stack.enter_context(tqdm(unit="rate", disable=None, leave=False))

        def holds(rate: float) -> bool:
            bar.set_postfix_str(f"{rate:.1f} Hz")
            trials.append(run_trial(args, rate, interruption))
            bar.update()
            return bool(trials[-1]["holds"])

        report: Report = {
            "protocol": "node",
            "ended_early": None,
            "source": args.source,
            "image_size": [args.size[1], args.size[0]],
            "seconds": args.seconds,
            "score_threshold": args.score_threshold,
            "trials": trials,
        }
        try:
            verdicts = {rate: holds(rate) for rate in sorted(set(args.rates))}
            if args.compare_transport:
                untouched = run_trial(args, min(args.rates), interruption, UNTOUCHED)
                report["system_transport"] = untouched
            if not args.no_search:
                report["highest_rate_hz"] = search(verdicts, holds)
        except KeyboardInterrupt:
            pass
        except InputError as error:
            if not trials:
                raise
            report["ended_early"] = str(error)
    return report | {"provenance": provenance(args.command, [args.model or PRETRAINED])}


def search(verdicts: Mapping[float, bool], holds: Callable[[float], bool]) -> float:
    """Return the highest rate that holds, to within _PRECISION; 0 if not even 1 Hz does.

    verdicts: what is known of some rates.
    """
    low = max((rate for rate, held in verdicts.items() if held), default=0.0)
    high = min((rate for rate, held in verdicts.items() if not held and rate > low), default=None)
    while high is None and low < _HIGHEST:
        if holds(rate := min(2 * low, _HIGHEST)):
            low = rate
        else:
            high = rate
    while high is not None and high > max(1.0, low * _PRECISION):
        middle = (low * high) ** 0.5 if low else high / 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return low


def run_trial(
    args: argparse.Namespace,
    rate: float,
    interruption: Interruption,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Try one rate, with processes of its own.

    Raise InputError if one of them does not start or ends early, KeyboardInterrupt if interrupted.
    """

    def check() -> None:
        if interruption.requested:
            raise KeyboardInterrupt  # what this trial has measured does not count
        if ended := first_ended([node]):
            raise InputError(f"{ended}; it says why above.")

    with ExitStack() as stack:
        recorder = Recorder()
        stack.callback(recorder.destroy_node)
        node = NodeProcess(
            "segmentation_node",
            {
                "model": args.model,
                "device": args.device,
                "num_threads": args.threads,
                "score_threshold": args.score_threshold,
                "timing": True,
            },
            environment,
        )
        stack.callback(node.stop)
        spin(recorder, START_TIMEOUT, recorder.will_hear, interruption, node)
        check()
        if not recorder.will_hear():
            raise InputError(f"segmentation_node did not start within {START_TIMEOUT:g} s.")
        width, height = args.size
        source = NodeProcess(
            "camera_source",
            {
                "source": args.source,
                "rate": rate,
                "width": width,
                "height": height,
                "preload": _PRELOADED,
                "frames": max(1, round(rate * args.seconds)),
                "wait_for_subscriber": True,
            },
            environment,
        )
        stack.callback(source.stop)
        patience = START_TIMEOUT + 10 * args.seconds
        spin(recorder, patience, lambda: not source.is_running(), interruption, node)
        check()
        sent = sent_images(source.stop())
        if not sent:
            raise InputError(f"{source.describe_end()} without an image; it says why above.")
        finish(recorder, node)
        return figures(rate, sent, recorder)


def figures(rate: float, sent: int, recorder: Recorder) -> dict[str, Any]:
    """Return what one trial showed. Times in milliseconds."""
    told = recorder.diagnostics
    latencies = 1e3 * np.array(recorder.latencies)
    sent_hz = _sent_hz(rate, sent, recorder)
    source_is_slow = sent_hz <= (1 - FEW) * rate
    lost_share = 1 - len(latencies) / sent
    spread = distribution(latencies)
    stages = {
        key.removesuffix("_mean_ms"): {
            statistic: float(told[key.replace("mean", statistic)])
            for statistic in ("mean", "p50", "p99")
        }
        for key in told
        if key.endswith("_mean_ms")
    }
    if stages and len(latencies):
        # The node's figures are of the last images, at most LATENCY_WINDOW of them.
        before = sum(stage["mean"] for stage in stages.values())
        stages["deliver"] = {"mean": float(latencies[-LATENCY_WINDOW:].mean()) - before}
    return {
        "rate_hz": rate,
        "source_is_slow": source_is_slow,
        "holds": lost_share < FEW and not source_is_slow,
        "sent": sent,
        "sent_hz": sent_hz,
        "received": int(told["received"]),
        "recorded": len(latencies),
        "lost_share": lost_share,
        "achieved_hz": sent_hz * (1 - lost_share),
        "instances_per_image": sum(recorder.instance_counts) / max(1, len(latencies)),
        "latency_p50_ms": spread.get("p50"),
        "latency_p99_ms": spread.get("p99"),
        "peak_memory_mb": float(told["peak_memory_mb"]),
        "stages_ms": stages,
        **{key: told[key] for key in ("model", "device", "precision")},
    }


def _sent_hz(rate: float, sent: int, recorder: Recorder) -> float:
    """Return the source's rate, by the first and last stamp that came through: it may be slow."""
    stamps = np.array(recorder.receipts) - np.array(recorder.latencies)
    if len(stamps) < 2:
        return rate
    return min(rate, (sent - 1) / float(stamps[-1] - stamps[0]))


def format_report(report: Report) -> str:
    """Return tables of the rates and, for the lowest of them, of the stages."""
    lines = [f"{'Hz':>8}{'sent':>8}{'lost':>8}{'p50 ms':>9}{'p99 ms':>9}{'instances':>11}"]
    for trial in report["trials"]:
        lines.append(_row(f"{trial['rate_hz']:.1f}", trial))
    if "system_transport" in report:
        lines.append(_row("system", report["system_transport"]))
    if report["trials"]:
        lines.append(f"\nOne image at {report['trials'][0]['rate_hz']:g} Hz, in milliseconds")
        lines.append(f"{'':<10}{'mean':>8}{'p50':>8}{'p99':>8}")
        for name, stage in report["trials"][0]["stages_ms"].items():
            lines.append(f"{name:<10}" + "".join(f"{value:>8.2f}" for value in stage.values()))
    if "highest_rate_hz" in report:
        lines.append(f"\nFewer than 5 % are lost up to {report['highest_rate_hz']:.1f} Hz.")
    if slow := [trial["sent_hz"] for trial in report["trials"] if trial["source_is_slow"]]:
        lines.append(f"The source sends no more than {max(slow):.1f} Hz.")
    return "\n".join(lines)


def _row(name: str, trial: dict[str, Any]) -> str:
    latencies = [trial["latency_p50_ms"], trial["latency_p99_ms"]]
    return (
        f"{name:>8}{trial['sent']:>8}{trial['lost_share']:>8.1%}"
        + "".join(f"{'-' if value is None else format(value, '.1f'):>9}" for value in latencies)
        + f"{trial['instances_per_image']:>11.1f}"
    )


def draw(report: dict[str, Any], path: Path) -> None:
    """Draw a chart: how many images come through at each rate, and where the time of one goes."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    trials = sorted(report["trials"], key=lambda trial: trial["rate_hz"])
    # Room for a legend below, which Matplotlib leaves by itself only from 3.7 on.
    figure = Figure(figsize=(11, 4), layout=ConstrainedLayoutEngine(rect=(0, 0.14, 1, 0.86)))
    through, budget = figure.subplots(1, 2)
    rates = [trial["rate_hz"] for trial in trials]
    through.plot([0, *rates], [0, *rates], color="0.7", label="sent")
    through.plot(rates, [trial["achieved_hz"] for trial in trials], "o-", label="results")
    if system := report.get("system_transport"):
        label = "results with the system's DDS and malloc"
        through.plot(system["rate_hz"], system["achieved_hz"], "x", color="C3", label=label)
    through.set(xlabel="images sent, Hz", ylabel="results, Hz", ylim=(0, None), xlim=(0, None))
    if "highest_rate_hz" in report:
        highest = report["highest_rate_hz"]
        through.axvline(highest, color="0.4", ls=":", label=f"under 5 % lost: {highest:.1f} Hz")
    through.legend()
    shown = [trial for trial in report["trials"] if trial["stages_ms"]][:3]
    labels = [f"{trial['rate_hz']:g} Hz" for trial in shown]
    left = np.zeros(len(shown))
    for stage in shown[0]["stages_ms"] if shown else ():
        width = np.array([trial["stages_ms"].get(stage, {"mean": 0.0})["mean"] for trial in shown])
        budget.barh(labels, width, left=left, label=stage, color=_COLOURS[stage])
        left += width
    budget.invert_yaxis()
    budget.set(xlabel="mean milliseconds from the camera's stamp to the subscriber")
    figure.suptitle(f"{trials[0]['model']}, {trials[0]['device']}, {trials[0]['precision']}")
    figure.legend(*budget.get_legend_handles_labels(), loc="lower center", ncols=7)
    write_figure(path, figure)


if __name__ == "__main__":
    raise SystemExit(main())
