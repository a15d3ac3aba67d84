"""Heartbeats for Nav2's lifecycle manager, if the messages of bond_core are installed.

A manager forms a bond with each node that it has activated, on the topic `bond` of its namespace
and under the node's name, and takes the node for lost when heartbeats stay away for its
`bond_timeout`. It asks for no more than the messages, so the library bondpy is not needed, which
would also listen to the bonds of all other nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from rclpy.duration import Duration

from sipmask_ros.node.timers import steady_timer

try:
    from bond.msg import Status
except ImportError:
    Status = None

__all__ = ["Bond", "Status"]

if TYPE_CHECKING:
    from rclpy.node import Node

# Seconds, as Nav2's own servers have them.
HEARTBEAT_PERIOD = 0.25
HEARTBEAT_TIMEOUT = 4.0
# Most time that the word of the end gets to arrive.
LAST_WORD = Duration(seconds=0.1)


class Bond:
    """Publishes from now until `end` that the node is alive; for a node that a manager activates.

    Make it only if `Status` is not None.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._status = Status(
            id=node.get_name(),
            instance_id=str(uuid4()),
            active=True,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            heartbeat_period=HEARTBEAT_PERIOD,
        )
        self._publisher = node.create_publisher(Status, "bond", 5)
        self._timer = steady_timer(node, HEARTBEAT_PERIOD, self._publish)

    def end(self) -> None:
        """Publish no more and, unless rclpy has ended, say that the bond ends as it should.

        A signal may interrupt it; then it is called a second time.
        """
        self._node.destroy_timer(self._timer)
        if self._status.active and self._node.context.ok():
            self._status.active = False
            self._publish()
            self._publisher.wait_for_all_acked(LAST_WORD)
        self._node.destroy_publisher(self._publisher)

    def _publish(self) -> None:
        self._status.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(self._status)
