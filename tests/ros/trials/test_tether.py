"""What a tethered program does when the one that started it is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from places import ROOT

CHILD = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n"
# Holds the other end of its child's input, as `NodeProcess` does.
PARENT = """
import subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-m", "sipmask_ros.trials.tether", *sys.argv[1:]], stdin=subprocess.PIPE
)
child.wait()
"""


def _start(command: list[str], folder: Path, **options: int) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{folder}"}
    return subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, text=True, env=environment, **options
    )


def test_it_ends_when_the_other_is_killed(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(CHILD)
    parent = _start(["-c", PARENT, "sleeper"], tmp_path)
    assert parent.stdout is not None
    assert int(parent.stdout.readline()) != parent.pid
    parent.kill()
    # The end of its output: nobody holds the pipe any more, so the child is gone, too.
    assert parent.stdout.read() == ""
    assert parent.wait() == -signal.SIGKILL


def test_it_runs_the_module_as_a_program_with_its_arguments_and_exit_code(tmp_path: Path) -> None:
    (tmp_path / "teller.py").write_text(
        "import sys\nif __name__ == '__main__':\n    print(sys.argv[1:])\n    sys.exit(7)\n"
    )
    program = _start(
        ["-m", "sipmask_ros.trials.tether", "teller", "--ros-args", "-p", "a:=1"],
        tmp_path,
        stdin=subprocess.PIPE,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "['--ros-args', '-p', 'a:=1']\n"
    assert program.wait() == 7
