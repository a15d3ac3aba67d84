"""What rclpy leaves to a lifecycle node about its transitions: to say why one fails."""

from __future__ import annotations

import traceback
from functools import wraps
from typing import TYPE_CHECKING, TypeVar

from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

if TYPE_CHECKING:
    from collections.abc import Callable

Node = TypeVar("Node", bound=LifecycleNode)


def explained(
    transition: Callable[[Node, LifecycleState], TransitionCallbackReturn],
) -> Callable[[Node, LifecycleState], TransitionCallbackReturn]:
    """Log what a transition raises, which rclpy keeps to itself before it calls on_error."""

    @wraps(transition)
    def run(node: Node, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Exception:
            node.get_logger().error(f"The transition failed.\n{traceback.format_exc()}")
            return TransitionCallbackReturn.ERROR

    return run


def refuse_impossible(node: LifecycleNode) -> None:
    """Let the node refuse a transition that its present state does not have.

    On Jazzy rclpy would end the node; from Kilted on it refuses by itself. Jazzy offers no hook for
    that, and an exception that is caught in the executor leaves who asked without an answer; so the
    callback of the service, which rclpy shows in `services`, is replaced.
    """
    (service,) = (s for s in node.services if s.srv_type is ChangeState)
    change_state = service.callback

    def refuse_or_change(
        request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        try:
            return change_state(request, response)
        except RuntimeError as error:  # the base of rclpy's RCLError, which has no public name
            node.get_logger().error(f"The state stays as it is. {error}")
            response.success = False
            return response

    service.callback = refuse_or_change
