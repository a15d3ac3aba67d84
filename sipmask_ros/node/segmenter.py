"""The hot path: one thread that segments the newest images and publishes what it found."""

from __future__ import annotations

import threading
import time
import traceback
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rclpy.task import Future

from sipmask_core.errors import InputError, PredictionError
from sipmask_core.runtime.stopwatch import Stopwatch
from sipmask_ros.conversions.bit_depth import BitDepth
from sipmask_ros.node.diagnostics import Outcome
from sipmask_ros.node.mailbox import Mailbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from rclpy.node import Node
    from sensor_msgs.msg import Image

    from sipmask_ros.node.channel import Arrival, Channel, Departure
    from sipmask_ros.node.parameters import Parameters
    from sipmask_ros.perception import ImageMessage, Percept, Perception

# Seconds between two warnings of the same kind.
WARNING_PERIOD = 5.0


@dataclass(frozen=True, eq=False)
class Request:
    """An image of no camera; answer: gets its InstanceArray, or why there is none."""

    message: Image
    answer: Future = field(default_factory=Future)


class Segmenter:
    """Takes image messages from one thread, segments the newest of each camera in another.

    Between the two is room for one image of each camera: one that waits is replaced by a newer
    one. Images of several cameras that wait go through the network together. What becomes of each
    is counted in the statistics of its channel. Images on request wait in the same line.

    `perceive` and `parameters` can be replaced at any time; new ones count from the next images on.
    """

    def __init__(self, node: Node, perceive: Perception, parameters: Parameters) -> None:
        self.perceive = perceive
        self.parameters = parameters
        self._context = node.context
        self._log = node.get_logger()
        # Each request is a sender of its own, so that none replaces another.
        self._mailbox: Mailbox[Channel | Request, Arrival | Request] = Mailbox()
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="segmenter", daemon=True).start()

    def on_image(self, channel: Channel, message: ImageMessage) -> None:
        """Leave an image to be segmented."""
        arrival = channel.receive(message)
        if arrival is not None and self._mailbox.put(channel, arrival) is not None:
            channel.statistics.finish(Outcome.REPLACED)

    def request(self, message: Image) -> Future:
        """Leave an image to be segmented for one caller. Return what gets its InstanceArray.

        The instances have no ids. The future raises InputError for an image that cannot be used and
        if the end comes first, PredictionError for one that cannot be segmented.
        """
        request = Request(message)
        if self._mailbox.put(request, request) is not None:
            _refuse(request)
        return request.answer

    def stop(self, timeout: float | None = None) -> bool:
        """Finish the images in work and end. Return whether that was done within the timeout."""
        for item in self._mailbox.close():
            if isinstance(item, Request):
                _refuse(item)
            else:
                item.channel.statistics.finish(Outcome.STOPPED)
        # Not Thread.join: interrupted by a signal, it takes a running thread for one that ended.
        return self._ended.wait(timeout)

    def _run(self) -> None:
        try:
            self._work()
        finally:
            self._ended.set()

    def _work(self) -> None:
        while items := self._mailbox.take(self.parameters.max_batch):
            perceive = self.perceive
            self._serve([item for item in items if not isinstance(item, Request)], perceive)
            for item in items:
                if isinstance(item, Request):
                    self._answer(item, perceive)

    def _serve(self, arrivals: Sequence[Arrival], perceive: Perception) -> None:
        """Segment images of cameras, and publish what is in them."""
        taken = time.perf_counter()
        published = []
        with self._timing(perceive) as stopwatch:
            fresh = [arrival for arrival in arrivals if not self._is_stale(arrival)]
            for arrival in fresh:
                arrival.channel.see_with(perceive.predictor)
            for arrival, percept in self._understood(fresh, perceive):
                try:
                    departure = arrival.channel.publish(percept, perceive)
                except Exception as error:
                    self._lose(arrival, error)
                    continue
                self._note_latency(arrival, taken, departure, stopwatch)
                arrival.channel.statistics.finish(Outcome.SEGMENTED)
                published.append((arrival.channel, percept))
        for channel, percept in published:
            scene = channel.scene(percept, perceive)
            for publish in channel.extras:
                try:
                    publish(scene)
                except InputError as error:
                    self._log.warning(
                        f"An output other than the instances could not be published. {error}",
                        throttle_duration_sec=WARNING_PERIOD,
                    )
                except Exception:
                    self._complain("An output other than the instances could not be published.")

    def _answer(self, request: Request, perceive: Perception) -> None:
        """Segment an image for who has asked for it."""
        bit_depth = BitDepth(self.parameters.image_bits)
        try:
            [percept] = perceive([request.message], [None], [bit_depth])
            answer = perceive.to_message(percept)
        except Exception as error:
            if not isinstance(error, (InputError, PredictionError)):
                self._complain("An image could not be segmented on request.")
            request.answer.set_exception(error)
        else:
            request.answer.set_result(answer)

    def _understood(
        self, arrivals: Sequence[Arrival], perceive: Perception
    ) -> Iterator[tuple[Arrival, Percept]]:
        """Yield what is in the images; count one that cannot be understood, and leave it out."""
        if not arrivals:
            return
        try:
            percepts = perceive(
                [arrival.message for arrival in arrivals],
                [arrival.channel.wanted_tracker for arrival in arrivals],
                [arrival.channel.bit_depth for arrival in arrivals],
                [arrival.channel.zones for arrival in arrivals],
            )
        except Exception as error:
            if len(arrivals) == 1:
                self._lose(arrivals[0], error)
                return
        else:
            yield from zip(arrivals, percepts, strict=True)
            return
        # One image has spoilt it for all, or memory is too short for this many. This is not done in
        # the handler: until that ends, the error keeps alive what the batch has allocated.
        for arrival in arrivals:
            yield from self._understood([arrival], perceive)

    def _timing(self, perceive: Perception) -> AbstractContextManager[Stopwatch | None]:
        if not self.parameters.timing:
            return nullcontext()
        return Stopwatch().listening(perceive.predictor.device)

    def _note_latency(
        self, arrival: Arrival, taken: float, departure: Departure, stopwatch: Stopwatch | None
    ) -> None:
        statistics = arrival.channel.statistics
        if departure.age is None:
            return
        statistics.add_latency(departure.age)
        if stopwatch is not None:
            here = departure.time - arrival.time
            stages = {"receive": departure.age - here, "wait": taken - arrival.time}
            stages |= stopwatch.seconds
            statistics.add_stages(stages | {"other": departure.age - sum(stages.values())})

    def _is_stale(self, arrival: Arrival) -> bool:
        limit = self.parameters.max_age
        age = arrival.channel.age(arrival.message.header) if limit else None
        if age is None or age <= limit:
            return False
        self._log.warning(
            f"An image was dropped, it is {age:.3f} s old and max_age is {limit} s; a recording"
            " needs use_sim_time, a camera on another machine a synchronised clock.",
            throttle_duration_sec=WARNING_PERIOD,
        )
        arrival.channel.statistics.finish(Outcome.STALE)
        return True

    def _lose(self, arrival: Arrival, error: Exception) -> None:
        """Count an image that came to nothing; the next may be fine."""
        if isinstance(error, InputError):
            outcome = Outcome.BROKEN
            self._log.warning(
                f"An image was dropped. {error}", throttle_duration_sec=WARNING_PERIOD
            )
        elif not self._context.ok():
            outcome = Outcome.STOPPED
        elif isinstance(error, PredictionError):
            outcome = Outcome.FAILED
            self._log.error(f"An image was dropped. {error}", throttle_duration_sec=WARNING_PERIOD)
        else:
            outcome = Outcome.FAILED
            self._complain("An image was dropped, segmentation failed.")
        arrival.channel.statistics.finish(outcome)

    def _complain(self, sentence: str) -> None:
        """Log the sentence with the exception at hand."""
        if self._context.ok():
            self._log.error(
                f"{sentence}\n{traceback.format_exc()}", throttle_duration_sec=WARNING_PERIOD
            )


def _refuse(request: Request) -> None:
    request.answer.set_exception(InputError("The node was deactivated before the image's turn."))
