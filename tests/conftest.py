"""Fixtures for tests that talk with real nodes."""

import pytest


@pytest.fixture(scope="module")
def ros():
    """This process takes part in ROS, in a domain of its own."""
    import rclpy
    from ros_harness import start_ros

    start_ros()
    yield
    rclpy.shutdown()


@pytest.fixture
def start(ros, tmp_path):
    """Starts nodes that end with the test."""
    from node_harness import Starter

    starter = Starter(tmp_path)
    yield starter
    starter.end()
