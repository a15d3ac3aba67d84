"""Where the time of one image goes."""

from __future__ import annotations

import time

import torch


class Stopwatch:
    """Splits a stretch of work into stages: seconds by name, in the order of the first laps.

    device: of the work; on CUDA each lap waits until the device is done, so that a stage has what
    it caused. That slows the whole down: only for measuring.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self._device = device if device is not None and device.type == "cuda" else None
        self.restart()

    def restart(self) -> None:
        """Begin anew from this moment."""
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """The time since the last lap was this stage's."""
        if self._device is not None:
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        self.laps[stage] = self.laps.get(stage, 0.0) + now - self._last
        self._last = now
