"""The hot path: one thread that segments the newest image and publishes what it found."""

from __future__ import annotations

import threading
import time
import traceback
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

from rclpy.time import Time

from sipmask_core.errors import InputError
from sipmask_core.stopwatch import Stopwatch, stage
from sipmask_ros.conversions import array_to_image, label_image
from sipmask_ros.diagnostics import Outcome, Statistics
from sipmask_ros.mailbox import Mailbox
from sipmask_ros.perception import stamp_seconds

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rclpy.node import Node
    from rclpy.publisher import Publisher

    from sipmask_ros.parameters import Parameters
    from sipmask_ros.perception import ImageMessage, Perception

# Seconds between two warnings of the same kind.
WARNING_PERIOD = 5.0


class _Arrival(NamedTuple):
    message: ImageMessage
    time: float  # seconds of time.perf_counter


class Segmenter:
    """Takes image messages from one thread, segments the newest in another.

    Between the two is room for one image: one that waits is replaced by a newer one. What becomes
    of each is counted in `statistics`.
    """

    def __init__(
        self,
        node: Node,
        perceive: Perception,
        parameters: Parameters,
        statistics: Statistics,
        instances: Publisher,
        overlay: Publisher,
        labels: Publisher,
    ) -> None:
        self._node = node
        self._log = node.get_logger()
        self._perceive = perceive
        self._parameters = parameters
        self._statistics = statistics
        self._instances = instances
        self._overlay = overlay
        self._labels = labels
        self._mailbox: Mailbox[_Arrival] = Mailbox()
        self._thread = threading.Thread(target=self._work, name="segmenter", daemon=True)
        self._thread.start()

    def on_image(self, message: ImageMessage) -> None:
        """Leave an image to be segmented."""
        self._statistics.receive()
        if self._mailbox.put(_Arrival(message, time.perf_counter())) is not None:
            self._statistics.finish(Outcome.REPLACED)

    def stop(self, timeout: float | None = None) -> bool:
        """Finish the image in work and end. Returns whether that was done within the timeout."""
        if self._mailbox.close() is not None:
            self._statistics.finish(Outcome.STOPPED)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (arrival := self._mailbox.take()) is not None:
            try:
                outcome = self._segment(*arrival)
            except InputError as error:
                outcome = Outcome.BROKEN
                self._log.warning(
                    f"An image was dropped. {error}", throttle_duration_sec=WARNING_PERIOD
                )
            except Exception:  # the next image may be fine: a robot must not lose its node
                if not self._node.context.ok():
                    return
                outcome = Outcome.FAILED
                self._log.error(
                    f"An image was dropped, segmentation failed.\n{traceback.format_exc()}",
                    throttle_duration_sec=WARNING_PERIOD,
                )
            self._statistics.finish(outcome)

    def _segment(self, message: ImageMessage, arrived: float) -> Outcome:
        header = message.header
        if self._is_stale(header):
            return Outcome.STALE

        taken = time.perf_counter()
        with self._timing() as stopwatch:
            percept = self._perceive(message)
            result = self._perceive.to_message(percept)
            with stage("publish"):
                self._instances.publish(result)
        if (age := self._age(header)) is not None:
            self._statistics.add_latency(age)
            if stopwatch is not None:
                here = time.perf_counter() - arrived
                stages = {"receive": age - here, "wait": taken - arrived} | stopwatch.seconds
                self._statistics.add_stages(stages | {"other": age - sum(stages.values())})
        if self._overlay.get_subscription_count():
            self._overlay.publish(self._perceive.to_overlay(percept))
        if self._labels.get_subscription_count():
            labels = label_image(percept.instances)
            self._labels.publish(array_to_image(labels, "mono16", header))
        return Outcome.SEGMENTED

    def _timing(self) -> AbstractContextManager[Stopwatch | None]:
        if not self._parameters.timing:
            return nullcontext()
        return Stopwatch().listening(self._perceive.device)

    def _is_stale(self, header: Any) -> bool:
        limit = self._parameters.max_age
        age = self._age(header) if limit else None
        if age is None or age <= limit:
            return False
        self._log.warning(
            f"An image was dropped, it is {age:.3f} s old and max_age is {limit} s; a recording"
            " needs use_sim_time, a camera on another machine a synchronised clock.",
            throttle_duration_sec=WARNING_PERIOD,
        )
        return True

    def _age(self, header: Any) -> float | None:
        """Seconds since the header's stamp; None where the camera left it empty."""
        if stamp_seconds(header) is None:
            return None
        age = self._node.get_clock().now() - Time.from_msg(header.stamp)
        return float(age.nanoseconds) * 1e-9
