"""Where the time of a frame goes: stages named in the code, timed only on request."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import torch
    from numpy.typing import NDArray
    from torch.nn import Module

_OFF: AbstractContextManager[None] = nullcontext()


class Stopwatch:
    """Adds up seconds by stage; time in a stage inside another counts for the inner one alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._device: torch.device | None = None
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def listening(self, device: torch.device | None = None) -> Iterator[Stopwatch]:
        """Time the stages of this thread within the block.

        device: that of their work; a GPU is waited for when a stage begins or ends. None for a
        thread that leaves the GPU to others.
        """
        self._device = device
        token = _current.set(self)
        try:
            yield self
        finally:
            _current.reset(token)

    def begin(self, name: str) -> None:
        """Pause the stage that runs, if any, and start one inside it."""
        self._switch()
        self._open.append(name)

    def end(self) -> None:
        """End the stage that began last; the one around it goes on."""
        self._switch()
        self._open.pop()

    def _switch(self) -> None:
        if self._device is not None:
            wait_for(self._device)
        now = time.perf_counter()
        if self._open:
            name = self._open[-1]
            self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as a stage."""
        self.begin(name)
        try:
            yield
        finally:
            self.end()


_current: ContextVar[Stopwatch | None] = ContextVar("stopwatch", default=None)


def stage(name: str) -> AbstractContextManager[None]:
    """Time a block for the stopwatch that listens; if none does, this costs next to nothing."""
    stopwatch = _current.get()
    return _OFF if stopwatch is None else stopwatch.stage(name)


def time_module(module: Module, name: str) -> None:
    """Make every call of a module a stage, for the stopwatch that listens at that time."""

    def begin(*_: object) -> None:
        if stopwatch := _current.get():
            stopwatch.begin(name)

    def end(*_: object) -> None:
        if stopwatch := _current.get():
            stopwatch.end()

    module.register_forward_pre_hook(begin)
    module.register_forward_hook(end)


def wait_for(device: torch.device) -> None:
    """Wait until the GPU has done what is queued on the thread's current stream.

    Return at once if it records a graph. Other streams are not waited for: another thread may
    record one there, which would then fail.
    """
    if device.type != "cuda":
        return
    import torch  # programs that watch a node from outside do not need it

    with torch.cuda.device(device):
        if not torch.cuda.is_current_stream_capturing():
            torch.cuda.current_stream().synchronize()


def by_stage(frames: Sequence[Mapping[str, float]]) -> dict[str, NDArray[np.float64]]:
    """Return the seconds of each stage by frame (len(frames),); 0 if a frame did not have it."""
    names = dict.fromkeys(name for frame in frames for name in frame)
    return {name: np.array([frame.get(name, 0.0) for frame in frames]) for name in names}


def latencies(frames: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return mean, p50, p99 and max in ms of each stage and of their sum, from seconds by frame."""
    stages = by_stage(frames)
    if not stages:
        return {}
    stages["total"] = np.sum(list(stages.values()), axis=0)
    return {name: distribution(1e3 * seconds) for name, seconds in stages.items()}


def distribution(values: NDArray[np.floating[Any]]) -> dict[str, float]:
    """Return mean, p50, p99 and max; empty without values."""
    if not len(values):
        return {}
    p50, p99 = np.percentile(values, (50, 99))
    return {
        "mean": float(values.mean()),
        "p50": float(p50),
        "p99": float(p99),
        "max": float(values.max()),
    }
