"""The lifecycle node: camera images in, instance masks out."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from dataclasses import dataclass
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, NoReturn

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.duration import Duration
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_srvs.srv import Trigger

from sipmask_core.errors import InputError
from sipmask_core.runtime.interruption import do_nothing
from sipmask_ros.node import bond
from sipmask_ros.node.channel import Channel
from sipmask_ros.node.connections import ConnectionWatch
from sipmask_ros.node.label_publisher import LabelPublisher
from sipmask_ros.node.model_loader import ModelLoader, load_predictor
from sipmask_ros.node.on_request import SegmentService
from sipmask_ros.node.parameters import Parameters
from sipmask_ros.node.segmenter import Segmenter
from sipmask_ros.node.target_frame import Transforms, require_tf2
from sipmask_ros.node.timers import steady_timer
from sipmask_ros.parameter_table import changed, declare, delays, read, reloaded
from sipmask_ros.perception import Perception, labels_of
from sipmask_ros.transport import prepare_for_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import FrameType

    from rclpy.parameter import Parameter

    from sipmask_core.segmenter import Segmenter as Model
    from sipmask_ros.node.model_loader import Load

    _Transition = Callable[["SegmentationNode", LifecycleState], TransitionCallbackReturn]

# Seconds that the image in work gets to finish when the process is told to end.
LAST_IMAGE = 1.0
# Most time that the final counts get to arrive.
LAST_REPORT = Duration(seconds=0.5)
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class _Configuration:
    """What exists from configure to cleanup; `parameters` and `perceive` can be replaced."""

    parameters: Parameters
    perceive: Perception
    watch: ConnectionWatch
    transforms: Transforms | None
    channels: list[Channel]
    diagnostics: Any
    labels: LabelPublisher


@dataclass(frozen=True)
class _Activity:
    """What exists from activate to deactivate."""

    segmenter: Segmenter
    report_timer: Any
    bond: bond.Bond | None


def _explained(transition: _Transition) -> _Transition:
    """Log what a transition raises, which rclpy keeps to itself before it calls on_error."""

    @wraps(transition)
    def run(node: SegmentationNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Exception:
            node.get_logger().error(f"The transition failed.\n{traceback.format_exc()}")
            return TransitionCallbackReturn.ERROR

    return run


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

    load: makes the predictor from the parameters; if it raises InputError, the node refuses to
    be configured and says why.
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
        self._guard_transitions()
        self._loader = ModelLoader(self, load)
        self._is_known_to_be_double = False
        self._configuration: _Configuration | None = None
        self._activity: _Activity | None = None
        self._first_track_id = 0

    def _guard_transitions(self) -> None:
        """Refuse a transition that the present state does not have.

        On Jazzy rclpy would end the node; from Kilted on it refuses by itself.
        """
        (service,) = (s for s in self.services if s.srv_type is ChangeState)
        change_state = service.callback

        def refuse_or_change(
            request: ChangeState.Request, response: ChangeState.Response
        ) -> ChangeState.Response:
            try:
                return change_state(request, response)
            except RuntimeError as error:  # the base of rclpy's RCLError, which has no public name
                self.get_logger().error(f"The state stays as it is. {error}")
                response.success = False
                return response

        service.callback = refuse_or_change

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

    @_explained
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and offer the topics; refuse with one sentence if a parameter is wrong."""
        try:
            wanted = read(self, Parameters)
            require_tf2(wanted)
            predictor = self._loader.load(wanted)
            perceive = _perception(predictor, wanted)
            predictor.score_threshold = wanted.lowest_score
        except InputError as error:
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        except Exception:
            self.get_logger().error(f"The model cannot be used.\n{traceback.format_exc()}")
            return TransitionCallbackReturn.FAILURE

        watch = ConnectionWatch(self, wanted.image_topics)
        transforms = Transforms(self) if wanted.target_frame else None
        self._configuration = _Configuration(
            parameters=wanted,
            perceive=perceive,
            watch=watch,
            transforms=transforms,
            channels=[
                Channel(self, topic, wanted, watch, self._first_track_id, transforms)
                for topic in wanted.image_topics
            ],
            diagnostics=self.create_publisher(DiagnosticArray, "/diagnostics", 10),
            labels=LabelPublisher(self),
        )
        self._announce()
        self._configuration.labels.publish(predictor, wanted)
        return TransitionCallbackReturn.SUCCESS

    @_explained
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

    @_explained
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Finish the images in work, publish the final counts and fall silent."""
        self._finish()
        return super().on_deactivate(state)

    @_explained
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of the model and the topics."""
        if self._configuration is not None:
            gone, self._configuration = self._configuration, None
            # No id comes twice while the node lives.
            self._first_track_id = max(channel.tracker.next_id for channel in gone.channels)
            gone.watch.destroy()
            if gone.transforms is not None:
                gone.transforms.close()
            self.destroy_publisher(gone.diagnostics)
            gone.labels.destroy()
            for channel in gone.channels:
                channel.destroy()
        return TransitionCallbackReturn.SUCCESS

    @_explained
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Finish and let go of everything, from any state."""
        self._finish()
        return self.on_cleanup(state)

    @_explained
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of what the failed transition has left; the node can be configured again."""
        self.stop()
        return self.on_cleanup(state)

    def _finish(self) -> None:
        """Stop and, if the node was active, publish the final counts."""
        if self._activity is not None:
            self.stop()
            self._report(active=False)
            # A publisher that is destroyed takes along what has not arrived yet.
            assert self._configuration is not None
            self._configuration.diagnostics.wait_for_all_acked(LAST_REPORT)

    def _announce(self) -> None:
        assert self._configuration is not None
        predictor = self._configuration.perceive.predictor
        self.get_logger().info(
            f"{predictor.model_name} on {predictor.device} in {predictor.precision}."
        )

    def _use(self, parameters: Parameters, perceive: Perception) -> None:
        """Use these from the next image on, and publish what class numbers mean by now."""
        ready = self._configuration
        assert ready is not None
        perceive.predictor.score_threshold = parameters.lowest_score
        ready.parameters, ready.perceive = parameters, perceive
        for channel in ready.channels:
            channel.parameters = parameters
        if self._activity is not None:
            self._activity.segmenter.parameters = parameters
            self._activity.segmenter.perceive = perceive
        ready.labels.publish(perceive.predictor, parameters)

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
        ready = self._configuration
        assert ready is not None
        now = self.get_clock().now()
        predictor = ready.perceive.predictor
        report = DiagnosticArray(
            status=[channel.report(now, predictor, active) for channel in ready.channels]
        )
        report.header.stamp = now.to_msg()
        ready.diagnostics.publish(report)
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


def _end(number: int, frame: FrameType | None) -> None:
    """Interrupt at the first signal and let those that follow do nothing.

    Ctrl-C in a terminal reaches a launched node twice: from the terminal and from the launch.
    """
    _ignore_signals()
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    for ending in ENDING_SIGNALS:
        signal.signal(ending, do_nothing)


def _spin(node: SegmentationNode) -> None:
    """Serve until rclpy ends: a signal may end it before Python hears of that."""
    try:
        rclpy.spin(node)
    except Exception:
        # ExternalShutdownException or, if it ends just as a wait begins, what that wait meets.
        if rclpy.ok():
            raise


def main(
    arguments: Sequence[str] | None = None,
    load: Load = load_predictor,
) -> NoReturn:
    """Run the node until it is told to end. Exit with 0, or with 2 if it could not be started."""
    node = None
    code = 0
    try:
        for number in ENDING_SIGNALS:
            signal.signal(number, _end)
        prepare_for_images()
        # rclpy's own handlers come first and call ours.
        rclpy.init(args=arguments)
        node = SegmentationNode(load)
        if node.get_parameter("autostart").value is not False and not node.start():
            code = 2
        else:
            _spin(node)
        _ignore_signals()
    except KeyboardInterrupt:
        pass
    if node is not None:
        at_rest = node.can_end(LAST_IMAGE)
        node.destroy_node()
        if at_rest:
            # It is part of many cycles, and DDS takes leave only when nothing of it is left.
            node.__dict__.clear()
            rclpy_implementation.rclpy_logging_fini()  # writes the rest of the log file
    rclpy.try_shutdown()
    # Python takes seconds to take PyTorch down, and must not do so around a network at work.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
