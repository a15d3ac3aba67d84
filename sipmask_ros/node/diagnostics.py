"""How the node is doing: counts that add up, rate, latency, memory."""

from __future__ import annotations

import resource
import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from sipmask_core.runtime.stopwatch import by_stage, distribution

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rclpy.time import Time

# Latencies of this many last images are kept for the percentiles.
LATENCY_WINDOW = 500
INACTIVE = "not active"  # the message of the last report before the node falls silent


class Outcome(Enum):
    """What became of a received image."""

    SEGMENTED = "segmented"
    IDLE = "dropped_idle"  # nobody subscribed to any result
    LIMITED = "dropped_rate"  # sooner after the one before than max_rate allows
    REPLACED = "dropped_replaced"  # a newer one came while it waited
    STALE = "dropped_stale"  # older than max_age when its turn came
    BROKEN = "dropped_broken"  # wrong length, no pixels, unknown encoding
    FAILED = "dropped_failed"  # segmenting or publishing it raised
    STOPPED = "dropped_stopped"  # it waited when the node was deactivated


class Statistics:
    """Counts since the node was configured, safe to use from several threads.

    One for each camera. At any time `received` is the sum of all outcomes and of the images on
    their way (at most one that waits and one that is being segmented).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received = 0
        self._outcomes: Counter[Outcome] = Counter()
        self._latencies: deque[float] = deque(maxlen=LATENCY_WINDOW)
        self._stages: deque[Mapping[str, float]] = deque(maxlen=LATENCY_WINDOW)

    def receive(self) -> None:
        """Count an image that came in."""
        with self._lock:
            self._received += 1

    def finish(self, outcome: Outcome) -> None:
        """Count what became of an image."""
        with self._lock:
            self._outcomes[outcome] += 1

    def add_latency(self, seconds: float) -> None:
        """Note the time from an image's stamp to the publication of its instances."""
        with self._lock:
            self._latencies.append(seconds)

    def add_stages(self, seconds: Mapping[str, float]) -> None:
        """Note what each stage on the way of an image took."""
        with self._lock:
            self._stages.append(seconds)

    def snapshot(self) -> Snapshot:
        """Return the counts of this moment."""
        with self._lock:
            return Snapshot(
                self._received,
                Counter(self._outcomes),
                list(self._latencies),
                list(self._stages),
            )


@dataclass(frozen=True)
class Snapshot:
    """The counts of one moment. Latencies and stages in seconds."""

    received: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    stages: list[Mapping[str, float]] = field(default_factory=list)

    def values(self) -> dict[str, str]:
        """Return counts, latency percentiles and what the stages took, by name."""
        values = {"received": str(self.received)}
        values |= {outcome.value: str(self.outcomes[outcome]) for outcome in Outcome}
        values["in_progress"] = str(self.received - self.outcomes.total())
        if self.latencies:
            latency = distribution(1e3 * np.array(self.latencies))
            values |= {f"latency_{name}_ms": f"{latency[name]:.1f}" for name in ("p50", "p99")}
        for stage, seconds in by_stage(self.stages).items():
            times = distribution(1e3 * seconds)
            for name in ("mean", "p50", "p99"):
                values[f"{stage}_{name}_ms"] = f"{times[name]:.3f}"
        return values


class Reporter:
    """Makes a DiagnosticStatus of what happened to one camera's images since the previous one."""

    def __init__(self, statistics: Statistics, name: str) -> None:
        self._statistics = statistics
        self._name = name
        self._last = Snapshot()
        self._last_time: Time | None = None

    def report(self, now: Time, facts: Mapping[str, str], active: bool = True) -> DiagnosticStatus:
        """Return the state at `now`; the rate is that since the last report.

        facts: what else there is to tell, by name; among it the "device" of the network. active:
        False says that this is the last report, its counts final.
        """
        device = facts["device"]
        snapshot = self._statistics.snapshot()
        since = {o: snapshot.outcomes[o] - self._last.outcomes[o] for o in Outcome}
        values = dict(facts) | snapshot.values()
        elapsed = (now - self._last_time).nanoseconds * 1e-9 if self._last_time else 0.0
        if elapsed > 0:
            values["rate_hz"] = f"{since[Outcome.SEGMENTED] / elapsed:.1f}"
        values |= _memory(device)
        level, message = DiagnosticStatus.OK, INACTIVE
        if active:
            level, message = _judge(snapshot.received - self._last.received, since)
        self._last, self._last_time = snapshot, now
        return DiagnosticStatus(
            level=level,
            name=self._name,
            message=message,
            hardware_id=device,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )


def _judge(received: int, since: dict[Outcome, int]) -> tuple[bytes, str]:
    if since[Outcome.FAILED]:
        return DiagnosticStatus.ERROR, "segmentation fails"
    if since[Outcome.BROKEN]:
        return DiagnosticStatus.WARN, "images are broken"
    if since[Outcome.STALE]:
        return DiagnosticStatus.WARN, "images are older than max_age"
    if not received:
        return DiagnosticStatus.WARN, "no images"
    if since[Outcome.IDLE] == received:
        return DiagnosticStatus.OK, "idle, nobody subscribes"
    return DiagnosticStatus.OK, "segmenting"


def _memory(device: str) -> dict[str, str]:
    """Return the peak memory of the process and, if the device is a GPU, of PyTorch on it."""
    values = {"peak_memory_mb": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}"}
    if device.startswith("cuda"):
        import torch

        peak = torch.cuda.max_memory_reserved(device)  # with the memory of recorded graphs
        values["peak_gpu_memory_mb"] = f"{peak / 2**20:.0f}"
    return values
