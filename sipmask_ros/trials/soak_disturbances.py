"""What a node meets in weeks, within minutes: cameras and viewers come, go and change."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import TYPE_CHECKING

from sipmask_ros.trials.soak_cameras import CLOCKS, ENCODINGS, SCALES

if TYPE_CHECKING:
    from sipmask_ros.trials.soak_cameras import Camera, Cameras

PAUSE = 0.5  # seconds
BURST = 20  # images
THRESHOLDS = (0.2, 0.3, 0.5)
MORE_IN_WARM_UP = 5


class Disturbances:
    """Lets something happen each time that `interval` more results of all cameras have come.

    seed: equal ones give the same order of events. Every kind of event comes once, in random
    order, before one comes again, each time to a random camera. warm_up: during this many results
    more happens: only when everything has happened several times has each kind of memory been as
    full as it gets.
    """

    def __init__(self, cameras: Cameras, interval: int, seed: int, warm_up: int = 0) -> None:
        self.happened: Counter[str] = Counter()
        self._cameras = cameras
        self._interval = interval
        self._warm_up = warm_up
        self._chance = random.Random(seed)
        self._due = self._next_interval()
        self._round: list[str] = []
        self._kinds = {
            "camera pauses": self._pause,
            "camera changes size": self._change_size,
            "camera changes encoding": self._change_encoding,
            "stamps jump": self._jump,
            "image is broken": self._break,
            "burst of images": self._burst,
            "viewer of the overlay": self._view_overlay,
            "viewer of the label image": self._view_labels,
            "score_threshold changes": self._change_threshold,
            "tracks are reset": self._reset_tracks,
            "model is reloaded": self._reload_model,
            "node is deactivated and activated": self._restart,
        }

    def step(self) -> None:
        """Let the next thing happen if its time has come and nothing is under way."""
        if self._cameras.results < self._due or self._cameras.is_waiting():
            return
        self._due += self._next_interval()
        if not self._round:
            self._round = self._chance.sample(sorted(self._kinds), len(self._kinds))
        kind = self._round.pop()
        self.happened[kind] += 1
        self._kinds[kind](self._chance.choice(self._cameras.cameras))

    def _next_interval(self) -> int:
        if self._cameras.results < self._warm_up:
            return max(1, self._interval // MORE_IN_WARM_UP)
        return self._interval

    def _pause(self, camera: Camera) -> None:
        camera.silent_until = time.monotonic() + PAUSE

    def _change_size(self, camera: Camera) -> None:
        camera.scale = self._chance.choice(SCALES)

    def _change_encoding(self, camera: Camera) -> None:
        camera.encoding = self._chance.choice(list(ENCODINGS))

    def _jump(self, camera: Camera) -> None:
        camera.clock = self._chance.choice(CLOCKS)

    def _break(self, camera: Camera) -> None:
        camera.send_broken()

    def _burst(self, camera: Camera) -> None:
        for _ in range(BURST):
            camera.send()

    def _view_overlay(self, camera: Camera) -> None:
        self._cameras.toggle_viewer(self._cameras.output(camera.topic, "overlay"))

    def _view_labels(self, camera: Camera) -> None:
        self._cameras.toggle_viewer(self._cameras.output(camera.topic, "label_image"))

    def _change_threshold(self, camera: Camera) -> None:
        self._cameras.set_parameter("score_threshold", self._chance.choice(THRESHOLDS))

    def _reset_tracks(self, camera: Camera) -> None:
        self._cameras.trigger("reset_tracks")

    def _reload_model(self, camera: Camera) -> None:
        self._cameras.trigger("reload_model")

    def _restart(self, camera: Camera) -> None:
        self._cameras.restart()
