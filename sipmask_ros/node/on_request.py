"""The service that segments an image which comes from no camera."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.callback_groups import ReentrantCallbackGroup

from sipmask_core.errors import InputError, PredictionError
from sipmask_ros.srv import Segment

if TYPE_CHECKING:
    from rclpy.node import Node

    from sipmask_ros.node.segmenter import Segmenter

# Requests in work at a time, each of which holds an image.
MOST_REQUESTS = 8


class SegmentService:
    """Answers `~/segment` by way of the thread that segments the cameras' images.

    segmenter: the node's while it is active, else None; then requests are refused.
    """

    def __init__(self, node: Node) -> None:
        self.segmenter: Segmenter | None = None
        self._node = node
        self._in_work = 0  # counted in the executor's thread alone
        # In a group of its own: while an answer is awaited, everything else goes on.
        group = ReentrantCallbackGroup()
        node.create_service(Segment, "~/segment", self.segment, callback_group=group)

    async def segment(
        self, request: Segment.Request, response: Segment.Response
    ) -> Segment.Response:
        """Answer a request; without success, the message says why."""
        try:
            if self.segmenter is None:
                raise InputError("The node is not active; configure and activate it first.")
            if self._in_work == MOST_REQUESTS:
                raise InputError(f"{MOST_REQUESTS} images are in work already; try again later.")
            response.instances = await self._answer(self.segmenter, request)
            response.success = True
            response.message = f"Instances: {len(response.instances.instances)}."
        except (InputError, PredictionError) as error:
            response.message = str(error)
        except Exception:
            response.message = "The image could not be segmented; the node's log says more."
        return response

    async def _answer(self, segmenter: Segmenter, request: Segment.Request) -> Any:
        answer = segmenter.request(request.image)
        answer.add_done_callback(self._wake)
        self._in_work += 1
        try:
            return await answer
        finally:
            self._in_work -= 1

    def _wake(self, answer: Any) -> None:
        """Let the executor go on with what awaits the answer, which came in another thread."""
        if (executor := self._node.executor) is not None:
            executor.wake()
