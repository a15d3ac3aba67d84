"""What the machine can do at most, measured: the denominator of "share of peak"."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from collections.abc import Callable

REPEATS = 8
REPEATS_ON_GPU = 20  # within each: one would be over before the host has seen it begin


@cache
def measured_peak(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """Measure FLOP/s of a large matrix product and a large 3x3 convolution, best of several runs.

    dtype: what both compute in, with as many threads as torch uses at the first call, whose result
    is remembered. Return {"gemm": ..., "conv": ...}.
    """
    side = 8192 if device.type == "cuda" else 2048
    a = torch.randn(side, side, device=device).to(dtype)
    width = 136
    x = torch.randn(1, 256, width, width, device=device)
    x = x.to(dtype).contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(256, 256, 3, 3, device=device)
    kernel = kernel.to(dtype).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        gemm = fastest(lambda: a @ a, device)
        conv = fastest(lambda: F.conv2d(x, kernel, padding=1), device)
    return {"gemm": 2 * side**3 / gemm, "conv": 2 * 9 * (256 * width) ** 2 / conv}


def fastest(work: Callable[[], object], device: torch.device) -> float:
    """Return the least seconds that a call takes, of several."""
    timed = _seconds_on_gpu if device.type == "cuda" else _seconds
    return min(timed(work, device) for _ in range(REPEATS))


def _seconds(work: Callable[[], object], _: torch.device) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _seconds_on_gpu(work: Callable[[], object], device: torch.device) -> float:
    """Time by the GPU's own clock, without launch and wait."""
    with torch.cuda.device(device):
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record()
        for _ in range(REPEATS_ON_GPU):
            work()
        ended.record()
        ended.synchronize()
        return began.elapsed_time(ended) / 1e3 / REPEATS_ON_GPU
