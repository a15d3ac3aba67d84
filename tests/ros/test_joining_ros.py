"""What ROS refuses when a node starts, in one sentence."""

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from rclpy.context import Context
from ros_harness import NodeProcess

from sipmask_core.errors import InputError
from sipmask_ros.start import MODULES
from sipmask_ros.transport import join_ros


@pytest.fixture
def broken_file(tmp_path):
    file = tmp_path / "broken.yaml"
    file.write_text("[1, 2")
    return file


@pytest.mark.parametrize(
    "arguments",
    [
        ("--params-file", "/no/such.yaml"),
        ("-p", "rate"),
        ("-r", "nonsense"),
        ("-r", "__node:=my-node"),
        ("--log-level", "loud"),
        ("--nonsense",),
    ],
)
def test_what_ros_cannot_read_is_named_without_lines_of_its_sources(arguments):
    with pytest.raises(InputError) as refused:
        join_ros(["node", "--ros-args", *arguments], context=Context())
    sentence = str(refused.value)
    assert arguments[-1] in sentence
    assert "\n" not in sentence and ".c:" not in sentence


@pytest.mark.parametrize("node", MODULES)
def test_a_broken_parameter_file_ends_a_node_with_a_sentence_and_2(node, broken_file, tmp_path):
    process = NodeProcess(
        tmp_path / "log", "-m", MODULES[node], "--ros-args", "--params-file", broken_file
    )
    assert process.wait() == 2
    lines = process.output.splitlines()
    assert lines[-1].startswith(f"{node}: ") and str(broken_file) in lines[-1]
    assert "Traceback" not in process.output
