"""What the machine can do at most, measured: the denominator of "share of peak"."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from sipmask_core.runtime.stopwatch import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

REPEATS = 8


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
        gemm = _fastest(lambda: a @ a, device)
        conv = _fastest(lambda: F.conv2d(x, kernel, padding=1), device)
    return {"gemm": 2 * side**3 / gemm, "conv": 2 * 9 * (256 * width) ** 2 / conv}


def _fastest(work: Callable[[], object], device: torch.device) -> float:
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        wait_for(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds)
