"""Nodes as processes of their own, for programs that watch them from outside."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import rclpy

from sipmask_ros.start import MODULES
from sipmask_ros.trials.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rclpy.node import Node

    from sipmask_core.runtime.interruption import Interruption

# Seconds. At its start the node imports torch and loads its model.
START_TIMEOUT = 120.0
STOP_TIMEOUT = 5.0
_TURN = 0.1  # how long a signal or a dead process may go unnoticed
_IN_FLIGHT = 0.5  # until the last images have come through


def isolate() -> None:
    """Keep this process and its children away from everybody else's nodes and off the network."""
    os.environ["ROS_DOMAIN_ID"] = str(_unused_domain())
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"


def _unused_domain() -> int:
    """Return a random domain of which nobody on this machine has the first participant's port.

    Which port that is: DDSI-RTPS 2.5, section 9.6.2.3. If all are in use, any domain will do.
    """
    domains = random.sample(range(1, 101), 100)
    for domain in domains:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
            probe.bind(("", 7410 + 250 * domain))
            return domain
    return domains[0]


class NodeProcess:
    """A node in a session of its own, so that the terminal's Ctrl-C reaches only this program.

    It does not outlive this program, even if that is killed; see `tether`.

    name: of the node, one of `start.MODULES`. parameters: of the node. environment: variables to
    add.
    """

    def __init__(
        self,
        name: str,
        parameters: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        tether = [sys.executable, "-m", "sipmask_ros.trials.tether"]
        command = [*tether, MODULES[name], "--ros-args"]
        for key, value in parameters.items():
            command += ["-p", f"{key}:={json.dumps(value)}"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
        # Out of the reach of `communicate`, which closes it before the node has ended.
        self._tether, self._process.stdin = self._process.stdin, None
        self._name = name
        self._output: str | None = None

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def is_running(self) -> bool:
        """Return whether it has not ended."""
        return self._process.poll() is None

    def describe_end(self) -> str:
        """Say how it ended."""
        return f"{self._name} ended with exit code {self._process.poll()}"

    def stop(self) -> str:
        """End it, by force if that takes too long. Return what it printed."""
        if self._output is None:
            # Not SIGINT: a Python that still imports would print a traceback.
            self._process.terminate()
            try:
                self._output, _ = self._process.communicate(timeout=STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._output, _ = self._process.communicate()
            assert self._tether is not None
            self._tether.close()
        return self._output


def first_ended(processes: Sequence[NodeProcess]) -> str | None:
    """Say which of the processes has ended, and how; None if all are running."""
    return next((p.describe_end() for p in processes if not p.is_running()), None)


def sent_images(output: str) -> int:
    """Return the count that camera_source prints when it ends; 0 if it was killed."""
    lines = output.splitlines()
    return int(json.loads(lines[-1])["sent"]) if lines else 0


def spin(
    watcher: Node,
    timeout: float,
    done: Callable[[], bool],
    interruption: Interruption | None = None,
    *processes: NodeProcess,
) -> None:
    """Listen until it is done, time is up, a signal came or one of the processes has ended."""
    end = time.monotonic() + timeout
    while time.monotonic() < end and not done():
        if interruption is not None and interruption.requested:
            return
        if not all(process.is_running() for process in processes):
            return
        rclpy.spin_once(watcher, timeout_sec=_TURN)


def finish(recorder: Recorder, node: NodeProcess) -> None:
    """Record the images on their way and the node's final counts, once the source has ended."""
    spin(recorder, _IN_FLIGHT, lambda: False)
    if node.is_running() and recorder.diagnostics:  # one that is still starting has no counts
        answer = recorder.deactivate_watched()
        spin(recorder, STOP_TIMEOUT, lambda: answer.done() and recorder.has_everything())
    node.stop()
