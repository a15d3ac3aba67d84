"""The `sipmask` command: its verbs, and what its exit status says."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

from sipmask_core.errors import AvoidableError, InputError, PredictionError, nearest_of
from sipmask_core.runtime.arguments import parsed
from sipmask_core.runtime.memory import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

# Each is a module of `sipmask_core.cli` with SUMMARY, add_arguments(parser) and run(args). They
# import torch and cv2 inside run(), so that `sipmask --help` answers at once.
_VERBS = (
    "predict",
    "track",
    "dataset",
    "train",
    "evaluate",
    "benchmark",
    "export",
    "convert",
    "presets",
    "weights",
)

_EXAMPLES = """\
examples:
  sipmask predict photo.jpg street.mp4 --output seen/   segment with the model that ships inside
  sipmask presets                                       the configurations that you can build
  sipmask weights list                                  what is published, and what you have
  sipmask predict --help                                options and examples of one verb

exit status: 0 done; 1 done, with failures that were named; 2 wrong usage or bad input;
             130 interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit status.

    arguments: without the program's name; None takes those of this process. The status is 0 if all
    is done, 1 if done with failures that were named, 2 for wrong usage or bad input (one sentence
    on stderr), and 130 if interrupted.
    """
    # Decoders complain on stderr about files that we then name ourselves.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    args = argparse.Namespace()
    try:
        args = parsed(make_parser(), arguments)
        status: int = args.run(args)
        return status
    except AvoidableError as error:
        remedy = ""
        if hasattr(args, error.argument):
            remedy = f" --{error.argument.replace('_', '-')} {error.effect}."
        print(f"sipmask: {error.problem}{remedy}", file=sys.stderr)
        return 2
    except InputError as error:
        print(f"sipmask: {error}", file=sys.stderr)
        return 2
    except PredictionError as error:
        print(f"sipmask: {error}", file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        reason = str(error).partition("\n")[0]
        print(f"sipmask: memory ran out. {reason}".rstrip(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("sipmask: interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; keep the interpreter from flushing again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of `sipmask` and its verbs."""
    parser = _Parser(
        prog="sipmask",
        usage="sipmask [-h] [--version] VERB ...",
        description="Instance segmentation with SipMask: masks, boxes, classes and scores.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sipmask {_version()}")
    verbs = parser.add_subparsers(
        title="verbs",
        description="`sipmask VERB --help` explains one, with examples.",
        metavar="VERB",
        required=True,
    )
    for name in _VERBS:
        verb = importlib.import_module(f"sipmask_core.cli.{name}")
        sub = verbs.add_parser(
            name,
            prog=f"sipmask {name}",
            help=verb.SUMMARY,
            description=verb.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        verb.add_arguments(sub)
        sub.set_defaults(run=verb.run)
    return parser


class _Parser(argparse.ArgumentParser):
    """Refuses unknown words where they stand, behind their verb, and says which may be meant."""

    def parse_known_args(self, *arguments: Any, **options: Any) -> Any:
        """Parse as argparse does; end with status 2 and a sentence if a word is left over."""
        known, unknown = super().parse_known_args(*arguments, **options)
        if unknown:
            words = " ".join(unknown)
            option = unknown[0].partition("=")[0]
            near = nearest_of(option, self._option_string_actions)
            self.error(f"unrecognized arguments: {words}{near and '; '}{near}")
        return known, unknown


def _version() -> str:
    try:
        return metadata.version("sipmask-core")
    except metadata.PackageNotFoundError:
        return "from a source tree"
