"""What tests of several files need: real nodes, and a GPU if there is one."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

TESTS = Path(__file__).parent

# On a busy machine an example may take any time. The examples are the same in every run: a failure
# belongs to the change that meets it. `make fuzz` tries others.
settings.register_profile(
    "patient",
    deadline=None,
    derandomize="SIPMASK_FUZZ_CASES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("patient")

# Tests send themselves Ctrl-C, which Python ignores if it was started in a shell's background.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(TESTS / "ros"):
            item.add_marker("ros")


@pytest.hookimpl(tryfirst=True)  # before the fixtures of the test, which use the GPU
def pytest_runtest_setup(item):
    if item.get_closest_marker("cuda") is None:
        return
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")


@pytest.hookimpl(tryfirst=True, wrapper=True)
def pytest_terminal_summary(terminalreporter):
    """Say in the last lines what a green run has not looked at."""
    yield
    skipped = terminalreporter.getreports("skipped")
    if any("parity" in report.keywords for report in skipped):
        terminalreporter.write_line(
            "Parity with the authors' code was not checked: its reference values are not here"
            " (SIPMASK_OFFICIAL_DIR).",
            yellow=True,
        )


@pytest.fixture
def one_thread():
    """Let PyTorch use one thread: on a small model, more of them only wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def without_curves(monkeypatch):
    """Leave out a run's curves: drawing them takes longer than an epoch of a model for tests."""
    from sipmask_core.training.journal import Journal

    monkeypatch.setattr(Journal, "draw", lambda journal: None)


@pytest.fixture(scope="module")
def ros():
    """Make this process take part in ROS, in a domain of its own."""
    import rclpy
    from ros_harness import start_ros

    start_ros()
    yield
    rclpy.shutdown()


@pytest.fixture
def start(ros, tmp_path):
    """Offer a starter of nodes that end with the test."""
    from node_harness import Starter

    starter = Starter(tmp_path)
    yield starter
    starter.end()
