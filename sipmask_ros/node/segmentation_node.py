"""The lifecycle node: camera images in, instance masks out."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_srvs.srv import Trigger

from sipmask_core.errors import InputError
from sipmask_ros.node import bond
from sipmask_ros.node.configuration import Configuration
from sipmask_ros.node.model_loader import ModelLoader, load_predictor
from sipmask_ros.node.on_request import SegmentService
from sipmask_ros.node.parameters import Parameters
from sipmask_ros.node.process import run
from sipmask_ros.node.segmenter import Segmenter
from sipmask_ros.node.target_frame import require_tf2
from sipmask_ros.node.timers import steady_timer
from sipmask_ros.node.transitions import explained, refuse_impossible
from sipmask_ros.parameter_table import changed, declare, delays, read, reloaded
from sipmask_ros.perception import Perception, labels_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rclpy.parameter import Parameter

    from sipmask_core.segmenter import Segmenter as Model
    from sipmask_ros.node.model_loader import Load


@dataclass(frozen=True)
class _Activity:
    """What exists from activate to deactivate."""

    segmenter: Segmenter
    report_timer: Any
    bond: bond.Bond | None


def _perception(predictor: Model, parameters: Parameters) -> Perception:
    """Return how images are seen. Raise InputError for a class that the model does not know."""
    labels_of(parameters.ignore_classes, predictor, "ignore_classes")
    return Perception(
        predictor,
        parameters.mask_encoding,
        parameters.classes,
        parameters.score_threshold,
        parameters.thresholds,
    )


class SegmentationNode(LifecycleNode):
    """Segments the newest images of its topics, again and again.

    load: makes the predictor from the parameters, with `lowest_score` for its threshold; if it
    raises InputError, the node refuses to be configured and says why.
    """

    def __init__(self, load: Load = load_predictor) -> None:
        super().__init__("segmentation_node")
        declare(self, Parameters)
        self.add_on_set_parameters_callback(self._refuse_useless)
        self.add_post_set_parameters_callback(self._apply)
        self.create_service(Trigger, "~/reset_tracks", self._reset_tracks)
        # In a group of its own: while it waits for a model, everything else goes on.
        self.create_service(
            Trigger,
            "~/reload_model",
            self._reload_model,
            callback_group=ReentrantCallbackGroup(),
        )
        self._on_request = SegmentService(self)
        refuse_impossible(self)
        self._loader = ModelLoader(self, load)
        self._is_known_to_be_double = False
        self._configuration: Configuration | None = None
        self._activity: _Activity | None = None
        self._first_track_id = 0

    def start(self) -> bool:
        """Configure and activate, as `autostart` wants. Return whether both succeeded."""
        success = TransitionCallbackReturn.SUCCESS
        return bool(self.trigger_configure() == success and self.trigger_activate() == success)

    def stop(self, timeout: float | None = None) -> bool:
        """Receive no more and finish the images in work. Return whether it took no longer."""
        if self._configuration is None or self._activity is None:
            return True
        for channel in self._configuration.channels:
            channel.unsubscribe()
        self._on_request.segmenter = None
        self.destroy_timer(self._activity.report_timer)
        if self._activity.bond is not None:
            self._activity.bond.end()
        # A signal may interrupt the wait; then the thread still counts as active.
        if not self._activity.segmenter.stop(timeout):
            return False
        self._activity = None
        return True

    def can_end(self, timeout: float) -> bool:
        """Stop. Return whether no thread is busy with something that cannot be interrupted."""
        return self.stop(timeout) and not self._loader.is_busy

    @explained
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and offer the topics; refuse with one sentence if a parameter is wrong."""
        try:
            wanted = read(self, Parameters)
            require_tf2(wanted)
            perceive = _perception(self._loader.load(wanted), wanted)
        except InputError as error:
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        except Exception:
            self.get_logger().error(f"The model cannot be used.\n{traceback.format_exc()}")
            return TransitionCallbackReturn.FAILURE

        self._configuration = Configuration(self, wanted, perceive, self._first_track_id)
        self._announce()
        self._configuration.publish_labels()
        return TransitionCallbackReturn.SUCCESS

    @explained
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to receive and to segment."""
        super().on_activate(state)
        ready = self._configuration
        assert ready is not None
        segmenter = Segmenter(self, ready.perceive, ready.parameters)
        self._on_request.segmenter = segmenter
        managed = bond.Status is not None and not ready.parameters.autostart
        self._activity = _Activity(
            segmenter,
            steady_timer(self, 1.0, self._report),
            bond.Bond(self) if managed else None,
        )
        for channel in ready.channels:
            channel.subscribe(partial(segmenter.on_image, channel))
        return TransitionCallbackReturn.SUCCESS

    @explained
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Finish the images in work, publish the final counts and fall silent."""
        self._finish()
        return super().on_deactivate(state)

    @explained
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of the model and the topics."""
        if self._configuration is not None:
            gone, self._configuration = self._configuration, None
            # No id comes twice while the node lives.
            self._first_track_id = gone.next_track_id
            gone.destroy()
        return TransitionCallbackReturn.SUCCESS

    @explained
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Finish and let go of everything, from any state."""
        self._finish()
        return self.on_cleanup(state)

    @explained
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of what the failed transition has left; the node can be configured again."""
        self.stop()
        return self.on_cleanup(state)

    def _finish(self) -> None:
        """Stop and, if the node was active, publish the final counts."""
        if self._activity is not None:
            self.stop()
            self._report(active=False)

    def _announce(self) -> None:
        assert self._configuration is not None
        predictor = self._configuration.perceive.predictor
        self.get_logger().info(
            f"{predictor.model_name} on {predictor.device} in {predictor.precision}."
        )

    def _use(self, parameters: Parameters, perceive: Perception) -> None:
        """Use these from the next image on, and publish what class numbers mean by now."""
        assert self._configuration is not None
        self._configuration.use(parameters, perceive)
        if self._activity is not None:
            self._activity.segmenter.parameters = parameters
            self._activity.segmenter.perceive = perceive
        self._configuration.publish_labels()

    def _changed(self, changes: Iterable[Parameter]) -> tuple[Parameters, Perception] | None:
        """Return what the changes that take effect at once lead to; None if nothing is configured.

        Raise InputError if the node cannot work with the result.
        """
        ready = self._configuration
        if ready is None:
            return None
        parameters = changed(ready.parameters, changes)
        return parameters, _perception(ready.perceive.predictor, parameters)

    def _refuse_useless(self, changes: Iterable[Parameter]) -> SetParametersResult:
        """Refuse changes that only the model can tell to be wrong."""
        try:
            self._changed(changes)
        except InputError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """Set parameters, and say of those that count later when; rclpy keeps no other reason."""
        result = super().set_parameters_atomically(parameter_list)
        if result.successful:
            result.reason = delays(Parameters, [each.name for each in parameter_list])
        return result

    def _apply(self, changes: Iterable[Parameter]) -> None:
        wanted = self._changed(changes)
        if wanted is not None:
            self._use(*wanted)

    def _reset_tracks(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        ready = self._configuration
        if ready is None:
            response.message = "The node is not configured."
        elif not ready.parameters.tracking:
            response.message = "tracking is false."
        else:
            for channel in ready.channels:
                channel.tracker.reset()
            response.success, response.message = True, "All tracks are forgotten."
        return response

    async def _reload_model(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        """Load the model that the parameters name by now; meanwhile the one in use works on."""
        ready = self._configuration
        try:
            if ready is None:
                raise InputError("The node is not configured.")
            wanted = read(self, Parameters)
            sizes = {channel.image_size for channel in ready.channels if channel.image_size}
            predictor = await self._loader.load_in_background(wanted, sizes)
            if ready is not self._configuration:
                raise InputError("The node was cleaned up while the model was loaded.")
            # Parameters may have changed meanwhile.
            parameters = reloaded(ready.parameters, wanted)
            self._use(parameters, _perception(predictor, parameters))
            self._announce()
            response.success, response.message = True, f"{predictor.model_name} is in use."
        except InputError as error:
            response.message = str(error)
        except Exception:
            self.get_logger().error(f"The model cannot be used.\n{traceback.format_exc()}")
            response.message = "The model cannot be used; the node's log says more."
        return response

    def _report(self, active: bool = True) -> None:
        assert self._configuration is not None
        self._configuration.report(active)
        self._warn_of_a_double()

    def _warn_of_a_double(self) -> None:
        """Say once that another node has this one's name."""
        own = (self.get_name(), self.get_namespace())
        if self._is_known_to_be_double or self.get_node_names_and_namespaces().count(own) < 2:
            return
        self._is_known_to_be_double = True
        self.get_logger().warning(
            f"Another node is called {self.get_fully_qualified_name()}, too: both publish on"
            " the same topics, and a service call reaches either. Give one of them another name"
            " (-r __node:=other) or namespace (-r __ns:=/other)."
        )


def main(
    arguments: Sequence[str] | None = None,
    load: Load = load_predictor,
) -> NoReturn:
    """Run the node until it is told to end. Exit with 0, or with 2 if it could not be started."""
    run(lambda: SegmentationNode(load), arguments)


if __name__ == "__main__":
    main()
