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

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sipmask_core.drawing import contact_sheet
from sipmask_core.errors import InputError
from sipmask_core.runtime.arguments import not_negative, parsed, positive
from sipmask_core.runtime.files import write_image, write_json
from sipmask_core.runtime.provenance import provenance
from sipmask_core.video import VideoWriter, source_sha256
from sipmask_ros.transport import prepare_for_images
from sipmask_ros.trials.processes import (
    START_TIMEOUT,
    NodeProcess,
    finish,
    first_ended,
    sent_images,
    spin,
)
from sipmask_ros.trials.program import Report, program_parser, ros, run_program
from sipmask_ros.trials.recorder import Film, Recorder

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from sipmask_core.runtime.interruption import Interruption

_SHEET = (12, 3)  # moments, columns
_FILM_RATE = 30.0  # of the film if the source has a rate of its own


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; see `run_program` for what it returns.

    It has failed if a node ended while recording, nothing was segmented or the counts do not add
    up; and it is bad input if no image comes through at the start.
    """
    return run_program("demo", _parse(arguments), _run, _tell)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_parser("demo", __doc__)
    add = parser.add_argument
    add("--seconds", type=positive, default=30.0, help="how long to record (30)")
    add("--rate", type=not_negative, default=15.0, help="images per second (15); 0: the source's")
    add("--output", type=Path, default=Path("demo"), metavar="DIR", help="where to write (demo)")
    return parsed(parser, arguments)


def _tell(args: argparse.Namespace, report: Report) -> list[str]:
    """Write and print the report. Return what failed."""
    if report["frames"]["recorded"]:
        write_json(args.output / "report.json", report)
    print(_describe(report))
    if report["frames"]["recorded"]:
        print(f"Look at {args.output / 'overlay.mp4'} and {args.output / 'sheet.png'}.")
    failures = []
    if not report["frames"]["segmented"]:
        failures.append("Nothing was segmented.")
    if not report["adds_up"]:
        failures.append("The counts of frames do not add up.")
    return failures


def _run(args: argparse.Namespace, interruption: Interruption) -> Report:
    """Start both nodes, record, stop them in order. Return the report."""
    prepare_for_images()
    with ros() as stack:
        writer = VideoWriter(args.output / "overlay.mp4", args.rate or _FILM_RATE)
        film = Film(stack.enter_context(writer), args.seconds, _SHEET[0])
        stack.callback(film.finish)
        recorder = Recorder(film)
        stack.callback(recorder.destroy_node)

        print("Starting the segmentation node and the camera source ...", flush=True)
        width, height = args.size
        # Both at once: the node warns of a topic that nobody publishes on. The camera waits for it.
        # An image that comes before the node knows the recorder is counted as dropped, idle.
        node = NodeProcess("segmentation_node", {"model": args.model, "device": args.device})
        stack.callback(node.stop)
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
        record = provenance_record(args)
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


def provenance_record(args: argparse.Namespace) -> Report:
    """Return the machine, the versions and the hashes of the model and of the source's files."""
    # This imports torch, which the starting nodes need not wait for.
    from sipmask_core.inference.predictor import PRETRAINED

    record = provenance(args.command, [args.model or PRETRAINED])
    if args.source not in ("", "demo"):
        record["inputs"][args.source] = source_sha256(args.source)
    return record


def _report(args: argparse.Namespace, sent: int, recorder: Recorder, film: Film) -> Report:
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


def _describe(report: Report) -> str:
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
        f"{'' if report['adds_up'] else ' -- this does not add up'}. "
        f"{report['rate_hz']:.1f} Hz, latency from stamp to receipt p50 "
        f"{report['latency_p50_ms']:.0f} ms, p99 {report['latency_p99_ms']:.0f} ms, "
        f"{report['instances_per_frame']:.1f} instances per frame."
    )


if __name__ == "__main__":
    raise SystemExit(main())
