"""The lifecycle node: camera images in, instance masks out."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import Trigger

import sipmask_core as sm
from sipmask_core.interruption import do_nothing
from sipmask_core.online_tracker import OnlineTracker
from sipmask_ros.diagnostics import Reporter, Statistics
from sipmask_ros.msg import InstanceArray
from sipmask_ros.parameter_table import declare, read
from sipmask_ros.parameters import Parameters
from sipmask_ros.perception import Perception
from sipmask_ros.segmenter import Segmenter
from sipmask_ros.transport import prepare_for_images

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

# Seconds that the image in work gets to finish when the process is told to end.
LAST_IMAGE = 1.0
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def load_predictor(wanted: Parameters) -> sm.Predictor:
    """The predictor that the parameters ask for. Raises InputError where there is none."""
    options: dict[str, Any] = {
        "device": wanted.device,
        "precision": wanted.precision,
        "score_threshold": wanted.score_threshold,
        "num_threads": wanted.num_threads or None,
    }
    if not wanted.model:
        return sm.Predictor.from_pretrained(**options)
    return sm.Predictor.from_file(wanted.model, **options)


@dataclass(frozen=True)
class _Configuration:
    """What exists from configure to cleanup."""

    parameters: Parameters
    predictor: sm.Predictor
    tracker: OnlineTracker
    statistics: Statistics
    reporter: Reporter
    diagnostics: Any
    instances: Any
    overlay: Any
    labels: Any
    reset_tracks: Any


@dataclass(frozen=True)
class _Activity:
    """What exists from activate to deactivate."""

    segmenter: Segmenter
    subscription: Any
    report_timer: Any


class SegmentationNode(LifecycleNode):
    """Segments the newest image of a topic, again and again.

    load: makes the predictor from the parameters; where it raises InputError, the node refuses to
    be configured and says why.
    """

    def __init__(self, load: Callable[[Parameters], sm.Predictor] = load_predictor) -> None:
        super().__init__("segmentation_node")
        declare(self, Parameters)
        self._load = load
        self._configuration: _Configuration | None = None
        self._activity: _Activity | None = None
        self._first_track_id = 0

    def start(self) -> bool:
        """Configure and activate, as `autostart` wants. Returns whether both succeeded."""
        success = TransitionCallbackReturn.SUCCESS
        return bool(self.trigger_configure() == success and self.trigger_activate() == success)

    def stop(self, timeout: float | None = None) -> bool:
        """Receive no more and finish the image in work. Returns whether it took no longer."""
        if self._activity is None:
            return True
        activity, self._activity = self._activity, None
        self.destroy_subscription(activity.subscription)
        self.destroy_timer(activity.report_timer)
        return activity.segmenter.stop(timeout)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and offer the topics; refuse with one sentence if a parameter is wrong."""
        try:
            wanted = read(self, Parameters)
            tracker = OnlineTracker(wanted.tracker_settings(), self._first_track_id)
            predictor = self._load(wanted)
            # The first image takes longest: let it be this one.
            predictor(np.zeros((480, 640, 3), np.uint8))
        except sm.InputError as error:
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        except Exception:  # rclpy would keep it to itself
            self.get_logger().error(f"The model cannot be used.\n{traceback.format_exc()}")
            return TransitionCallbackReturn.FAILURE

        statistics = Statistics()
        device, precision = str(predictor.device), predictor.precision
        name = f"{self.get_fully_qualified_name().lstrip('/')}: segmentation"
        self._configuration = _Configuration(
            parameters=wanted,
            predictor=predictor,
            tracker=tracker,
            statistics=statistics,
            reporter=Reporter(statistics, name, predictor.model_name, device, precision),
            diagnostics=self.create_publisher(DiagnosticArray, "/diagnostics", 10),
            instances=self.create_lifecycle_publisher(InstanceArray, "~/instances", 10),
            overlay=self.create_lifecycle_publisher(Image, "~/overlay", 1),
            labels=self.create_lifecycle_publisher(Image, "~/label_image", 1),
            reset_tracks=self.create_service(Trigger, "~/reset_tracks", self._reset_tracks),
        )
        self.get_logger().info(f"{predictor.model_name} on {device} in {precision}.")
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to receive and to segment."""
        super().on_activate(state)
        ready = self._configuration
        assert ready is not None
        perceive = Perception(
            ready.predictor,
            ready.tracker if ready.parameters.tracking else None,
            ready.parameters.mask_encoding,
        )
        segmenter = Segmenter(
            self,
            perceive,
            ready.parameters,
            ready.statistics,
            ready.instances,
            ready.overlay,
            ready.labels,
        )
        compressed = ready.parameters.transport == "compressed"
        reliability = ReliabilityPolicy[ready.parameters.reliability.upper()]
        self._activity = _Activity(
            segmenter,
            subscription=self.create_subscription(
                CompressedImage if compressed else Image,
                "image",
                segmenter.on_image,
                QoSProfile(depth=1, reliability=reliability),
            ),
            report_timer=self.create_timer(1.0, self._report),
        )
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Finish the image in work, publish the final counts and fall silent."""
        self.stop()
        self._report(active=False)
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let the model and the topics go."""
        if self._configuration is not None:
            gone, self._configuration = self._configuration, None
            # No id comes twice while the node lives.
            self._first_track_id = gone.tracker.next_id
            self.destroy_service(gone.reset_tracks)
            self.destroy_publisher(gone.diagnostics)
            for publisher in (gone.instances, gone.overlay, gone.labels):
                self.destroy_lifecycle_publisher(publisher)
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """From any state."""
        self.stop()
        return self.on_cleanup(state)

    def _reset_tracks(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        ready = self._configuration
        assert ready is not None
        ready.tracker.reset()
        response.success = ready.parameters.tracking
        response.message = "All tracks are forgotten." if response.success else "tracking is false."
        return response

    def _report(self, active: bool = True) -> None:
        ready = self._configuration
        assert ready is not None
        connected = {"instances_subscribers": ready.instances.get_subscription_count()}
        if self._activity is not None:
            connected["image_publishers"] = self._activity.subscription.get_publisher_count()
        report = ready.reporter.report(self.get_clock().now(), active, connected)
        ready.diagnostics.publish(report)


def _end(number: int, frame: FrameType | None) -> None:
    """Interrupt at the first signal and let those that follow find the node ending.

    Ctrl-C in a terminal reaches a launched node twice: from the terminal and from the launch.
    """
    for ending in ENDING_SIGNALS:
        signal.signal(ending, do_nothing)
    raise KeyboardInterrupt


def main(
    arguments: Sequence[str] | None = None,
    load: Callable[[Parameters], sm.Predictor] = load_predictor,
) -> int:
    """Run the node until it is told to end. Returns 2 where it could not be started."""
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
            rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    if node is not None:
        if not node.stop(LAST_IMAGE):
            # The network cannot be interrupted, and Python must not be taken down around it.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        node.destroy_node()
    rclpy.try_shutdown()
    return code


if __name__ == "__main__":
    raise SystemExit(main())
