"""What tests of several files need: real nodes, and a GPU where there is one."""

import pytest


@pytest.hookimpl(tryfirst=True)  # before the fixtures of the test, which use the GPU
def pytest_runtest_setup(item):
    if item.get_closest_marker("cuda") is None:
        return
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")


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
