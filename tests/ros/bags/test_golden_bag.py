"""The figures of `sipmask evaluate bag` on a known recording; see golden_bag.py."""

import copy
import json

import pytest
import torch

pytest.importorskip("sensor_msgs", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")
pytest.importorskip("rosbags", reason="rosbags is not installed")

import golden_bag


@pytest.fixture
def threads():
    """Put back PyTorch's threads, which the evaluation sets for the whole process."""
    number = torch.get_num_threads()
    yield
    torch.set_num_threads(number)


@pytest.mark.usefixtures("threads")
@pytest.mark.skipif(
    not golden_bag.VIDEO.is_dir(), reason=f"no recorded video in {golden_bag.VIDEO}"
)
def test_the_figures_are_those_of_the_record(tmp_path):
    changes = golden_bag.differences(
        golden_bag.measure(tmp_path), json.loads(golden_bag.RECORD.read_text())
    )
    assert not changes, "\n".join([*changes, golden_bag.HOW_TO_UPDATE])


def test_every_change_is_named():
    recorded = json.loads(golden_bag.RECORD.read_text())
    assert golden_bag.differences(recorded, recorded) == []
    changed = copy.deepcopy(recorded)
    changed["inputs"]["weights"] = "another"
    changed["figures"]["segm_AP"] += 0.01
    changed["figures"]["id_switches"] += 1
    del changed["figures"]["images"]
    changed["figures"]["speed"] = 3
    found = golden_bag.differences(changed, recorded)
    assert found[0] == "The weights are not those of the record."
    assert [sentence.split()[0] for sentence in found[1:]] == [
        "id_switches",
        "images",
        "segm_AP",
        "speed",
    ]
