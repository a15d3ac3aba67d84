"""What of CUDA is a matter of the whole process: its settings, its cache, and recordings of graphs.

On a machine without CUDA all of this costs nothing and does nothing.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

# Held by the thread that records or replays a graph, changes a setting of torch or empties its
# cache: CUDA's driver, torch's allocator and torch's settings know only one such thread.
TURN = threading.RLock()


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Let a GPU's convolutions compute float32 in full; other threads wait until the block ends.

    PyTorch's default is TF32, which multiplies with 10 bits of the mantissa, as float16 does.
    """
    if device.type != "cuda":
        yield
        return
    with TURN:
        allowed = _allows_tf32()
        if allowed:
            torch.backends.cudnn.allow_tf32 = False
        try:
            yield
        finally:
            if allowed:
                torch.backends.cudnn.allow_tf32 = True


def _allows_tf32() -> bool:
    try:
        return torch.backends.cudnn.allow_tf32
    except RuntimeError:  # somebody has chosen for convolutions alone, by torch's newer names
        return False


def empty_cache() -> None:
    """Give memory that torch keeps for later back to the GPU, if that can be done."""
    # After a recording that failed, torch's allocator believes that it is still under way.
    with TURN, suppress(RuntimeError):
        torch.cuda.empty_cache()
