"""Run a module as a program that ends with the one that started it, even if that is killed.

usage: python -m sipmask_ros.trials.tether MODULE [ARGUMENT ...]

Standard input must be a pipe whose other end only the starting program holds: the system closes it
when that program ends, however it ends.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def main() -> None:
    """Run the module that the first argument names; the other arguments are for it."""
    threading.Thread(target=_end_with_the_other, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with_the_other() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGKILL)  # nobody is left to whom an orderly end would matter


if __name__ == "__main__":
    main()
