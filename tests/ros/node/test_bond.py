"""The bond with Nav2's lifecycle manager, with stand-ins for the messages and the node."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from sipmask_ros.node import bond


@dataclass(slots=True)
class Status:
    """The fields of bond/Status."""

    header: Header = field(default_factory=Header)
    id: str = ""
    instance_id: str = ""
    active: bool = False
    heartbeat_timeout: float = 0.0
    heartbeat_period: float = 0.0


class Node:
    """Keeps what is published, on which topic, and the callback of its one timer."""

    def __init__(self, ok=True):
        self.published, self.topic, self.beat, self.period = [], None, None, None
        self.context = SimpleNamespace(ok=lambda: ok)

    def get_name(self):
        return "segmentation_node"

    def get_clock(self):
        now = SimpleNamespace(to_msg=lambda: Time(sec=len(self.published)))
        return SimpleNamespace(now=lambda: now)

    def create_publisher(self, kind, topic, depth):
        assert kind is Status
        self.topic = topic
        return SimpleNamespace(
            publish=lambda status: self.published.append(
                replace(status, header=Header(stamp=status.header.stamp))
            ),
            wait_for_all_acked=lambda timeout: True,
        )

    def create_timer(self, period, callback, clock):
        self.period, self.beat = period, callback
        return "timer"

    def destroy_timer(self, timer):
        assert timer == "timer"
        self.beat = None

    def destroy_publisher(self, publisher):
        self.topic = None


@pytest.fixture(autouse=True)
def messages(monkeypatch):
    monkeypatch.setattr(bond, "Status", Status)


def test_heartbeats_carry_the_node_s_name_and_one_instance_id_until_a_last_word():
    node = Node()
    alive = bond.Bond(node)
    assert node.topic == "bond"  # in the namespace that node and manager share
    for _ in range(3):
        node.beat()
    alive.end()
    alive.end()
    assert [status.active for status in node.published] == [True, True, True, False]
    assert {status.id for status in node.published} == {"segmentation_node"}
    assert len({status.instance_id for status in node.published} - {""}) == 1
    assert [status.header.stamp.sec for status in node.published] == [0, 1, 2, 3]
    assert node.published[0].heartbeat_period == node.period
    assert (node.beat, node.topic) == (None, None)


def test_each_bond_is_another_instance_because_managers_take_a_repeated_one_for_dead():
    node = Node()
    for _ in range(2):
        alive = bond.Bond(node)
        node.beat()
        alive.end()
    ids = [status.instance_id for status in node.published]
    assert ids[0] == ids[1] != ids[2] == ids[3]


def test_once_rclpy_has_ended_nothing_more_is_published():
    node = Node(ok=False)
    bond.Bond(node).end()
    assert node.published == []
