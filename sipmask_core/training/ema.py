"""An exponential moving average of a model's weights."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from sipmask_core.model.sipmask import SipMask


class WeightAverage:
    """`model`: a copy whose weights and buffers follow another model's.

    Each update moves them by 1 - d towards the other's, d = min(decay, (1 + n) / (10 + n)) at the
    n-th update, so that the first, random weights are soon forgotten.
    """

    def __init__(self, model: SipMask, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: SipMask, n: int) -> None:
        """Follow `model` after its n-th step, counted from 0."""
        weight = 1 - min(self.decay, (1 + n) / (10 + n))
        current = model.state_dict()
        for name, average in self.model.state_dict().items():
            if average.is_floating_point():
                average.lerp_(current[name], weight)
            else:
                average.copy_(current[name])
