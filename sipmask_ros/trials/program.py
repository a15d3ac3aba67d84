"""What the programs that watch the node have in common: options, end and exit code."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rclpy
from rclpy.signals import SignalHandlerOptions

from sipmask_core.errors import InputError
from sipmask_core.runtime.arguments import width_by_height
from sipmask_core.runtime.files import require_writable, write_json
from sipmask_core.runtime.interruption import Interruption
from sipmask_ros.trials.processes import isolate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Report = dict[str, Any]


def program_parser(
    name: str, description: str | None, size: tuple[int, int] = (1280, 720)
) -> argparse.ArgumentParser:
    """Make the parser of `python -m sipmask_ros.trials.<name>`, with the options of the nodes.

    size: default (width, height) of the images.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m sipmask_ros.trials.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--source", default="demo", help="demo (default), a camera, video, folder or stream")
    add(
        "--size",
        type=width_by_height,
        default=size,
        metavar="WxH",
        help=f"width and height of the images ({size[0]}x{size[1]})",
    )
    add("--model", default="", help="model file; by default the one that ships")
    add("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
    return parser


def add_record_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --json and --plot, the files that `keep_record` writes."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw them there (PNG)")


def keep_record(
    args: argparse.Namespace, report: Report, drawn: str, draw: Callable[[Report, Path], None]
) -> None:
    """Write and draw the report as the options say.

    drawn: the part of the report without which there is nothing to draw.
    """
    if args.json:
        write_json(args.json, report)
    if args.plot and report[drawn]:
        draw(report, args.plot)


def run_program(
    name: str,
    args: argparse.Namespace,
    measure: Callable[[argparse.Namespace, Interruption], Report],
    tell: Callable[[argparse.Namespace, Report], Sequence[str]],
    targets: Sequence[Path | None] = (),
) -> int:
    """Measure, away from everybody else's nodes, and tell what came out. Return the exit code.

    measure: returns the report; its `ended_early` says why it is not complete, or is None. tell:
    prints and writes a report, even of a run that was interrupted, and returns a sentence for each
    thing that failed. targets: files that will be written; whether they can be is tried before.

    Exit codes: 0; 1 if something failed; 2 for bad input; 130 after Ctrl-C or SIGTERM.
    """
    isolate()
    try:
        for path in targets:
            if path is not None:
                require_writable(path)
        with Interruption() as interruption:
            report = measure(args, interruption)
            failures = tell(args, report)
    except InputError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if report["ended_early"]:
        failures = [report["ended_early"]]  # the rest follows from that
    for failure in failures:
        print(f"{name}: {failure}", file=sys.stderr)
    if interruption.requested:
        return 130
    return 1 if failures else 0


@contextmanager
def ros() -> Iterator[ExitStack]:
    """Use ROS within the block; what is put on the stack is closed before ROS ends."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    with ExitStack() as stack:
        stack.callback(rclpy.shutdown)
        yield stack
