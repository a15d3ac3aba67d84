"""The topics that one camera's results are published on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.lifecycle import LifecycleNode

    from sipmask_ros.node.connections import ConnectionWatch
    from sipmask_ros.node.outputs import Output
    from sipmask_ros.node.scene import Scene


class CameraTopics:
    """Publishers, which all end together.

    prefix: of the names, such as "~" or "~/left/image"; a name with a slash in front has none.
    watch: sees who connects to them.
    """

    def __init__(self, node: LifecycleNode, prefix: str, watch: ConnectionWatch) -> None:
        self._node = node
        self._prefix = prefix
        self._watch = watch
        self._publishers: list[Any] = []

    @property
    def are_heard(self) -> bool:
        """Whether someone subscribes to one of them."""
        return any(publisher.get_subscription_count() for publisher in self._publishers)

    def offer(self, kind: type | None, name: str, depth: int) -> Any:
        """Create a topic and return its publisher."""
        topic = name if name.startswith("/") else f"{self._prefix}/{name}"
        publisher = self._node.create_lifecycle_publisher(
            kind, topic, depth, event_callbacks=self._watch.publisher_events
        )
        self._publishers.append(publisher)
        return publisher

    def offer_on_demand(self, output: Output) -> Callable[[Scene], None]:
        """Create a topic whose messages are made only while someone subscribes.

        Return what makes and publishes that of an image.
        """
        publisher = self.offer(output.kind, output.name, output.queue)

        def publish(scene: Scene) -> None:
            if publisher.get_subscription_count():
                message = output.make(scene)
                if message is not None:
                    publisher.publish(message)

        return publish

    def destroy(self) -> None:
        """Destroy the publishers."""
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)
