"""How much memory a piece of work takes at its peak."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS_ON_GPU = 3  # the second records a graph, the third replays it

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


def peak_memory(work: Callable[[], object], device: torch.device) -> int | None:
    """Measure the bytes that `work` takes at its peak beyond what was taken before.

    On a GPU it is what torch reserves there in several calls, since a graph that a later one
    records keeps memory of its own; on Linux it is the resident memory of the process; None
    elsewhere. What is kept from earlier work and used again is not seen.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_reserved(device)
        for _ in range(CALLS_ON_GPU):
            work()
        return torch.cuda.max_memory_reserved(device) - before
    try:
        ctypes.CDLL(None).malloc_trim(0)  # freed memory goes back, to be counted when used again
        _RESET.write_text("5")  # the peak starts again at the present size
        before = _resident("VmRSS")
        work()
        return max(0, _resident("VmHWM") - before)
    except (OSError, AttributeError):
        return None


def _resident(field: str) -> int:
    for line in _STATUS.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise OSError(f"{_STATUS} has no {field}")
