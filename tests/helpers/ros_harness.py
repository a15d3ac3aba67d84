"""Real nodes as processes, and a node of the test's own to talk with them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import rclpy
from places import ROOT
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from sipmask_ros.trials.processes import isolate as isolate_discovery

# Far more than anything takes: when it passes, something hangs.
PATIENCE = 120.0


class NodeProcess:
    """A program under test, with its output in a file."""

    def __init__(self, log, *command, environment=None):
        self._log = Path(log)
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, *map(str, command)],
                cwd=ROOT,
                env=os.environ
                | {"ROS_LOG_DIR": str(self._log.parent), "PYTHONFAULTHANDLER": "1"}
                | (environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def running(self):
        return self._process.poll() is None

    @property
    def pid(self):
        return self._process.pid

    @property
    def output(self):
        return self._log.read_text()

    def last_words(self):
        """End a process that hangs; return its output, and after it where each thread stood."""
        self._process.send_signal(signal.SIGABRT)
        self._process.wait(PATIENCE)
        return self.output

    def wait(self):
        """Wait for the process to end by itself. Return its exit code."""
        return self._process.wait(PATIENCE)

    def signal(self, *numbers):
        """Send signals. Return the exit code and the seconds until the end."""
        began = time.monotonic()
        for number in numbers:
            self._process.send_signal(number)
        return self._process.wait(PATIENCE), time.monotonic() - began

    def end(self):
        if self.running:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait(PATIENCE)


class Client(Node):
    """The test's side of the topics."""

    def __init__(self, name="client", namespace=""):
        super().__init__(name, namespace=namespace)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)

    def wait_until(self, condition, process):
        """Spin until the condition holds; if it never does, fail with the process's output."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert process.running, f"The process ended.\n{process.output}"
            assert time.monotonic() < end, f"Nothing happened.\n{self}\n{process.last_words()}"
            self._executor.spin_once(timeout_sec=0.05)

    def close(self):
        self._executor.shutdown()
        self.destroy_node()


def start_ros():
    isolate_discovery()
    rclpy.init()
