"""See the node work: a camera source and the segmentation node as two processes on real DDS.

Records for a while what the node publishes, then says what became of every frame and writes
overlay.mp4, sheet.png (12 moments of it) and report.json. Ctrl-C ends it early and keeps what was
recorded until then.

examples:
  python -m sipmask_ros.trials.demo
  python -m sipmask_ros.trials.demo --source clip.mp4 --rate 0 --seconds 60 --output seen
  python -m sipmask_ros.trials.demo --source /dev/video0 --rate 0
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rclpy
from rclpy.signals import SignalHandlerOptions

from sipmask_core.drawing import contact_sheet
from sipmask_core.errors import InputError
from sipmask_core.runtime.files import write_image, write_json
from sipmask_core.runtime.interruption import Interruption
from sipmask_core.runtime.provenance import provenance
from sipmask_core.video import VideoWriter, source_sha256
from sipmask_ros.transport import prepare_for_images
from sipmask_ros.trials.processes import (
    START_TIMEOUT,
    NodeProcess,
    add_node_arguments,
    finish,
    first_ended,
    isolate,
    sent_images,
    spin,
)
from sipmask_ros.trials.recorder import Film, Recorder

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHEET = (12, 3)  # moments, columns
_FILM_RATE = 30.0  # of the film if the source has a rate of its own


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo.

    Return 0; 1 if a node ended while recording, nothing was segmented or the counts do not add
    up; 2 for bad input or if no image came through at the start; 130 if it was interrupted.
    """
    args = _parse(arguments)
    isolate()
    try:
        with Interruption() as interruption:
            report = _run(args, interruption)
            if report["frames"]["recorded"]:
                write_json(args.output / "report.json", report)
    except InputError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if report["ended_early"]:
        print(f"demo: {report['ended_early']}", file=sys.stderr)
        return 1
    print(_describe(report))
    if report["frames"]["recorded"]:
        print(f"Look at {args.output / 'overlay.mp4'} and {args.output / 'sheet.png'}.")
    if interruption.requested:
        return 130
    return 0 if report["frames"]["segmented"] and report["adds_up"] else 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sipmask_ros.trials.demo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_node_arguments(parser)
    add = parser.add_argument
    add("--seconds", type=float, default=30.0, help="how long to record (30)")
    add("--rate", type=float, default=15.0, help="images per second (15); 0: the source's own")
    add("--output", type=Path, default=Path("demo"), metavar="DIR", help="where to write (demo)")
    args = parser.parse_args(arguments)
    if args.seconds <= 0 or args.rate < 0:
        parser.error(
            f"--seconds is {args.seconds}, --rate {args.rate}; above 0 and 0 up are valid."
        )
    return args


def _run(args: argparse.Namespace, interruption: Interruption) -> dict[str, Any]:
    """Start both nodes, record, stop them in order. Return the report."""
    prepare_for_images()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    with ExitStack() as stack:
        stack.callback(rclpy.shutdown)
        writer = VideoWriter(args.output / "overlay.mp4", args.rate or _FILM_RATE)
        film = Film(stack.enter_context(writer), args.seconds, _SHEET[0])
        stack.callback(film.finish)
        recorder = Recorder(film)
        stack.callback(recorder.destroy_node)

        print("Starting the segmentation node and the camera source ...", flush=True)
        node = NodeProcess("segmentation_node", {"model": args.model, "device": args.device})
        stack.callback(node.stop)
        record = _record(args)
        width, height = args.size
        # No image goes out before all its results will be heard.
        spin(recorder, START_TIMEOUT, recorder.will_hear, interruption, node)
        source = NodeProcess(
            "camera_source",
            {
                "source": args.source,
                "rate": args.rate,
                "width": width,
                "height": height,
                "wait_for_subscriber": True,
            },
        )
        stack.callback(source.stop)
        both = (node, source)
        spin(recorder, START_TIMEOUT, lambda: bool(recorder.receipts), interruption, *both)
        if not recorder.receipts and not interruption.requested:
            if ended := first_ended(both):
                raise InputError(f"{ended} before an image was segmented; it says why above.")
            raise InputError(
                f"No image was segmented within {START_TIMEOUT:g} s, though both nodes run: the "
                "source sends none, or the model needs longer for one."
            )
        print(f"Recording for {args.seconds:g} s ...", flush=True)
        spin(recorder, args.seconds, lambda: film.failed, interruption, *both)
        ended = first_ended(both)

        sent = sent_images(source.stop())
        finish(recorder, node)
        film.finish()
        if film.stills:
            write_image(args.output / "sheet.png", contact_sheet(film.stills, _SHEET[1]))
        report = _report(args, sent, recorder, film)
        report["ended_early"] = ended and f"{ended} while recording; what came before is kept."
        return report | {"provenance": record}


def _record(args: argparse.Namespace) -> dict[str, Any]:
    """Return the machine, the versions and the hashes of the model and of the source's files."""
    # This imports torch, which the starting nodes need not wait for.
    from sipmask_core.inference.predictor import PRETRAINED

    record = provenance([args.model or PRETRAINED])
    if args.source not in ("", "demo"):
        record["inputs"][args.source] = source_sha256(args.source)
    return record


def _report(args: argparse.Namespace, sent: int, recorder: Recorder, film: Film) -> dict[str, Any]:
    """Return everything that was counted; `adds_up` says that no frame is unaccounted for."""
    told = recorder.diagnostics
    received, segmented = int(told.get("received", 0)), int(told.get("segmented", 0))
    dropped = {key: int(value) for key, value in told.items() if key.startswith("dropped_")}
    elapsed = recorder.receipts[-1] - recorder.receipts[0] if recorder.receipts else 0.0
    p50, p99 = (
        np.percentile(recorder.latencies, (50, 99)) * 1e3 if recorder.latencies else (0.0, 0.0)
    )
    recorded = len(recorder.receipts)
    return {
        "frames": {
            "sent": sent,
            "lost_in_transport": sent - received,
            "received": received,
            "segmented": segmented,
            **dropped,
            "recorded": recorded,
        },
        "adds_up": sent >= received
        and received == segmented + sum(dropped.values())
        and recorded == segmented,
        "rate_hz": (recorded - 1) / elapsed if elapsed else 0.0,
        "latency_p50_ms": float(p50),
        "latency_p99_ms": float(p99),
        "instances_per_frame": sum(recorder.instance_counts) / max(1, recorded),
        "overlays_not_filmed": film.skipped,
        "source": args.source,
        "image_size": [args.size[1], args.size[0]],
        "source_rate_hz": args.rate,
        "model": told.get("model"),
        "device": told.get("device"),
        "precision": told.get("precision"),
    }


def _describe(report: dict[str, Any]) -> str:
    frames = report["frames"]
    drops = {
        key.removeprefix("dropped_"): value
        for key, value in frames.items()
        if key.startswith("dropped_") and value
    }
    reasons = ", ".join(f"{value} {reason}" for reason, value in drops.items()) or "none"
    return (
        f"{frames['sent']} frames sent = {frames['received']} received + "
        f"{frames['lost_in_transport']} lost in transport; {frames['received']} received = "
        f"{frames['segmented']} segmented + {sum(drops.values())} dropped ({reasons})"
        f"{'' if report['adds_up'] else ' -- THIS DOES NOT ADD UP'}. "
        f"{report['rate_hz']:.1f} Hz, latency from stamp to receipt p50 "
        f"{report['latency_p50_ms']:.0f} ms, p99 {report['latency_p99_ms']:.0f} ms, "
        f"{report['instances_per_frame']:.1f} instances per frame."
    )


if __name__ == "__main__":
    raise SystemExit(main())
