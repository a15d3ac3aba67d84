"""Stress the node with 100,000 small images from several cameras, and see what they leave behind.

Runs the node that ships as a process, sends it images from several cameras, and reads from outside
its memory, file handles and threads, while cameras pause, change size, encoding and clock, send
bursts and broken images, viewers come and go, parameters change and the node is deactivated and
activated again. The node's warnings about broken images are part of that.

Each camera sends its next image when the last one's result has come, so the rate is the highest at
which none is lost, but for the bursts. To keep it high, the network's input is 128x128 pixels.

Fails (exit code 1) if memory grows by 1 % or more after the warm-up, the first tenth of the
frames; file handles or threads become more; an image is not accounted for; a camera's track id is
used twice; or a request is refused. Ctrl-C ends it early and keeps what was measured until then.

examples:
  python -m sipmask_ros.trials.soak
  python -m sipmask_ros.trials.soak --frames 20000 --cameras 1 --calm --json soak.json \\
      --plot soak.png
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rclpy
from tqdm import tqdm

from sipmask_core.errors import InputError
from sipmask_core.runtime.arguments import count, parsed
from sipmask_core.runtime.provenance import provenance
from sipmask_core.runtime.stopwatch import distribution
from sipmask_ros.camera.camera_source import Settings, open_source
from sipmask_ros.transport import prepare_for_images
from sipmask_ros.trials.processes import (
    START_TIMEOUT,
    STOP_TIMEOUT,
    NodeProcess,
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
from sipmask_ros.trials.soak_cameras import PATIENCE, Cameras
from sipmask_ros.trials.soak_disturbances import Disturbances
from sipmask_ros.trials.soak_report import WARM_UP, describe, draw, judge
from sipmask_ros.trials.usage import usage_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from sipmask_core.runtime.interruption import Interruption

INPUT = 128  # side of the network's input, pixels
_PRELOADED = 120  # images in memory; all of the demo scene at _SOURCE_RATE
_SOURCE_RATE = 4.0  # Hz
_SAMPLES = 1000  # of the node's usage, at most
_DISTURBANCES = 400
_SHORTEST = 10  # frames between two samples, and between two disturbances
STALLED = 60.0  # seconds without a result after which the run is given up
_TURN = 0.05  # seconds that a pause or an overdue result may go unnoticed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak; see `run_program` for what it returns.

    It has failed if a criterion does not hold or the node ends or falls silent; it is bad input if
    the node does not start.
    """
    args = _parse(arguments)
    return run_program("soak", args, measure, _tell, (args.json, args.plot))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_parser("soak", __doc__, size=(160, 120))
    add = parser.add_argument
    add("--frames", type=count, default=100_000, metavar="N", help="results to wait for (100000)")
    add("--cameras", type=count, default=3, metavar="N", help="on one node (3)")
    add("--calm", action="store_true", help="let nothing happen but images")
    add("--seed", type=int, default=0, help="of the order of what happens (0)")
    add_record_arguments(parser)
    return parsed(parser, arguments)


def _tell(args: argparse.Namespace, report: Report) -> list[str]:
    """Print, write and draw the report. Return the criteria that do not hold."""
    print(describe(report))
    keep_record(args, report, "samples", draw)
    return [c["says"] for c in report["criteria"] if c["holds"] is False]


def measure(args: argparse.Namespace, interruption: Interruption) -> Report:
    """Run node and cameras. Return the report; raise InputError if the node does not start."""
    from sipmask_core.inference.predictor import PRETRAINED

    prepare_for_images()
    with ros() as stack:
        cameras = Cameras(args.cameras, _images(args))
        stack.callback(cameras.destroy_node)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        node = NodeProcess(
            "segmentation_node",
            {
                "model": str(_small_model(args.model or PRETRAINED, folder)),
                "device": args.device,
                "num_threads": 1,
                "image_topics": cameras.topics,
            },
        )
        stack.callback(node.stop)
        spin(cameras, START_TIMEOUT, cameras.are_heard, interruption, node)
        if interruption.requested:
            raise KeyboardInterrupt
        if not node.is_running():
            raise InputError(f"{node.describe_end()}; it says why above.")
        if not cameras.are_heard():
            raise InputError(f"segmentation_node did not start within {START_TIMEOUT:g} s.")

        disturbances = Disturbances(
            cameras,
            max(_SHORTEST, args.frames // _DISTURBANCES),
            args.seed,
            warm_up=int(WARM_UP * args.frames),
        )
        samples, ended_early = send_and_hear(args, cameras, disturbances, node, interruption)
        _finish(cameras, node)
        return _report(args, cameras, disturbances, samples) | {
            "ended_early": ended_early,
            "provenance": provenance(args.command, [args.model or PRETRAINED]),
        }


def _images(args: argparse.Namespace) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    width, height = args.size
    settings = Settings(args.source, rate=_SOURCE_RATE, width=width, height=height)
    images, _ = open_source(settings, lambda sentence: print(sentence, file=sys.stderr))
    return list(islice(images, _PRELOADED))


def _small_model(path: Path | str, folder: Path) -> Path:
    """Write the model, with a smaller input, to a file of its own. Return the file's path."""
    from sipmask_core.model.checkpoints import load_model, save_checkpoint
    from sipmask_core.model.presets import Letterbox

    model = load_model(path)
    preset = dataclasses.replace(model.preset, resize=Letterbox(INPUT, INPUT))
    save_checkpoint(model.with_preset(preset), folder / "small.safetensors")
    return folder / "small.safetensors"


def send_and_hear(
    args: argparse.Namespace,
    cameras: Cameras,
    disturbances: Disturbances,
    node: NodeProcess,
    interruption: Interruption,
) -> tuple[list[dict[str, Any]], str | None]:
    """Send and hear until there are enough results. Return samples and what ended it early."""
    samples: list[dict[str, Any]] = []
    interval = max(_SHORTEST, args.frames // _SAMPLES)
    results, since = 0, time.monotonic()  # those of the last sample
    with tqdm(total=args.frames, unit="frame", disable=None, leave=False) as bar:
        while cameras.results < args.frames and not interruption.requested:
            if not node.is_running():
                return samples, f"{node.describe_end()} after {cameras.results} frames."
            if time.monotonic() - since > STALLED:
                return samples, f"Fewer than {interval} results came in {STALLED:g} s."
            cameras.send_due()
            if not args.calm:
                disturbances.step()
            rclpy.spin_once(cameras, timeout_sec=_TURN)
            new = cameras.results - results
            if new >= interval:
                rate = new / (time.monotonic() - since)
                with suppress(OSError):  # it ends just now
                    samples.append(_sample(cameras, node.pid, rate))
                    bar.set_postfix_str(f"{samples[-1]['anonymous'] / 2**20:.1f} MiB")
                bar.update(new)
                results, since = cameras.results, time.monotonic()
    return samples, None


def _sample(cameras: Cameras, pid: int, rate: float) -> dict[str, Any]:
    latency = distribution(1e3 * np.array(cameras.take_latencies()))
    return {
        "frames": cameras.results,
        "rate_hz": rate,
        "latency_p50_ms": latency.get("p50"),
        "latency_p99_ms": latency.get("p99"),
        **dataclasses.asdict(usage_of(pid)),
    }


def _finish(cameras: Cameras, node: NodeProcess) -> None:
    """Hear the results that are under way and the node's final counts."""
    if node.is_running():
        spin(cameras, PATIENCE, lambda: False)
        # A transition in the middle of another would be refused.
        spin(cameras, START_TIMEOUT, lambda: not cameras.is_waiting(), None, node)
        cameras.finish()
        spin(cameras, STOP_TIMEOUT, cameras.has_everything)
    node.stop()


def _report(
    args: argparse.Namespace,
    cameras: Cameras,
    disturbances: Disturbances,
    samples: list[dict[str, Any]],
) -> dict[str, Any]:
    frames = {"sent": cameras.sent, **cameras.counts, "recorded": cameras.results}
    tallies = {
        "ids_used_twice": sum(camera.ids_used_twice for camera in cameras.cameras),
        "refusals": len(cameras.refusals) + cameras.is_waiting(),
    }
    told = next(iter(cameras.told.values()))
    criteria = judge(frames, samples, tallies, cameras.finished)
    return {
        "protocol": "soak",
        "cameras": args.cameras,
        "source": args.source,
        "image_size": [args.size[1], args.size[0]],
        "network_input": [INPUT, INPUT],
        "seed": args.seed,
        "frames": frames,
        "happened": dict(disturbances.happened),
        **tallies,
        **{key: told[key] for key in ("model", "device", "precision")},
        "criteria": [dataclasses.asdict(criterion) for criterion in criteria],
        "samples": samples,
    }


if __name__ == "__main__":
    raise SystemExit(main())
