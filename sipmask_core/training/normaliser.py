"""What a batch's losses are divided by, when the batch is spread over processes."""

from __future__ import annotations

import torch
from torch import Tensor

from sipmask_core.runtime.distributed import summed, world_size

SMALLEST = 1e-6  # divisor if there is nothing to count: the total is zero then, too


class Normaliser:
    """Turns a loss summed over this process's images into a mean.

    joined: divide by the count over the images of all processes, and scale such that the mean of
        the gradients over processes, which training takes, is that of one process with all images.
        Otherwise each process divides by its own count, as the authors' code does on each GPU.

    With `joined`, all processes have to call it equally often and in the same order.
    """

    def __init__(self, joined: bool = False) -> None:
        self.joined = joined

    def __call__(
        self,
        total: Tensor,
        count: Tensor | int,
        smoothing: float = 0.0,
        at_least: float = SMALLEST,
    ) -> Tensor:
        """Divide `total` by count + smoothing, at least by `at_least`; `count` has no gradient."""
        count = torch.as_tensor(count, dtype=total.dtype, device=total.device).detach()
        if self.joined:
            count = summed(count)
            total = total * world_size()
        return total / (count + smoothing).clamp(min=at_least)
