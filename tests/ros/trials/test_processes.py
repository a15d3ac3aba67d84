import os
import socket
from contextlib import ExitStack, suppress

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

import rclpy

from sipmask_ros.trials import processes


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Put back the environment variables that a test changes."""
    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE"):
        monkeypatch.setenv(name, "")


def test_a_domain_that_somebody_uses_is_not_taken():
    processes.isolate()
    free = int(os.environ["ROS_DOMAIN_ID"])
    with ExitStack() as stack:
        for domain in set(range(1, 101)) - {free}:
            other = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            with suppress(OSError):  # it is in use already
                other.bind(("", 7410 + 250 * domain))
        processes.isolate()
    assert int(os.environ["ROS_DOMAIN_ID"]) == free


def test_a_node_in_a_domain_makes_it_used():
    processes.isolate()
    mine = int(os.environ["ROS_DOMAIN_ID"])
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=mine)
    node = rclpy.create_node("here", context=context)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, pytest.raises(OSError):
        probe.bind(("", 7410 + 250 * mine))
    node.destroy_node()
    rclpy.shutdown(context=context)
